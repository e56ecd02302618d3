"""
Many lines of CSV at once, where nothing in them needs care.

    Quick.read_block    the records of the next lines; [] if these must be read one by one

A block without a quote has one record a line. If all of them are as wide as the header and
each cell can be converted, the records are made by columns, and a cell that comes often is
converted once. Anything else, one wrong cell among thousands, is for the careful reader,
which knows what to reject: it is given the same lines.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from statepipe.io.files.lines import Lines
from statepipe.model import Record

Convert = Callable[[str], Any]

#: Cells remembered for each column.
_REMEMBERED_MAX: Final = 10_000

#: Records may share values of these types: nobody can change one.
_SHARED: Final = frozenset(
    {type(None), str, int, float, bool, Decimal, date, datetime, time, timedelta, UUID}
)


class Quick:
    """
    Reads blocks of one file.

    Args:
        lines: The file, behind its header.
        header: The names of its columns.
        converts: What turns the text of a column into its value; text stays text without one.
        nulls: Cells that mean None.
        delimiter: The character between two cells.
    """

    def __init__(
        self,
        lines: Lines,
        header: Sequence[str],
        converts: Mapping[str, Convert],
        *,
        nulls: frozenset[str],
        delimiter: str,
    ) -> None:
        self._lines = lines
        self._header = header
        self._columns = [_Column(converts.get(name), nulls) for name in header]
        self._delimiter = delimiter

    def read_block(self, limit: int) -> list[Record]:
        """
        Return the records of the next lines, at most `limit`; the lines are then used up.

        It returns [] if none are left, or if one of them needs care; then none is.
        """
        texts = self._lines.take_block(limit)
        header = self._header
        try:
            rows = list(csv.reader(texts, delimiter=self._delimiter, strict=True))
            if len(rows) == len(texts) and set(map(len, rows)) == {len(header)}:
                columns = [
                    column.values(cells)
                    for column, cells in zip(self._columns, zip(*rows, strict=True), strict=True)
                ]
                records = [dict(zip(header, row)) for row in zip(*columns)]  # noqa: B905  (slow)
                self._lines.accept()
                return records
        except (csv.Error, ValueError, ArithmeticError):
            pass  # the careful reader will meet it again
        self._lines.give_back()
        return []


class _Column:
    """The cells of one column, and the values of those that came before."""

    def __init__(self, convert: Convert | None, nulls: frozenset[str]) -> None:
        self._convert = convert
        self._nulls = nulls
        self._known: dict[str, Any] = {}

    def values(self, cells: Sequence[str]) -> Sequence[Any]:
        """Return their values; raises what the conversion raises."""
        if self._convert is None and self._nulls.isdisjoint(cells):
            return cells
        if len(self._known) > _REMEMBERED_MAX:
            self._known.clear()
        known = self._known
        for cell in set(cells).difference(known):
            value = self._value(cell)
            if type(value) not in _SHARED:
                known.clear()
                return [self._value(cell) for cell in cells]
            known[cell] = value
        return list(map(known.__getitem__, cells))

    def _value(self, cell: str) -> Any:  # noqa: ANN401  (whatever the column holds)
        if cell in self._nulls:
            return None
        return cell if self._convert is None else self._convert(cell)
