"""
What an instance has learned so far, as its checkpoint keeps it.

    Picture     results by state, visits, and the stay whose batches are the next input

The store keeps it as bytes and does not look inside.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from statepipe.model import Stay
from statepipe.store.codec import decode, encode


class Picture(NamedTuple):
    """
    What later states may use.

    Attributes:
        results: The result of each state that returned one, by state name.
        visits: How often a state on a cycle was entered, by state name; and how often
            a bounded transition was taken, by the key that `Table.counted` gives.
        input: The stay that produced the newest batches, None if there was none.
    """

    results: Mapping[str, Any]
    visits: Mapping[str, int]
    input: Stay | None

    @classmethod
    def read(cls, data: bytes | None) -> "Picture":
        """Return the picture a checkpoint holds; None is the empty one."""
        if data is None:
            return EMPTY
        results, visits, stay = decode(data)
        return cls(results, visits, None if stay is None else Stay(*stay))

    def write(self) -> bytes | None:
        """Return the picture for a checkpoint; the empty one is None."""
        if self == EMPTY:
            return None
        stay = None if self.input is None else list(self.input)
        return encode([dict(self.results), dict(self.visits), stay])

    def visit(self, state: str) -> int:
        """Return the number of the current visit to `state`, from 1."""
        return self.visits.get(state, 1)


EMPTY: Final = Picture({}, {}, None)
