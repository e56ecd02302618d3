"""
Staged records as they lie in a batch: by columns where they have the same fields.

    Columns     records of the same fields, as one column of values for each field
    Blocks      a batch of them; a sequence of records, for whoever asks for one
    Gathered    a batch in the making
    turned      rows of one width -> their columns

Records become dicts only where somebody looks at one. A reader of files makes most of a batch,
a contract judges most of it, and a destination fits all of it, by columns.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, compress
from typing import Any, overload

from statepipe.batch import Batch
from statepipe.io.coded import different, filtered, runs_of
from statepipe.model import Record


@dataclass(frozen=True, slots=True)
class Columns:
    """
    Records of the same fields.

    Attributes:
        fields: Their field names, in the order of each record.
        values: The column of each field, a list of its values or Coded; all of one length,
            at least 1.
    """

    fields: tuple[str, ...]
    values: Sequence[Sequence[Any]]

    def __len__(self) -> int:
        return len(self.values[0])

    def rows(self) -> list[Record]:
        """Return them as dicts."""
        fields = self.fields
        values = map(list, self.values)  # each column alone: a third of the time saved
        return [dict(zip(fields, row)) for row in zip(*values)]  # noqa: B905  (strict is slow)

    def row(self, at: int) -> Record:
        """Return the one at `at` as a dict."""
        return {name: column[at] for name, column in zip(self.fields, self.values, strict=True)}

    def kept(self, wanted: Sequence[bool]) -> "Columns | list[Record]":
        """Return those of which `wanted` says True."""
        runs = runs_of(wanted)
        if not runs:
            return []
        return Columns(self.fields, [filtered(column, runs) for column in self.values])


Part = Columns | list[Record]


class Blocks(Sequence[Record]):
    """
    A batch of records; not to be changed.

    Attributes:
        parts: The records in their order, some as columns and some as dicts; none is empty.
        starts: The place of each part's first record.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = [part for part in parts if len(part)]
        self._ends = list(accumulate(map(len, self.parts)))
        self.starts = [0, *self._ends[:-1]]

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

    def different(self, name: str) -> list[Any]:
        """
        Return values of one field, among which is each that it has.

        Raises:
            KeyError: If a record has no such field.
        """
        values: list[Any] = []
        for part in self.parts:
            if not isinstance(part, Columns):
                values += [record[name] for record in part]
            elif name in part.fields:
                values += different(part.values[part.fields.index(name)])
            else:
                raise KeyError(name)
        return values

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


class Gathered:
    """Gathers what becomes one batch."""

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def add(self, item: Columns | Record) -> int:
        """Add one record or many; return how many."""
        if isinstance(item, Columns):
            self._parts.append(item)
            return len(item)
        last = self._parts[-1] if self._parts else None
        if isinstance(last, list):
            last.append(item)
        else:
            self._parts.append([item])
        return 1

    def batch(self, *, cursor: Any) -> Batch:  # noqa: ANN401  (plain data)
        """Return the batch, and begin another one."""
        parts, self._parts = self._parts, []
        return Batch.deferred(Blocks(parts), cursor=cursor)


def turned(rows: Iterable[Iterable[Any]], *, width: int) -> list[list[Any]]:
    """
    Return the columns of `rows`, each of which has `width` values.

    Raises:
        ValueError: If they have not, together.
    """
    # zip with as many arguments as there are rows takes three times as long.
    values = list(chain.from_iterable(rows))
    columns = [values[at::width] for at in range(width)]
    if len(set(map(len, columns))) > 1:
        raise ValueError("the rows are not of one width")
    return columns


def rows_of(part: Part) -> list[Record]:
    """Return a part as dicts."""
    return part.rows() if isinstance(part, Columns) else part
