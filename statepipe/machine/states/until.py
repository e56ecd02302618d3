"""
A moment that somebody waits for: written as people say it, worked out for one instance.

    Until           the text, and the time zone that it is local to
    Until.moment    the moment, once its state was entered

A time of day alone is the next such time. A local time that clocks skip is the moment at which
they skip it; one that they show twice is the first of the two.
"""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from statepipe.filling import filled, has_braces, params_in
from statepipe.machine.names import check_text, check_zone
from statepipe.policy import DURATION_MS_MAX
from statepipe.tables import refusal

_TIME: Final = re.compile(r"\d\d:\d\d(?::\d\d)?", re.ASCII)
_DAY: Final = dt.timedelta(days=1)
_SECOND: Final = dt.timedelta(seconds=1)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SAMPLES: Final[dict[str, Any]] = {
    "date": dt.date(2024, 1, 1),
    "datetime": dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
}
_WRITE: Final = (
    'until = "06:00", "{params.day}T06:00", "{params.at}" or "2026-03-01T06:00+01:00";'
    ' tz = "Europe/Berlin" says whose time it is'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Until:
    """
    A moment, as it is written.

    Attributes:
        text: A time of day, or a date and perhaps a time, with or without an offset;
            parameters may stand in it, such as "{params.day}T06:00".
        tz: The time zone it is local to, a name of the IANA database.

    Raises:
        DefinitionError: If it cannot be a moment, or there is no such zone.
    """

    text: str
    tz: str = "UTC"

    def __post_init__(self) -> None:
        """Refuse an unknown zone, and a text that is no moment whatever is filled in."""
        check_text("until", self.text)
        check_zone(self.tz)
        if has_braces(self.text):
            raise refusal(f"until is {self.text!r}, not a moment", next_step=_WRITE)
        if not self.params:
            self._check(self.text)

    @property
    def params(self) -> tuple[str, ...]:
        """The parameters that it names."""
        return params_in(self.text)

    def check_types(self, types: Mapping[str, str]) -> None:
        """
        Refuse parameters that make no moment.

        Args:
            types: The declared type of each parameter that every instance has.
        """
        named = {name: types[name] for name in self.params if name in types}
        for name, kind in named.items():
            if kind not in (*_SAMPLES, "text"):
                raise refusal(
                    f'until: parameter "{name}" is of type {kind}',
                    next_step="a moment is made of parameters of type date, datetime or text",
                )
        if named and "text" not in named.values():
            self._check(filled(self.text, {name: _SAMPLES[kind] for name, kind in named.items()}))

    def moment(self, params: Mapping[str, Any], *, after_ms: int) -> int:
        """
        Return the moment in milliseconds since 1970.

        Args:
            params: The instance's parameters.
            after_ms: When its state was entered: a time of day alone is the next one after.

        Raises:
            ValueError: It is none, or more than 365 days after `after_ms`.
        """
        text = filled(self.text, params)
        try:
            at_ms = self._moment(text, after_ms)
        except (ValueError, OverflowError):
            raise ValueError(f"{text!r} is not a moment; write {_WRITE}") from None
        if at_ms - after_ms > DURATION_MS_MAX:
            raise ValueError(f"{text!r} is more than 365 days away: no wait lasts so long")
        return at_ms

    def shown(self, at_ms: int) -> str:
        """Return a moment as people of its zone write it."""
        return (_EPOCH + dt.timedelta(milliseconds=at_ms)).astimezone(ZoneInfo(self.tz)).isoformat()

    def _check(self, text: str) -> None:
        try:
            self._moment(text, 0)
        except (ValueError, OverflowError):
            raise refusal(f"until is {self.text!r}, not a moment", next_step=_WRITE) from None

    def _moment(self, text: str, after_ms: int) -> int:
        zone = ZoneInfo(self.tz)
        if not _TIME.fullmatch(text):
            said = dt.datetime.fromisoformat(text)
            return _ms(said if said.tzinfo else _local(said, zone))
        time = dt.time.fromisoformat(text)
        day = (_EPOCH + dt.timedelta(milliseconds=after_ms)).astimezone(zone).date()
        at_ms = after_ms
        while at_ms <= after_ms:  # twice at most: of a day's own time, or of the next day's
            at_ms = _ms(_local(dt.datetime.combine(day, time), zone))
            day += _DAY
        return at_ms


def _ms(moment: dt.datetime) -> int:
    return (moment - _EPOCH) // dt.timedelta(milliseconds=1)


def _local(said: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """Return when clocks in `zone` first show `said`, or else when they skip it."""
    first = said.replace(tzinfo=zone, fold=0).astimezone(dt.UTC)
    if first.astimezone(zone).replace(tzinfo=None) == said:
        return first
    # Skipped: between what it would be by the clock of afterwards, and by that of before.
    before, after = said.replace(tzinfo=zone, fold=1).astimezone(dt.UTC), first
    shown = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) / 2
        if middle.astimezone(zone).utcoffset() == shown:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)
