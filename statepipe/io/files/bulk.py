"""
Many lines of CSV at once, by the reader of Arrow, where nothing in them needs care.

    Bulk.read_page    the records of the next lines by columns; None if these must be read
                      one by one

It takes what `io.files.quick` takes, in a third of the time: lines that are records, all of
them as wide as the header, with cells that can be converted; cells may be quoted, too. Arrow
says each different cell of a column once; only these become objects of Python. A block with
anything else in it goes to `quick`, whose blocks are smaller. tests/io/test_csv_blocks.py holds
all readers against each other.

Imported when it is used: pyarrow is an extra.
"""

import csv
import re
from array import array
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv as arrow_csv

from statepipe.io.blocks import Columns
from statepipe.io.coded import BYTE_VALUES_MAX, Coded
from statepipe.io.files.lines import Lines
from statepipe.io.files.meaning import Meaning
from statepipe.io.files.quick import Quick

#: Records in one page at most: codes have two bytes.
_PAGE_RECORDS: Final = 1 << 16

_BLOCK_BYTES: Final = 1 << 20


class Bulk:
    """
    Reads pages of one file.

    Args:
        lines: The file, behind its header.
        header: The names of its columns.
        meanings: What the cells of each mean.
        delimiter: The character between two cells, one byte.
        quick: Reads what this cannot.
    """

    def __init__(
        self,
        lines: Lines,
        header: Sequence[str],
        meanings: Sequence[Meaning],
        *,
        delimiter: str,
        quick: Quick,
    ) -> None:
        self._lines = lines
        self._header = tuple(header)
        self._meanings = meanings
        self._parsing = arrow_csv.ParseOptions(delimiter=delimiter, ignore_empty_lines=False)
        self._quoted = _quoted_cell(delimiter.encode())
        coded = pa.dictionary(pa.int32(), pa.string())
        self._converting = arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(header, coded), strings_can_be_null=False
        )
        self._quick = quick
        self._not_before = 0  # the line where Arrow may go on

    def read_page(self, limit: int) -> Columns | None:
        """
        Return the records of the next lines, at most `limit`; the lines are then used up.

        It returns None if none are left, or if the next of them needs care; then none is.
        """
        if self._lines.line >= self._not_before:
            block, lines = self._lines.take_block(min(limit, _PAGE_RECORDS), size=_BLOCK_BYTES)
            if not block:
                return None
            try:
                page = self._page(block, lines)
            except (ValueError, ArithmeticError):  # others will meet it again
                self._not_before = self._lines.line + lines
                self._lines.put_back()
            else:
                self._lines.accept()
                return page
        return self._quick.read_page(min(limit, self._not_before - self._lines.line))

    def _page(self, block: bytes, lines: int) -> Columns:
        """Return what `block` holds; ValueError and ArithmeticError if that is not sure."""
        if b'"' in block and b'"' in self._quoted.sub(b"", b"\n" + block):
            raise ValueError("a quote that is none, or a line feed in a cell")
        if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
            raise ValueError("a carriage return that ends no line")
        if b"\n\n" in block or b"\n\r\n" in block or block.startswith((b"\n", b"\r\n")):
            raise ValueError("a blank line")
        table = arrow_csv.read_csv(
            pa.BufferReader(block),
            read_options=arrow_csv.ReadOptions(
                column_names=self._header, block_size=len(block) + 1
            ),
            parse_options=self._parsing,
            convert_options=self._converting,
        )
        if len(table) != lines:
            raise ValueError("a line with two records")
        longest = csv.field_size_limit()
        values = []
        for column, meaning in zip(table.columns, self._meanings, strict=True):
            chunk = column.combine_chunks()
            cells = chunk.dictionary.to_pylist()
            if len(block) > longest and max(map(len, cells)) > longest:
                raise ValueError("a cell that is too long")
            values.append(_column(cells, chunk.indices, meaning))
        return Columns(self._header, values)


def _quoted_cell(delimiter: bytes) -> re.Pattern[bytes]:
    """
    Return what matches each quoted cell of a block behind a line feed.

    If a quote is left when these are taken out, csv may refuse the block, or see another cell
    than Arrow does. The first quote must begin one of them, or it is left; csv then ends the
    cell at the same quote, and so on.
    """
    mark = re.escape(delimiter)
    return re.compile(rb'"(?<=[\n%b]")(?:[^"\r\n]|"")*+"(?=[\r\n%b]|\Z)' % (mark, mark))


def _column(cells: list[str], codes: Any, meaning: Meaning) -> Sequence[Any]:  # noqa: ANN401  (pyarrow.Int32Array)
    """Return the values of a column that says `cells`, by codes if many of them come again."""
    values = meaning.of(cells)
    if not meaning.is_shared:
        return meaning.of([cells[code] for code in codes.to_pylist()])
    if len(cells) * 2 > len(codes):
        return [values[code] for code in codes.to_pylist()]
    if len(cells) <= BYTE_VALUES_MAX:
        return Coded(values, _bytes_of(codes.cast(pa.uint8())))
    return Coded(values, array("H", _bytes_of(codes.cast(pa.uint16()))))


def _bytes_of(codes: Any) -> bytes:  # noqa: ANN401  (a pyarrow.Array of numbers)
    _, numbers = codes.buffers()
    return bytes(numbers)[: len(codes) * codes.type.byte_width]
