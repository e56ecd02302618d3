"""
What an instance has learned so far, as its checkpoint keeps it.

    Picture     results by state, visits, the stay whose batches are the next input, marks
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
    """

    results: Mapping[str, Any]
    visits: Mapping[str, int]
    input: Stay | None
    marks: Mapping[str, Mark] = MappingProxyType({})
    replays: bool = False

    @classmethod
    def read(cls, data: bytes | None) -> "Picture":
        """Return the picture a checkpoint holds; None is the empty one."""
        if data is None:
            return EMPTY
        results, visits, stay, *rest = decode(data)
        marks = {state: Mark(*mark) for state, mark in rest[0].items()} if rest else {}
        replays = len(rest) > 1 and rest[1]
        return cls(results, visits, None if stay is None else Stay(*stay), marks, replays)

    def write(self) -> bytes | None:
        """Return the picture for a checkpoint; the empty one is None."""
        if self == EMPTY:
            return None
        stay = None if self.input is None else list(self.input)
        known: list[Any] = [dict(self.results), dict(self.visits), stay]
        if self.marks or self.replays:  # most have none, and version 1 of the schema knew none
            known.append({state: list(mark) for state, mark in self.marks.items()})
        if self.replays:
            known.append(True)
        return encode(known)

    def visit(self, state: str) -> int:
        """Return the number of the current visit to `state`, from 1."""
        return self.visits.get(state, 1)

    def marked(self, state: str, mark: Mark) -> "Picture":
        """Return the picture in which the source in `state` has come to `mark`."""
        return self._replace(marks={**self.marks, state: mark})


EMPTY: Final = Picture({}, {}, None)
