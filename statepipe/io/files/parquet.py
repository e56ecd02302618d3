"""
The source that reads Parquet files: tables, from where the last commit left off.

    read_parquet    the rows of one file or several, in tables of one size

Column by column and a page at a time, so that memory is bound by the batch, however large a
row group is. A cursor is a number of rows: a resume skips the row groups before it unread, and
unpacks only of the one it is in what stands before it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

from statepipe.batch import Batch
from statepipe.errors import DataError, Fatal, StatepipeError
from statepipe.io.arrow import Cutter
from statepipe.io.changed import changed
from statepipe.io.files.found import Opened
from statepipe.io.files.places import find
from statepipe.io.files.walk import Walk
from statepipe.model import Task

#: Bytes of each column that are read at one time.
_COLUMN_BYTES: Final = 1024 * 1024


def read_parquet(
    task: Task,
    path: str | Path,
    *,
    columns: Sequence[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[Batch]:
    """
    Yield the rows of Parquet files, as tables of `task.batch_size` rows, from `task.cursor` on.

    Args:
        task: The source's task.
        path: A path, a URL that fsspec knows, or a glob of either. The files are read in the
            order of their names; all have the same columns, in any order.
        columns: Which columns to read, in this order; nothing is read of the others. All,
            as the first file has them, without.
        storage_options: What fsspec is told of a URL's place; secrets by reference
            ("env:NAME" or "file:/PATH").

    Raises:
        Fatal: If a file is no whole Parquet file, has other columns than the first, or is no
            longer the one that the cursor belongs to.
        ConnectionError: If a file's place cannot be reached, or fails.
        DataError: If pyarrow, fsspec, or a library for the place is not installed.
    """
    _pyarrow()  # looked for before anything is opened
    walk = Walk(path, find(path, storage_options), task.cursor)
    layout = _Layout(columns)
    if walk.passed is not None:
        opened = walk.passed.open(in_order=False)
        with _telling(opened):
            layout.columns_of(opened, _parquet_file(opened))
    cutter = Cutter(task.batch_size)
    for opened, at in walk.files(in_order=False):
        with _telling(opened):
            place = _Place(opened, at)
            for table in layout.tables(opened, place, task):
                for cut, used in cutter.feed(table):
                    yield Batch(cut, cursor=walk.cursor(place.cursor(used)))
                place.row += table.num_rows
    if (cut := cutter.rest()) is not None:
        yield Batch(cut, cursor=walk.cursor(place.cursor(0)))


class _Place:
    """
    Where in a file.

    Attributes:
        row: How many of its rows are used up.
    """

    def __init__(self, opened: Opened, at: Any) -> None:  # noqa: ANN401  (plain data)
        self._looks = {"size": opened.size, "stamp": opened.stamp}
        self.row = 0
        if at is None:
            return
        match at:
            case {"row": int(row), "size": _, "stamp": _, **others} if row >= 0 and not others:
                self.row = row
            case _:
                _changed(opened, "the cursor was not made by this reader")
        if at != self.cursor(0):
            _changed(opened, "it was written again")

    def cursor(self, rows: int) -> dict[str, Any]:
        """Return where to go on after so many more rows."""
        return {"row": self.row + rows, **self._looks}


class _Layout:
    """Which columns are read; they are those of the first file."""

    def __init__(self, wanted: Sequence[str] | None) -> None:
        self._wanted = wanted
        self._first: tuple[str, dict[str, Any]] | None = None

    def columns_of(self, opened: Opened, file: Any) -> list[str]:  # noqa: ANN401  (ParquetFile)
        """
        Return the names of the columns to read.

        Raises:
            Fatal: If `file` has not those of the first file.
        """
        schema = file.schema_arrow
        has = dict(zip(schema.names, schema.types, strict=True))
        if len(has) < len(schema.names):
            _refuse(opened, "two of its columns have one name")
        names = has if self._wanted is None else self._wanted
        if not names:
            _refuse(opened, "no columns of it are asked for, and rows without are none")
        if missing := [name for name in names if name not in has]:
            _refuse(opened, f"it has no column {missing[0]!r}, which columns= names")
        types = {name: has[name] for name in names}
        if self._first is None:
            self._first = opened.shown, types
        first, expected = self._first
        for name in {**expected, **types}:
            was, now = expected.get(name, "missing"), types.get(name, "missing")
            if was != now:
                _refuse(opened, f"its column {name!r} is {now}, and {was} in {first}")
        return list(expected)

    def tables(self, opened: Opened, place: _Place, task: Task) -> Iterator[Any]:
        """Yield the rows of a file behind a place, as tables of any size up to a batch."""
        file = _parquet_file(opened)
        names = self.columns_of(opened, file)
        group, row = 0, place.row
        while group < file.num_row_groups and row >= (
            rows := file.metadata.row_group(group).num_rows
        ):
            group, row = group + 1, row - rows
        batches = file.iter_batches(
            batch_size=task.batch_size,
            row_groups=range(group, file.num_row_groups),
            columns=names,
            use_threads=False,
        )
        for batch in batches:
            if row >= batch.num_rows:
                row -= batch.num_rows
                task.heartbeat()
                continue
            table = _table(batch.slice(row), names)
            row = 0
            yield table


def _table(batch: Any, names: list[str]) -> Any:  # noqa: ANN401  (pyarrow.RecordBatch, Table)
    """Return it without what files may differ in: order, nullability, metadata."""
    return _pyarrow().table([batch.column(name) for name in names], names=names)


@contextmanager
def _telling(opened: Opened) -> Iterator[None]:
    """Close the file at the end; tell what is wrong with it from what is wrong with its place."""
    arrow = _pyarrow()
    with opened.file:
        try:
            yield
        except StatepipeError:
            raise
        except (arrow.ArrowException, OSError) as error:
            is_of_its_place = isinstance(error, OSError) and error.errno is not None
            if is_of_its_place or isinstance(error, ConnectionError | TimeoutError):
                raise
            _refuse(opened, str(error), error)


def _refuse(opened: Opened, reason: str, error: Exception | None = None) -> NoReturn:
    raise Fatal(
        f"{opened.shown} cannot be read as Parquet: {reason}; batches read before are safe"
    ) from error


def _changed(opened: Opened, reason: str) -> NoReturn:
    raise changed(opened.shown, reason, remedy="Put the file back with its old time and resume")


def _parquet_file(opened: Opened) -> Any:  # noqa: ANN401  (of a library, or plain data)
    from pyarrow import parquet  # noqa: PLC0415  (optional, and 100 ms of import)

    # As it comes, a whole row group would be read ahead.
    return parquet.ParquetFile(
        opened.file, buffer_size=_COLUMN_BYTES, pre_buffer=False, page_checksum_verification=True
    )


def _pyarrow() -> Any:  # noqa: ANN401  (a module without types)
    try:
        import pyarrow as pa  # noqa: PLC0415  (optional, and 100 ms of import)
    except ImportError as error:
        raise DataError(
            "reading Parquet needs pyarrow, which is not installed",
            meaning="nothing was read",
            next_step='pip install "statepipe[arrow]"',
        ) from error
    return pa
