"""
What an instance has learned so far, as its checkpoint keeps it.

    Picture     results by state, visits, the stay whose batches are the next input, marks, sizes
    Mark        how far a source with a watermark has read

The store keeps it as bytes and does not look inside.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from statepipe.model import Stay
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
    """

    results: Mapping[str, Any]
    visits: Mapping[str, int]
    input: Stay | None
    marks: Mapping[str, Mark] = MappingProxyType({})
    replays: bool = False
    sizes: Mapping[str, int] = MappingProxyType({})

    @classmethod
    def read(cls, data: bytes | None) -> "Picture":
        """Return the picture a checkpoint holds; None is the empty one."""
        if data is None:
            return EMPTY
        known: list[Any] = decode(data)
        results, visits, stay, *rest = known
        read, replays, sizes = (*rest, *_UNSAID[len(rest) :])
        marks = {state: Mark(*mark) for state, mark in read.items()}
        return cls(results, visits, None if stay is None else Stay(*stay), marks, replays, sizes)

    def write(self) -> bytes | None:
        """Return the picture for a checkpoint; the empty one is None."""
        if self == EMPTY:
            return None
        stay = None if self.input is None else list(self.input)
        known: list[Any] = [dict(self.results), dict(self.visits), stay]
        # Most have none of these, and version 1 of the schema knew none; one that is there
        # needs those before it.
        if self.marks or self.replays or self.sizes:
            known.append({state: list(mark) for state, mark in self.marks.items()})
        if self.replays or self.sizes:
            known.append(self.replays)
        if self.sizes:
            known.append(dict(self.sizes))
        return encode(known)

    def visit(self, state: str) -> int:
        """Return the number of the current visit to `state`, from 1."""
        return self.visits.get(state, 1)

    def marked(self, state: str, mark: Mark) -> "Picture":
        """Return the picture in which the source in `state` has come to `mark`."""
        return self._replace(marks={**self.marks, state: mark})


EMPTY: Final = Picture({}, {}, None)

#: What a checkpoint need not say: marks, whether it replays, sizes.
_UNSAID: Final[tuple[Any, ...]] = ({}, False, {})
