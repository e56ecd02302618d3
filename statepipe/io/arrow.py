"""
Columnar batches: the one module that knows pyarrow, imported when a table comes by.

    to_ipc      table (pyarrow, polars, pandas, DuckDB) -> Arrow IPC file, and its number of rows
    from_ipc    the way back, as a pyarrow.Table
    column_values   a column as plain Python values
    interleaved a table's rows and some dicts as one table
    as_table    any library's table as a pyarrow.Table
    columns_of  its columns, by the types that their values have in records
    Cutter      tables of any size to tables of one size
    stream_of   whatever speaks the Arrow stream interface as tables, one after the other
    schema_of   columns of such a file as bytes;  table_of     rows with them as a table again

The file form of Arrow IPC, not the stream: its footer is at the end, so a cut is
always noticed, while a cut stream ends like a whole one.
"""

import datetime as dt
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple

from statepipe.errors import DataError, StagedDataDamaged, ValueRefused
from statepipe.io import rows
from statepipe.model import Record
from statepipe.units import TooFineError, exactly

#: Microseconds in one of what a column counts; Arrow cuts what is finer without a word.
_UNITS_US: Final = {"s": 1_000_000, "ms": 1_000}


class Ipc(NamedTuple):
    """A table as bytes."""

    payload: bytes
    rows: int


def to_ipc(records: Any) -> Ipc:  # noqa: ANN401  (any library's table)
    """
    Return the table `records` as an Arrow IPC file.

    Raises:
        DataError: If pyarrow is not installed.
        ValueRefused: If Arrow cannot take or write the table.
    """
    pyarrow = _pyarrow()
    sink = pyarrow.BufferOutputStream()
    options = pyarrow.ipc.IpcWriteOptions(compression="lz4")
    table = as_table(records)
    try:
        with pyarrow.ipc.new_file(sink, table.schema, options=options) as writer:
            # The file form has one dictionary a column; chunks from several places have several.
            writer.write_table(table.unify_dictionaries())
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise _unwritable(records, error) from error
    return Ipc(sink.getvalue().to_pybytes(), table.num_rows)


def as_table(records: Any) -> Any:  # noqa: ANN401  (any library's table; a pyarrow.Table)
    """
    Return `records` as a pyarrow.Table, without views; a stream is read by this, once.

    Raises:
        DataError: If pyarrow is not installed.
        ValueRefused: If Arrow cannot take it.
    """
    pyarrow = _pyarrow()
    try:
        return _without_views(pyarrow, pyarrow.table(records))
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise _unwritable(records, error) from error


def columns_of(table: Any) -> Iterator[tuple[str, str, int]]:  # noqa: ANN401  (pyarrow.Table)
    """Yield name, type as Python calls it, and number of nulls of each column."""
    types = _pyarrow().types
    words = (
        (types.is_boolean, "bool"),
        (types.is_integer, "int"),
        (types.is_floating, "float"),
        (types.is_decimal, "Decimal"),
        (lambda kind: types.is_string(kind) or types.is_large_string(kind), "str"),
        (types.is_timestamp, "datetime"),
        (types.is_date, "date"),
        (types.is_time, "time"),
        (types.is_duration, "timedelta"),
        (types.is_struct, "dict"),
        (lambda kind: "list" in str(kind), "list"),
        (lambda kind: "binary" in str(kind), "bytes"),
    )
    for field, column in zip(table.schema, table.columns, strict=True):
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        word = next((word for fits, word in words if fits(kind)), str(kind))
        yield field.name, word, column.null_count


def stream_of(stream: Any) -> Iterator[Any]:  # noqa: ANN401  (any library's; pyarrow.Tables)
    """
    Yield the record batches of a stream, each as a table, no sooner than they are asked for.

    Raises:
        DataError: If pyarrow is not installed.
        ValueRefused: If Arrow cannot take it.
    """
    pyarrow = _pyarrow()
    try:
        reader = pyarrow.RecordBatchReader.from_stream(stream)
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise _unwritable(stream, error) from error
    with reader:
        for batch in reader:
            yield _without_views(pyarrow, pyarrow.Table.from_batches([batch]))


class Cutter:
    """
    Cuts tables anew: in at any size, out at one. Nothing is copied; no more is held than that.

    Args:
        rows: Of each table that comes out; the last may have fewer.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._parts: list[Any] = []
        self._held = 0

    def feed(self, table: Any) -> Iterator[tuple[Any, int]]:  # noqa: ANN401  (pyarrow.Table)
        """Yield each table that is full now, and how many rows of `table` are used up by then."""
        used = 0
        while used < table.num_rows:
            part = table.slice(used, self._rows - self._held)
            used += part.num_rows
            self._parts.append(part)
            self._held += part.num_rows
            if self._held == self._rows:
                yield self.rest(), used

    def rest(self) -> Any:  # noqa: ANN401  (pyarrow.Table)
        """Return what is held, and hold nothing; None if nothing is."""
        parts, self._parts, self._held = self._parts, [], 0
        return _pyarrow().concat_tables(parts) if parts else None


def schema_of(payload: bytes) -> bytes:
    """Return the columns of an Arrow IPC file, with their types, as bytes; reads no more of it."""
    pyarrow = _pyarrow()
    schema = pyarrow.ipc.open_file(pyarrow.py_buffer(payload)).schema
    written: bytes = schema.serialize().to_pybytes()
    return written


def table_of(records: Sequence[Record], schema: bytes) -> Any:  # noqa: ANN401  (a pyarrow.Table)
    """
    Return rows of a table, as quarantine keeps them, as a pyarrow.Table with its columns.

    Text in a column of moments, dates, times or decimals is read as one. A field that the
    table did not have becomes a column of its own.

    Raises:
        DataError: A value does not fit its column; pyarrow is not installed.
    """
    pa = _pyarrow()
    fields = {field.name: field for field in pa.ipc.read_schema(pa.py_buffer(schema))}
    names = dict.fromkeys([*fields, *(name for record in records for name in record)])
    columns = {}
    for name in names:
        values = [record.get(name) for record in records]
        try:
            if name in fields:
                kind = fields[name].type
                columns[name] = pa.array([_of(pa, kind, each) for each in values], type=kind)
            else:
                columns[name] = pa.array(values)
        except (pa.ArrowException, ArithmeticError, TypeError, ValueError) as error:
            raise DataError(
                f"{name!r} does not fit its column of the table they came from: {error}",
                meaning="nothing was changed",
                next_step="give the field a value of the type that its column has",
            ) from error
    return pa.table(columns)


def _of(pa: Any, kind: Any, value: Any) -> Any:  # noqa: ANN401  (pyarrow; a value of a row)
    """Return a value of a row as its column takes it: what has no offset was kept as text."""
    if value is None:
        return None
    if pa.types.is_struct(kind) and isinstance(value, dict):
        return {field.name: _of(pa, field.type, value.get(field.name)) for field in kind}
    if isinstance(value, list) and "list" in str(kind):
        return [_of(pa, kind.value_type, item) for item in value]
    if isinstance(value, str):
        from statepipe.io import nanoseconds  # noqa: PLC0415  (pyarrow is here)

        if (exact := nanoseconds.read(value, kind)) is not None:
            return exact
        for is_kind, read in (
            (pa.types.is_timestamp, partial(exactly, kind=dt.datetime)),
            (pa.types.is_date, dt.date.fromisoformat),
            (pa.types.is_time, partial(exactly, kind=dt.time)),
            (pa.types.is_decimal, Decimal),
        ):
            if is_kind(kind):
                value = read(value)
                break
    if (unit_us := _UNITS_US.get(getattr(kind, "unit", ""))) is not None:
        _refuse_cut(value, unit_us)
    return value


def _refuse_cut(value: Any, unit_us: int) -> None:  # noqa: ANN401  (a value of a row)
    """Refuse a moment or a duration that a column, which counts `unit_us` as one, would cut."""
    if isinstance(value, dt.timedelta):
        is_cut = bool(value % dt.timedelta(microseconds=unit_us))
    else:
        is_cut = bool(getattr(value, "microsecond", 0) % unit_us)
    if is_cut:
        raise TooFineError(f"{str(value)!r} has finer parts of a second than the column")


def _unwritable(records: object, error: Exception) -> ValueRefused:
    return ValueRefused(
        f"$ is a {type(records).__qualname__} that Arrow cannot write: {error}",
        meaning="the batch was not staged",
        next_step="yield a pyarrow.Table, or a list of dicts",
    )


def from_ipc(payload: bytes) -> Any:  # noqa: ANN401  (a pyarrow.Table; pyarrow is optional)
    """
    Return the table that `to_ipc` wrote, as a pyarrow.Table.

    Raises:
        DataError: If pyarrow is not installed.
        StagedDataDamaged: If `payload` is cut or is no Arrow IPC file.
    """
    pyarrow = _pyarrow()
    try:
        return pyarrow.ipc.open_file(pyarrow.py_buffer(payload)).read_all()
    except (pyarrow.ArrowException, OSError) as error:
        raise StagedDataDamaged(
            f"a staged batch is damaged: it is no whole Arrow file ({error})",
            meaning="it was not used; nothing was changed",
            next_step="statepipe doctor; then statepipe rewind ID --to an earlier state",
        ) from error


def column_values(records: Any, column: str) -> list[Any]:  # noqa: ANN401  (any library's table)
    """
    Return a column of the table `records` as plain Python values.

    Raises:
        DataError: If pyarrow is not installed.
        KeyError: It has no such column.
    """
    return rows.column_values(_pyarrow().table(records).column(column))


def interleaved(table: Any, records: Collection[Record], is_record: Sequence[bool]) -> Any:  # noqa: ANN401  (pyarrow.Table)
    """
    Return the rows of `table` and `records` as one table, in the order of `is_record`.

    A column keeps the type it has in `table` if the values of `records` can have it.

    Raises:
        DataError: If a column cannot hold both.
    """
    pa = _pyarrow()
    names = dict.fromkeys(name for record in records for name in record)
    try:
        columns = {
            name: _column(pa, table, name, [record.get(name) for record in records])
            for name in names
        }
        newer = pa.table(columns)
        # Of a table without rows only the types count: a renamed column would stay for ever.
        parts = [table, newer] if table.num_rows else [newer]
        both = pa.concat_tables(parts, promote_options="permissive")
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"records that were made newer fit no table together with the others: {error}",
            meaning="nothing of this batch was committed",
            next_step="let the upcaster return each field as one type, that of the other records",
        ) from error
    old, new = iter(range(table.num_rows)), iter(range(table.num_rows, both.num_rows))
    return both.take([next(new if wanted else old) for wanted in is_record])


def _without_views(pa: Any, table: Any) -> Any:  # noqa: ANN401  (pyarrow)
    """Return `table` without views (polars makes them of texts): Arrow cannot filter them."""
    fields = [field.with_type(_whole_type(pa, field.type)) for field in table.schema]
    schema = pa.schema(fields, metadata=table.schema.metadata)
    return table if schema == table.schema else table.cast(schema)


def _whole_type(pa: Any, kind: Any) -> Any:  # noqa: ANN401  (pyarrow)
    if kind in {pa.string_view(), pa.binary_view()}:
        return pa.large_string() if kind == pa.string_view() else pa.large_binary()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_whole_type(pa, field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        make = pa.list_ if pa.types.is_list(kind) else pa.large_list
        field = kind.value_field
        return make(field.with_type(_whole_type(pa, field.type)))
    if pa.types.is_fixed_size_list(kind):
        field = kind.value_field
        return pa.list_(field.with_type(_whole_type(pa, field.type)), kind.list_size)
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _whole_type(pa, kind.value_type), kind.ordered)
    return kind


def _column(pa: Any, table: Any, name: str, values: Sequence[object]) -> Any:  # noqa: ANN401  (of a library, or plain data)
    if name in table.column_names:
        try:
            return pa.array(values, type=table.schema.field(name).type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            pass
    return pa.array(values)


def _pyarrow() -> Any:  # noqa: ANN401  (a module without types)
    try:
        import pyarrow as pa  # noqa: PLC0415  (optional, and 100 ms of import)
    except ImportError as error:
        raise DataError(
            "columnar batches need pyarrow, which is not installed",
            meaning="the batch was not touched",
            next_step='pip install "statepipe[arrow]"',
        ) from error
    return pa
