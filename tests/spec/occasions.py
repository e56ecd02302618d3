"""
What triggers must have started, as plain Python: written a second time, the slow way.

    Ticks       a trigger that listens to the clock
    Emits       a trigger that listens to an event
    Listener    what both are: `decisions` are taken one by one, each in a transaction
"""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

HOUR_MS: Final = 3_600_000
#: What the schedules of the test say.
EVERY_MS: Final = 2 * HOUR_MS
DAY_MS: Final = 24 * HOUR_MS
BACKLOG_MAX: Final = 1_000
GROUP: Final = 100
GRACE_MS: Final = 60_000


class Decision(NamedTuple):
    """What one transaction starts, and where it leaves the trigger."""

    keys: tuple[str, ...]
    position: int


@dataclass(slots=True)
class Listener(ABC):
    """
    A trigger.

    Attributes:
        position: How far it has decided.
        had: The keys of the occasions that have their instance.
        paused: Whether it decides nothing.
    """

    position: int
    had: set[str] = field(default_factory=set)
    paused: bool = False

    @abstractmethod
    def decision(self, now_ms: int) -> Decision | None:
        """Return what is decided next; None if nothing is due."""

    @abstractmethod
    def between(self, from_ms: int, until_ms: int) -> set[str]:
        """Return the keys of a period, both ends included."""

    def decide_all(self, now_ms: int) -> None:
        """Take over what a worker must decide that looks now."""
        while not self.paused and (decision := self.decision(now_ms)) is not None:
            self._take(decision)

    def decide_until(self, keys: set[str], position: int, now_ms: int) -> None:
        """Take over what a worker has decided that died on the way: all or nothing of each."""
        while (self.had, self.position) != (keys, position):
            decision = None if self.paused else self.decision(now_ms)
            assert decision is not None, f"between two decisions: {keys ^ self.had}, {position}"
            self._take(decision)

    def _take(self, decision: Decision) -> None:
        self.had |= set(decision.keys)
        self.position = decision.position


@dataclass(slots=True)
class Ticks(Listener):
    """A schedule of every second hour; what was missed is made up for by its catchup."""

    catchup: str = "all"

    def decision(self, now_ms: int) -> Decision | None:
        """As `Listener`; what it had decided of a future that the clock took back, it forgets."""
        if self.position > now_ms + DAY_MS:
            return Decision((), now_ms)
        due = list(_ticks(self.position + 1, now_ms))
        if not due:
            return None
        match self.catchup:
            case "all":
                kept = due[-BACKLOG_MAX:]
            case "last":
                kept = due[-1:]
            case _:
                kept = [each for each in due if each >= now_ms - GRACE_MS]
        some = kept[:GROUP]
        return Decision(tuple(map(_key, some)), due[-1] if some == kept else some[-1])

    def between(self, from_ms: int, until_ms: int) -> set[str]:
        """As `Listener`."""
        return set(map(_key, _ticks(from_ms, until_ms)))


@dataclass(slots=True)
class Emits(Listener):
    """An event: `emitted` has its keys and their moments, in the order of the first emits."""

    emitted: dict[str, int] = field(default_factory=dict)

    def decision(self, now_ms: int) -> Decision | None:  # noqa: ARG002  (no clock tells)
        """As `Listener`."""
        some = tuple(self.emitted)[self.position :][:GROUP]
        return Decision(some, self.position + len(some)) if some else None

    def between(self, from_ms: int, until_ms: int) -> set[str]:
        """As `Listener`."""
        return {key for key, at_ms in self.emitted.items() if from_ms <= at_ms <= until_ms}


def _ticks(from_ms: int, until_ms: int) -> Iterator[int]:
    return iter(range(-(-from_ms // EVERY_MS) * EVERY_MS, until_ms + 1, EVERY_MS))


def _key(tick_ms: int) -> str:
    return dt.datetime.fromtimestamp(tick_ms // 1_000, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
