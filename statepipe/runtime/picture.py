"""
What an instance has learned so far, as its checkpoint keeps it.

    Picture     results by state, visits, the stay whose batches are the next input, marks, sizes
    Mark        how far a source with a watermark has read
    Share       what a task of a graph was given when it began
    Elsewhere   batches of another instance that it may read

The store keeps it as bytes and does not look inside.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from statepipe.model import Reached, Stay
from statepipe.store.codec import decode, encode


class Mark(NamedTuple):
    """
    Between which values of its watermark's column a source has read.

    Attributes:
        since: Number of the store's row that says where it started; 0 if there was none.
        start: The watermark it started from, before any lookback; None at the very beginning.
        reached: The highest value it has committed, never below `start`.
    """

    since: int
    start: Any
    reached: Any


class Elsewhere(NamedTuple):
    """Batches of another instance: its number, the stay that staged them, how many there are."""

    n: int
    stay: Stay
    batches: int


class Share(NamedTuple):
    """
    What a task of a graph was given when it began.

    Attributes:
        needs: The tasks it needs.
        item: The element of a fan-out it is for.
        skipped: The tasks it needs that have no result: skipped, or failed.
        batches: Batches that it may read where they lie: by the task that it needs, or of "" for
            the input of the state, where they are.
        input: Whose of these are its input, if it maps; None for nobody's.
    """

    needs: Sequence[str]
    item: Any
    skipped: Sequence[str]
    batches: Mapping[str, Sequence[Elsewhere]]
    input: str | None

    @classmethod
    def read(cls, known: list[Any]) -> "Share":
        """Return what `write` has written."""
        needs, item, skipped, batches, input_ = known
        lying = {
            name: [Elsewhere(n, Stay(*stay), batches) for n, stay, batches in places]
            for name, places in batches.items()
        }
        return cls(needs, item, skipped, lying, input_)

    def write(self) -> list[Any]:
        """Return it as plain data."""
        lying = {
            name: [[each.n, list(each.stay), each.batches] for each in places]
            for name, places in self.batches.items()
        }
        return [list(self.needs), self.item, list(self.skipped), lying, self.input]


class Picture(NamedTuple):
    """
    What later states may use.

    Attributes:
        results: The result of each state that returned one, by state name.
        visits: How often a state on a cycle was entered, by state name; and how often
            a bounded transition was taken, by the key that `Table.counted` gives.
        input: The stay that produced the newest batches, None if there was none.
        marks: How far each source with a watermark has read, by state name. What a source
            starts from is fixed with its first batch, whatever others load meanwhile.
        replays: True if its first input was records that another instance had rejected.
        sizes: How many records a batch should hold, by state, where that is fewer than the
            policy says; see `sizing`.
        given: What a child was given besides when it began; None for all others.
    """

    results: Mapping[str, Any]
    visits: Mapping[str, int]
    input: Stay | None
    marks: Mapping[str, Mark] = MappingProxyType({})
    replays: bool = False
    sizes: Mapping[str, int] = MappingProxyType({})
    given: Share | None = None

    @classmethod
    def read(cls, data: bytes | None) -> "Picture":
        """Return the picture a checkpoint holds; None is the empty one."""
        if data is None:
            return EMPTY
        known: list[Any] = decode(data)
        results, visits, stay, *rest = known
        read, replays, sizes, given = (*rest, *_UNSAID[len(rest) :])
        marks = {state: Mark(*mark) for state, mark in read.items()}
        share = None if given is None else Share.read(given)
        given_stay = None if stay is None else Stay(*stay)
        return cls(results, visits, given_stay, marks, replays, sizes, share)

    def write(self) -> bytes | None:
        """Return the picture for a checkpoint; the empty one is None."""
        if self == EMPTY:
            return None
        stay = None if self.input is None else list(self.input)
        known: list[Any] = [dict(self.results), dict(self.visits), stay]
        # Most have none of these, and version 1 of the schema knew none; one that is there
        # needs those before it.
        rest: list[Any] = [
            {state: list(mark) for state, mark in self.marks.items()},
            self.replays,
            dict(self.sizes),
            None if self.given is None else self.given.write(),
        ]
        while rest and rest[-1] == _UNSAID[len(rest) - 1]:
            rest.pop()
        known += rest
        return encode(known)

    def visit(self, state: str) -> int:
        """Return the number of the current visit to `state`, from 1."""
        return self.visits.get(state, 1)

    def reached(self) -> tuple[Reached, ...]:
        """Return how far the sources of an instance that is done have come; see `watermarks`."""
        return tuple(
            Reached(state, mark.since, mark.reached)
            for state, mark in self.marks.items()
            if mark.reached is not None
        )

    def marked(self, state: str, mark: Mark) -> "Picture":
        """Return the picture in which the source in `state` has come to `mark`."""
        return self._replace(marks={**self.marks, state: mark})


EMPTY: Final = Picture({}, {}, None)

#: What a checkpoint need not say: marks, whether it replays, sizes, what a child was given.
_UNSAID: Final[tuple[Any, ...]] = ({}, False, {}, None)
