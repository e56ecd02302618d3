"""
Staged records as they lie in a batch: by columns where they have the same fields.

    Columns     records of the same fields, as one list of values for each field
    Blocks      a batch of them; a sequence of records, for whoever asks for one

Records become dicts only where somebody looks at one. A contract judges most of a batch,
and a destination fits all of it, by columns.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, compress
from typing import Any, overload

from statepipe.model import Record


@dataclass(frozen=True, slots=True)
class Columns:
    """
    Records of the same fields.

    Attributes:
        fields: Their field names, in the order of each record.
        values: The values of each field; all of one length, at least 1.
    """

    fields: tuple[str, ...]
    values: Sequence[Sequence[Any]]

    def __len__(self) -> int:
        return len(self.values[0])

    def rows(self) -> list[Record]:
        """Return them as dicts."""
        fields = self.fields
        return [dict(zip(fields, row)) for row in zip(*self.values)]  # noqa: B905  (strict is slow)

    def row(self, at: int) -> Record:
        """Return the one at `at` as a dict."""
        return {name: column[at] for name, column in zip(self.fields, self.values, strict=True)}

    def kept(self, wanted: Sequence[bool]) -> "Columns | list[Record]":
        """Return those of which `wanted` says True."""
        if not any(wanted):
            return []
        return Columns(self.fields, [list(compress(column, wanted)) for column in self.values])


Part = Columns | list[Record]


class Blocks(Sequence[Record]):
    """
    A batch of records; not to be changed.

    Attributes:
        parts: The records in their order, some as columns and some as dicts; none is empty.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = [part for part in parts if len(part)]
        self._ends = list(accumulate(map(len, self.parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Record]:
        for part in self.parts:
            yield from rows_of(part)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> list[Record]: ...
    def __getitem__(self, at: int | slice) -> Record | list[Record]:
        """Return one record, or some, as dicts made anew."""
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        n = at + len(self) if at < 0 else at
        if not 0 <= n < len(self):
            raise IndexError(at)
        place = bisect_right(self._ends, n)
        part = self.parts[place]
        n -= self._ends[place] - len(part)
        return part.row(n) if isinstance(part, Columns) else part[n]

    def kept(self, wanted: Sequence[bool]) -> "Blocks":
        """Return the records of which `wanted` says True."""
        parts: list[Part] = []
        for part, end in zip(self.parts, self._ends, strict=True):
            some = wanted[end - len(part) : end]
            if all(some):
                parts.append(part)
            elif isinstance(part, Columns):
                parts.append(part.kept(some))
            else:
                parts.append(list(compress(part, some)))
        return Blocks(parts)


def rows_of(part: Part) -> list[Record]:
    """Return a part as dicts."""
    return part.rows() if isinstance(part, Columns) else part
