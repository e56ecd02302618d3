"""
Many lines of CSV at once, where nothing in them needs care.

    Quick.read_page    the records of the next lines by columns; None if these must be read
                       one by one

A block of lines without a quote has one record a line. If all of them are as wide as the
header and each cell can be converted, it becomes part of a page of columns, and a cell that
comes often is converted once. Anything else, one wrong cell among thousands, is for the
careful reader, which knows what to reject: it is given the same lines.
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from itertools import count, islice
from typing import Any, Final

from statepipe.io.blocks import Columns
from statepipe.io.coded import Coded
from statepipe.io.files.lines import Lines
from statepipe.io.files.meaning import Meaning

#: Records in one page: the more, the more often a cell comes again.
PAGE_RECORDS: Final = 8_192

#: A page with so many records can show that codes are of no use.
_TELLING_RECORDS: Final = 512

#: Read at a time: what is made of it should stay in the processor's cache.
_BLOCK_BYTES: Final = 48 * 1024


class Quick:
    """
    Reads pages of one file.

    Args:
        lines: The file, behind its header.
        header: The names of its columns.
        meanings: What the cells of each mean.
        delimiter: The character between two cells, neither a quote nor a line's end.
    """

    def __init__(
        self,
        lines: Lines,
        header: Sequence[str],
        meanings: Sequence[Meaning],
        *,
        delimiter: str,
    ) -> None:
        self._lines = lines
        self._header = tuple(header)
        self._columns = list(map(_Column, meanings))
        self._delimiter = delimiter

    def read_page(self, limit: int) -> Columns | None:
        """
        Return the records of the next lines, at most `limit`; the lines are then used up.

        It returns None if none are left, or if the next of them needs care; then none is.
        """
        limit = min(limit, PAGE_RECORDS)
        records = 0
        while records < limit and (some := self._read_block(limit - records)):
            records += some
        if not records:
            for column in self._columns:
                column.begin()
            return None
        return Columns(self._header, [column.page() for column in self._columns])

    def _read_block(self, limit: int) -> int:
        """Add the next lines to the page, or none of them; return how many."""
        block, _ = self._lines.take_block(limit, size=_BLOCK_BYTES)
        if not block:
            return 0
        try:
            cells = self._cells_of(block)
            if cells is not None:
                found = [
                    column.look_at(some) for column, some in zip(self._columns, cells, strict=True)
                ]
                for column, one in zip(self._columns, found, strict=True):
                    column.add(one)
                self._lines.accept()
                return len(cells[0])
        except (ValueError, ArithmeticError):
            pass  # the careful reader will meet it again
        self._lines.give_back()
        return 0

    def _cells_of(self, block: bytes) -> list[list[str]] | None:
        """Return the cells of lines without quotes by columns, as csv would; None if unsure."""
        if b'"' in block:
            return None
        text = block.decode()
        text = text.removesuffix("\n").removesuffix("\r").replace("\r\n", "\n")
        if "\r" in text:
            return None
        width = len(self._header)
        rows = text.split("\n")
        if "" in rows or {row.count(self._delimiter) for row in rows} != {width - 1}:
            return None
        cells = text.replace("\n", self._delimiter).split(self._delimiter)
        longest = csv.field_size_limit()
        if len(text) > longest and max(map(len, cells)) > longest:
            return None
        return [cells[at::width] for at in range(width)]


class _Column:
    """
    One column: the page in the making.

    A page is made of codes until it shows that most cells of the column differ.
    """

    def __init__(self, meaning: Meaning) -> None:
        self._meaning = meaning
        self._is_coded = True
        self._page: list[Any] = []
        self.begin()

    def look_at(self, cells: Sequence[str]) -> Sequence[Any]:
        """Return what is to be added for `cells`; raises what the conversion raises."""
        if not self._is_coded:
            return self._meaning.of(cells)
        first = cells[0]
        if cells[-1] == first and cells.count(first) == len(cells):
            codes = [self._places[first]] * len(cells)
        else:
            codes = list(map(self._places.__getitem__, cells))
        values = self._meaning.of(list(islice(self._places, self._added, None)))
        if self._meaning.is_shared:
            self._values += values
            return codes
        self._page = [self._values[code] for code in self._codes]
        self._is_coded = False
        return self._meaning.of(cells)

    def add(self, found: Sequence[Any]) -> None:
        """Add what `look_at` found to the page."""
        if self._is_coded:
            self._codes += found
            self._added = len(self._values)
        else:
            self._page += found

    def page(self) -> Sequence[Any]:
        """Return the column of the page, and begin another one."""
        if self._is_coded:
            made = Coded.of(self._values[: self._added], self._codes)
            is_worth_it = self._added * 2 <= len(made)
            if not is_worth_it and len(made) >= _TELLING_RECORDS:
                self._is_coded = False
            self.begin()
            return made if is_worth_it else list(made)
        page, self._page = self._page, list[Any]()
        return page

    def begin(self) -> None:
        """Begin another page."""
        self._places: dict[str, int] = defaultdict(count().__next__)
        self._values: list[Any] = []
        self._added = 0  # so many of the values are in the page
        self._codes: list[int] = []
