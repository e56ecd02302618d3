"""
Records as rows, for ends that must look at every value: contracts and destinations.

    iter_rows   lists of dicts, a slice at a time, from dicts or from an Arrow table
    is_table    is it columnar?
    check_column_names   can its rows be records?
    record_at   one of the records
    column_values   one of its columns as Python's values
    keep        filter either kind by position

Only methods of the table that is handed in are called, so nothing here imports
pyarrow. Staged columnar batches are read back as `pyarrow.Table`.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from statepipe.errors import DataError
from statepipe.io.blocks import Blocks, rows_of
from statepipe.model import Record

#: A list of dicts, a columnar table, or Blocks of a staged batch, a sequence of dicts.
Records = Any

#: Whatever a field holds; each end says which types it takes.
Value = Any

_EPOCH: Final = datetime.fromtimestamp(0, UTC)

#: Arrow's moments that are only counted from an epoch. Its own way to Python's takes eight
#: times as long.
_MOMENTS: Final = {
    f"timestamp[{unit}{zone}]": (epoch, microseconds)
    for unit, microseconds in (("s", 1_000_000), ("ms", 1_000), ("us", 1))
    for zone, epoch in (("", _EPOCH.replace(tzinfo=None)), (", tz=UTC", _EPOCH))
}

#: What the name of a type has in it that counts them, or is made of such.
_NANOSECONDS: Final = "[ns"

#: Rows of a table that exist as dicts at one time.
SLICE_ROWS = 4_096


def is_table(records: Records) -> bool:
    """Return True for a columnar table, False for a list of dicts."""
    return hasattr(records, "__arrow_c_stream__")


def iter_rows(records: Records) -> Iterator[Sequence[Record]]:
    """
    Yield `records` as lists of dicts; a table in slices of `SLICE_ROWS`.

    Raises:
        DataError: If two columns of a table have one name, so a dict cannot hold both.
    """
    if isinstance(records, Blocks):
        yield from map(rows_of, records.parts)
        return
    if not is_table(records):
        yield records
        return
    check_column_names(records)
    for start in range(0, records.num_rows, SLICE_ROWS):
        yield _rows_of(records.slice(start, SLICE_ROWS))


def record_at(records: Records, place: int) -> Record:
    """Return the record at a place, from 0, as `iter_rows` has it."""
    if not is_table(records):
        found: Record = records[place]
        return found
    return _rows_of(records.slice(place, 1))[0]


def check_column_names(table: Records) -> None:
    """
    Refuse a table whose rows are no records.

    Raises:
        DataError: If two columns have one name, so a dict cannot hold both.
    """
    names = table.column_names
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(
            f"two columns of the table are called {twice[0]!r}",
            meaning="its rows cannot be told apart, so nothing of this batch was used",
            next_step="rename one of the columns in the task that made the batch",
        )


def column_values(column: Value) -> list[Value]:
    """
    Return the values of one column of a table, as its `to_pylist` would, but sooner.

    Nanoseconds are microseconds, whether pandas is installed or not; what is finer is TooFine.
    """
    if _NANOSECONDS in str(column.type):
        from statepipe.io.nanoseconds import apart  # noqa: PLC0415  (pyarrow, only for tables)

        whole, others = apart(column)
        found = column_values(whole)
        for place, value in others.items():
            found[place] = value
        return found
    epoch_and_unit = _MOMENTS.get(str(column.type))
    if epoch_and_unit is not None:
        epoch, microseconds = epoch_and_unit
        counts = column.cast("int64").to_pylist()
        with suppress(OverflowError):  # what Python has no date for is for to_pylist to refuse
            return [
                None if count is None else epoch + timedelta(0, 0, count * microseconds)
                for count in counts
            ]
    values: list[Value] = column.to_pylist()
    return values


def keep(records: Records, wanted: Sequence[bool]) -> Records:
    """Return the records of which `wanted` says True, as the kind they came in."""
    if is_table(records):
        return records.filter(list(wanted)) if wanted else records
    if isinstance(records, Blocks):
        return records.kept(wanted)
    return [record for record, want in zip(records, wanted, strict=True) if want]


def _rows_of(table: Records) -> list[Record]:
    """Return the rows of a table as dicts."""
    rows: list[Record]
    if _NANOSECONDS not in str(table.schema.types):
        rows = table.to_pylist()
        return rows
    columns = map(column_values, table.columns)
    names = table.column_names
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
