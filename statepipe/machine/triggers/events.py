"""
A trigger that listens to an event, whoever emits it.

    Emitted     one instance for each key of an event
"""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from statepipe.machine.names import check_name
from statepipe.machine.states.waits import OURS
from statepipe.suggest import did_you_mean
from statepipe.tables import refusal

#: What a text of a parameter may name besides the event's own parameters.
PLACES: Final = ("event.name", "event.key", "event.at")
_PARAM: Final = re.compile(r"event\.params\.[^.{}]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitted:
    """
    One instance for each key that an event is emitted with.

    Attributes:
        event: Its name.
    """

    kind: ClassVar[str] = "event"

    event: str

    def __post_init__(self) -> None:
        """Refuse a bad name, and events that nobody emits."""
        check_name("event", self.event)
        if self.event in OURS:
            raise refusal(
                f'event is "{self.event}", which nobody emits: the engine raises it itself',
                next_step='listen to a name of your own, for example "order-ready"',
            )

    @property
    def said(self) -> str:
        """It in a few words, for people."""
        return f"event {self.event}"

    @property
    def identity(self) -> dict[str, Any]:
        """What of it makes it another one."""
        return {"event": self.event}

    def place_error(self, place: str) -> str | None:
        """Return why `place` can stand in no text of a parameter; None if it can."""
        if place in PLACES or _PARAM.fullmatch(place):
            return None
        return f"an event has no {place!r}{did_you_mean(place, PLACES)}; it has " + ", ".join(
            (*PLACES, "event.params.NAME")
        )
