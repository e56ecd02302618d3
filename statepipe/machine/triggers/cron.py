"""
Cron expressions, and the moments they mean in a time zone; the only module that sees cronsim.

    refuse_bad_cron     an expression that is none, or never fires
    ticks               the moments, one after the other
    local               a moment as the clocks of a zone show it
    start_of_day_ms     when a day begins there

What daylight saving does is Debian's rule: who names minutes and an hour ("30 2 * * *") gets
each day's run once; an hour that is skipped runs when the clocks have gone on, an hour that
comes twice counts the first time. Who says "every" (a minute or hour that begins with *) gets
a run as often as that is true.
"""

import datetime as dt
from collections.abc import Iterator
from types import ModuleType
from typing import Final
from zoneinfo import ZoneInfo

from statepipe.tables import refusal

_FIELDS: Final = 5
_CHARS_MAX: Final = 200
_EXAMPLE: Final = 'schedule = "0 3 * * *": minute, hour, day of the month, month, day of the week'

#: Every expression that ever fires does so within the years that cronsim looks at from here.
_ANY_DAY_MS: Final = 946_684_800_000


def refuse_bad_cron(expression: str, tz: str) -> None:
    """
    Refuse an expression that has no meaning in the zone `tz`.

    Raises:
        DefinitionError: It is none, or never fires; or cronsim is not installed.
    """
    if len(expression) > _CHARS_MAX or len(expression.split()) != _FIELDS:
        raise refusal(
            f"schedule: {expression!r} is not a cron expression of {_FIELDS} fields",
            next_step=_EXAMPLE,
        )
    if next(ticks(expression, tz, after_ms=_ANY_DAY_MS), None) is None:
        raise refusal(
            f"schedule: {expression!r} never fires: there is no such day",
            next_step='name a day that exists: "0 0 L 2 *" is the last day of February',
        )


def ticks(expression: str, tz: str, *, after_ms: int) -> Iterator[int]:
    """
    Yield the moments after `after_ms` that an expression means in a zone: UTC, rising, each once.

    Raises:
        DefinitionError: It has no meaning, or cronsim is not installed.
    """
    cronsim = _cronsim()
    start = dt.datetime.fromtimestamp(after_ms // 1000, tz=_zone(tz))
    try:
        moments = cronsim.CronSim(expression, start)
    except cronsim.CronSimError as error:
        never = expression.upper().split()[2:4]
        why = (
            f"never fires: no month {never[1]} has a day {never[0]}"
            if str(error) == "Bad day-of-month" and _is_plain_day(never[0])
            else f"is not a cron expression: {str(error).lower()}"
        )
        raise refusal(f"schedule: {expression!r} {why}", next_step=_EXAMPLE) from None
    last_ms = after_ms
    for moment in moments:
        # Two times of an hour that is skipped are one moment, when the clocks have gone on; and
        # what begins in an hour that comes twice is told of the first time once more.
        at_ms = int(moment.timestamp()) * 1000
        if at_ms > last_ms:
            last_ms = at_ms
            yield at_ms


def local(at_ms: int, tz: str) -> dt.datetime:
    """Return a moment as the clocks of the zone `tz` show it, with its offset from UTC."""
    moment = dt.datetime.fromtimestamp(at_ms / 1000, tz=_zone(tz))
    return moment.replace(tzinfo=dt.timezone(moment.utcoffset() or dt.timedelta()))


def start_of_day_ms(day: dt.date, tz: str) -> int:
    """Return the moment at which a day begins in the zone `tz`."""
    return int(dt.datetime.combine(day, dt.time(), tzinfo=_zone(tz)).timestamp()) * 1000


def _zone(tz: str) -> dt.tzinfo:
    # Its own UTC, because cronsim knows it and need not ask for offsets.
    return dt.UTC if tz == "UTC" else ZoneInfo(tz)


def _is_plain_day(field: str) -> bool:
    return field.isdecimal() and 1 <= int(field) <= 31  # noqa: PLR2004  (days of a month)


def _cronsim() -> ModuleType:
    try:
        import cronsim  # noqa: PLC0415  (an extra, for machines that have a schedule)
    except ImportError:
        raise refusal(
            "schedules need cronsim, which is not installed",
            next_step='pip install "statepipe[schedule]"',
        ) from None
    return cronsim
