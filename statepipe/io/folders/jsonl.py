"""
Batches as JSON Lines: one object a record, UTF-8.

    JsonlFormat    compressed or not

What JSON lacks is the text that `io.values` makes of it: dates, times and moments in ISO 8601,
Decimal with all its digits, UUID, timedelta "PT90061.5S"; bytes are base64, a set is a sorted
list. NaN and infinities, integers beyond 64 bits, NUL and halves of surrogate pairs are
rejected with their field. A field that a record lacks is not there; there are no columns.
"""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from statepipe.io.files.unpacking import zstd
from statepipe.io.fitting import EMPTY, UnstorableError, Why
from statepipe.io.folders.formats import Written
from statepipe.io.rejects import pointer
from statepipe.io.rows import Records, Value, is_table, iter_rows
from statepipe.io.values import adapt, is_text, write_json
from statepipe.model import Record

#: What a name ends with, by compression.
_ENDS: Final = {"none": "", "gzip": ".gz", "zstd": ".zst"}

#: What goes into JSON as it is, if it is in range.
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

#: zlib's own default; the date is left out, so that the same batch is the same file.
_GZIP_LEVEL: Final = 6


class JsonlFormat:
    """
    JSON Lines.

    Args:
        compression: "none", "gzip" or "zstd"; zstd is an extra before 3.14.
    """

    has_columns = False

    def __init__(self, compression: str = "none") -> None:
        self.suffix = f".jsonl{_ENDS[compression]}"
        self._compress = _COMPRESS[compression]

    def columns(self, folder: Path) -> None:
        """Return None: an object may have any fields."""

    def fit(self, records: Records, columns: None) -> Written:  # noqa: ARG002  (there are none)
        """Write each record as a line; what JSON cannot say exactly is rejected."""
        rejects: dict[int, Why] = {}
        lines: list[str] = []
        position = 0
        if is_table(records) and not records.column_names:  # Arrow does not count its slices right
            rejects.update(dict.fromkeys(range(records.num_rows), EMPTY))
            records = []
        for rows in iter_rows(records):
            for record in rows:
                if (why := _add(record, lines)) is not None:
                    rejects[position] = why
                position += 1
        content = self._compress("".join(lines).encode())

        def write(file: BinaryIO) -> None:
            file.write(content)

        return Written(len(lines), rejects, write)


def _add(record: Record, lines: list[str]) -> Why | None:
    """Add the line of `record`, or return why it has none."""
    if not record:
        return EMPTY
    if (line := _plainly(record)) is not None:
        lines.append(line)
        return None
    try:
        for value in record.values():
            _refuse_unstorable(value)
        lines.append(f"{write_json(record)}\n")
    except UnstorableError:
        for name, value in record.items():  # which of them it was, and in its own words
            try:
                _refuse_unstorable(value)
                write_json({name: value})
            except UnstorableError as problem:
                return problem.rule, pointer([name]), str(problem)
        raise
    return None


def _plainly(record: Record) -> str | None:
    """Return the line of a record of nothing but what JSON has; None if that must be looked at."""
    values = record.values()
    if not (set(map(type, record)) == {str} and set(map(type, values)) <= _PLAIN):
        return None
    if any(type(value) is int and not _INT_MIN <= value <= _INT_MAX for value in values):
        return None
    try:
        line = f"{_ENCODER.encode(record)}\n"
    except ValueError:  # NaN and infinities
        return None
    # Halves of surrogate pairs, and an escape of NUL, or what looks like one.
    return line if "\\u0000" not in line and is_text(line) else None


def _refuse_unstorable(value: Value) -> None:
    """Refuse what no destination holds, also where JSON could: readers could not read it."""
    if type(value) not in {dict, list, tuple, set, bool, bytes}:
        adapt(value)


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, _GZIP_LEVEL, mtime=0)


def _as_it_is(content: bytes) -> bytes:
    return content


_COMPRESS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "none": _as_it_is,
    "gzip": _gzip,
    "zstd": zstd,
}
