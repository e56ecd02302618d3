"""
A trigger that listens to the clock.

    Schedule    a cron expression in a time zone, and what is done about moments that were missed
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, get_args

from statepipe.machine.names import check_one_of, check_text, check_zone
from statepipe.machine.triggers.cron import refuse_bad_cron
from statepipe.suggest import did_you_mean
from statepipe.tables import refusal

Catchup = Literal["all", "last", "none"]

#: What a text of a parameter may name. A nightly run is mostly about the day before: `previous`
#: is the tick before this one.
PLACES: Final = ("tick.at", "tick.date", "previous.at", "previous.date")

_JITTER_MS_MAX: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """
    One instance for each tick: a moment that a cron expression means in a time zone.

    Attributes:
        cron: Five fields: minute, hour, day of the month, month, day of the week.
        tz: The time zone's name in the IANA database.
        catchup: Which of the ticks that nobody was there for are made up for: "all" (the last
            1,000), the "last" one, or "none".
        jitter_ms: An instance begins up to so much later than its tick, always the same for
            one tick, and never after the next tick.
    """

    kind: ClassVar[str] = "schedule"

    cron: str
    tz: str = "UTC"
    catchup: Catchup = "all"
    jitter_ms: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no time zone, and an expression that is none or never fires."""
        check_text("schedule", self.cron)
        check_one_of("catchup", self.catchup, get_args(Catchup))
        if type(self.jitter_ms) is not int or not 0 <= self.jitter_ms <= _JITTER_MS_MAX:
            raise refusal(
                f"jitter is {self.jitter_ms!r} ms, outside 0..1 day", next_step='jitter = "5m"'
            )
        check_zone(self.tz)
        object.__setattr__(self, "cron", " ".join(self.cron.split()))
        refuse_bad_cron(self.cron, self.tz)

    @property
    def said(self) -> str:
        """It in a few words, for people."""
        return f"{self.cron} {self.tz}"

    @property
    def identity(self) -> dict[str, Any]:
        """What of it makes it another one."""
        return {"cron": self.cron, "tz": self.tz}

    def place_error(self, place: str) -> str | None:
        """Return why `place` can stand in no text of a parameter; None if it can."""
        if place in PLACES:
            return None
        return (
            f"a tick has no {place!r}{did_you_mean(place, PLACES)}; there are {', '.join(PLACES)}"
        )
