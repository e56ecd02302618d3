"""
What triggers must have started, as plain Python: written a second time, the slow way.

    Ticks, Years    triggers that listen to the clock
    Emits       a trigger that listens to an event
    Partitions  a trigger that listens to what another machine has done
    Listener    what they are: `decisions` are taken one by one, each in a transaction
"""

import datetime as dt
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Final, NamedTuple

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
#: Of `Ticks`.
EVERY_MS: Final = 2 * HOUR_MS
BACKLOG_MAX: Final = 1_000
GROUP: Final = 100
GRACE_MS: Final = 60_000


class Decision(NamedTuple):
    """What one transaction starts, and where it leaves the trigger."""

    keys: tuple[str, ...]
    position: int


class There(NamedTuple):
    """What came by itself: its number among all that came, when, and whose work it is if any's."""

    n: int
    at_ms: int
    instance: str | None = None


@dataclass(slots=True)
class Listener(ABC):
    """
    A trigger.

    Attributes:
        position: How far it has decided.
        had: The keys of the occasions that have their instance.
        paused: Whether it decides nothing.
    """

    position: int = 0
    had: set[str] = field(default_factory=set)
    paused: bool = False

    @abstractmethod
    def begin(self, now_ms: int) -> None:
        """Start nothing of what was before now."""

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


@dataclass(slots=True, kw_only=True)
class Ticks(Listener):
    """A schedule of every second hour; what was missed is made up for by its catchup."""

    catchup: str

    def begin(self, now_ms: int) -> None:
        """As `Listener`."""
        self.position = now_ms

    def decision(self, now_ms: int) -> Decision | None:
        """As `Listener`; what it had decided of a future that the clock took back, it forgets."""
        if self.position > now_ms + DAY_MS:
            return Decision((), now_ms)
        due = self._ticks(self.position + 1, now_ms)
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
        return set(map(_key, self._ticks(from_ms, until_ms)))

    def _ticks(self, from_ms: int, until_ms: int) -> list[int]:
        return list(range(-(-from_ms // EVERY_MS) * EVERY_MS, until_ms + 1, EVERY_MS))


class Years(Ticks):
    """A schedule of each new year."""

    def _ticks(self, from_ms: int, until_ms: int) -> list[int]:
        years = range(_moment(from_ms).year, _moment(until_ms).year + 1)
        begun = (
            round(dt.datetime(year, 1, 1, tzinfo=dt.UTC).timestamp()) * 1_000 for year in years
        )
        return [each for each in begun if from_ms <= each <= until_ms]


@dataclass(slots=True)
class Arrivals(Listener):
    """
    What waits for something to come.

    Attributes:
        there: What came, by key; what comes once more may take a new number.
        last: The number of the last thing that came, be it another trigger's.
    """

    there: dict[str, There] = field(default_factory=dict)
    last: int = 0

    def begin(self, now_ms: int) -> None:  # noqa: ARG002  (no clock tells)
        """As `Listener`."""
        self.position = self.last

    def decision(self, now_ms: int) -> Decision | None:  # noqa: ARG002  (no clock tells)
        """As `Listener`."""
        new = {each.n: key for key, each in self.there.items() if each.n > self.position}
        some = sorted(new)[:GROUP]
        return Decision(tuple(new[n] for n in some), some[-1]) if some else None

    def between(self, from_ms: int, until_ms: int) -> set[str]:
        """As `Listener`."""
        return {key for key, each in self.there.items() if from_ms <= each.at_ms <= until_ms}


class Emits(Arrivals):
    """An event: what comes is the first emit of a key."""

    def emitted(self, key: str | None, n: int, at_ms: int) -> None:
        """Take over emit number `n`; without a key that of another event."""
        self.last = n
        if key is not None:
            self.there[key] = There(n, at_ms)


class Partitions(Arrivals):
    """Another machine's partitions: what comes is each end of an instance that is one."""

    def done(self, key: str | None, instance: str, at_ms: int) -> None:
        """Take over that a partition was done, perhaps once more; without a key another's."""
        self.last += 1
        if key is not None:
            self.there[key] = There(self.last, at_ms, instance)

    def undone(self, instance: str) -> None:
        """Take over that an instance was put back."""
        gone = [key for key, each in self.there.items() if each.instance == instance]
        for key in gone:
            del self.there[key]


def _key(tick_ms: int) -> str:
    return _moment(tick_ms).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(at_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at_ms // 1_000, tz=dt.UTC)
