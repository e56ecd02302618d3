"""
What a record's value becomes in a column of Arrow, for destinations that are filled by columns.

    split     a batch as runs: of a list of dicts as values, of a table as its own columns
    infer     the columns of a new table
    fit       runs as columns of the table's types; what would be changed silently is rejected
    family    the kind of column that Arrow calls by a type

`io.arrowvalues` says what a column takes of a value. A column of a table that has the type
already, or one of the same family that Arrow casts without loss, goes as it is and is never
looked at by value; only a column in which something may be wrong is.

Imported when it is used, like `io.arrow`: pyarrow is an extra.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from statepipe.errors import DataError
from statepipe.io import fitting, inference
from statepipe.io.arrowcells import has_nul
from statepipe.io.arrowvalues import TAKES, Column, Convert, to_numeric
from statepipe.io.fitting import Fitted, Run, UnstorableError, Why
from statepipe.io.rejects import pointer
from statepipe.io.rows import Records, Value, check_column_names, column_values, is_table
from statepipe.io.values import shown

_NULL: Final = type(None)

#: What a new column for decimal numbers holds: 20 digits before the point and 18 after it.
DIGITS, SCALE = 38, 18

#: The types of new columns.
TYPES: Final = {
    "bool": pa.bool_(),
    "int8": pa.int64(),
    "float8": pa.float64(),
    "numeric": pa.decimal128(DIGITS, SCALE),
    "text": pa.string(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "interval": pa.duration("us"),
    "uuid": pa.string(),
    "jsonb": pa.string(),
}

#: An Arrow column, or values as Python has them.
Values = Any


def split(records: Records, rejects: dict[int, Why], *, key: Sequence[str]) -> list[Run]:
    """
    Part the batch into as few runs as can be; a record without fields is rejected.

    Raises:
        DataError: If two columns of a table have one name.
    """
    if is_table(records) and records.column_names:
        check_column_names(records)
        return [Run(tuple(records.column_names), range(records.num_rows), records.columns)]
    runs = list(fitting.split(records, rejects))
    with suppress(TypeError, ValueError):  # no key, or one that is a list: in their order
        return fitting.merged(runs, key=key)
    return runs


def infer(runs: Sequence[Run], *, instead: Mapping[str, str]) -> dict[str, Column]:
    """
    Return the columns of a new table for `runs`.

    Args:
        runs: As `split` returns them.
        instead: Kinds that the destination has no type for, and what it takes in their place.
    """
    if runs and _is_arrow(runs[0].columns[0]):
        arrays: Sequence[Any] = runs[0].columns
        return {
            name: _column_like(values.type)
            for name, values in zip(runs[0].fields, arrays, strict=True)
        }
    columns = {}
    for name, inferred in inference.infer(runs).items():
        kind = inferred if inferred != "numeric" else _numeric_kind(runs, name)
        kind = instead.get(kind, kind)
        columns[name] = Column(kind, TYPES[kind], kind)
    return columns


def fit(
    runs: Sequence[Run], table: Mapping[str, Column], rejects: dict[int, Why], *, key: Sequence[str]
) -> Fitted[Column]:
    """
    Return `runs` with their values as Arrow arrays, without rejected records.

    Raises:
        DataError: If a field has no column, or one that cannot be filled by it.
    """
    fitted = []
    for run in runs:
        fitting.check_fields(run, table)
        fitting.check_key(run, [_nulls_of(values) for values in run.columns], key, rejects)
        arrays = [
            _fit_column(name, values, table[name], run.positions, rejects)
            for name, values in zip(run.fields, run.columns, strict=True)
        ]
        stay = [n for n, position in enumerate(run.positions) if position not in rejects]
        if len(stay) < len(run.positions):
            arrays = [array.take(pa.array(stay, pa.int64())) for array in arrays]
        if stay:
            positions = [run.positions[n] for n in stay]
            fitted.append(Run(run.fields, positions, arrays))
    return Fitted(fitted, rejects, table)


def family(kind: Any) -> str:  # noqa: ANN401  (pyarrow.DataType)
    """Return the kind of a column of this type."""
    types = pa.types
    for fits, word in (
        (types.is_boolean, "bool"),
        (types.is_integer, "int8"),
        (types.is_floating, "float8"),
        (types.is_decimal, "numeric"),
        (lambda each: types.is_string(each) or types.is_large_string(each), "text"),
        (lambda each: types.is_binary(each) or types.is_large_binary(each), "bytea"),
        (types.is_fixed_size_binary, "bytea"),
        (types.is_date, "date"),
        (types.is_time, "time"),
        (types.is_duration, "interval"),
    ):
        if fits(kind):
            return word
    if types.is_timestamp(kind):
        return "timestamp" if kind.tz is None else "timestamptz"
    return "other"


def _column_like(kind: Any) -> Column:  # noqa: ANN401  (pyarrow.DataType)
    """Return the column that a column of a table makes of itself."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_null(kind):
        return Column("jsonb", TYPES["jsonb"], "jsonb")
    return Column(family(kind), kind, str(kind))


def _numeric_kind(runs: Sequence[Run], name: str) -> str:
    """Return "numeric" if all values of a field fit a new column for it, else what takes them."""
    column = Column("numeric", TYPES["numeric"], "")
    kinds = set()
    fits = True
    for run in runs:
        for value in run.columns[run.fields.index(name)] if name in run.fields else ():
            if type(value) in {int, float, Decimal}:
                kinds.add(type(value))
                try:
                    to_numeric(value, column)
                except UnstorableError:
                    fits = False
    if fits:
        return "numeric"
    return "text" if kinds == {Decimal} else "jsonb"


def _is_arrow(values: Values) -> bool:
    return isinstance(values, pa.ChunkedArray | pa.Array)


def _nulls_of(values: Values) -> Sequence[Value]:
    """Return what tells where `values` are null, and nothing if none is."""
    if not _is_arrow(values):
        return values  # type: ignore[no-any-return]  # it is a sequence of Python's
    if not values.null_count:
        return ()
    return [None if is_null else 0 for is_null in values.is_null().to_pylist()]


def _fit_column(
    name: str,
    values: Values,
    column: Column,
    positions: Sequence[int],
    rejects: dict[int, Why],
) -> Values:
    if _is_arrow(values):
        if (whole := _cast(values, column)) is not None:
            return whole
        values = _python_values(name, values)
    if (how := TAKES.get(column.kind)) is None:
        raise DataError(
            f"column {name!a} is of type {column.sql}, which cannot be loaded into",
            meaning="nothing of this batch was loaded",
            next_step="make it text or JSON, then resume; or leave the field out in the task that"
            " makes the batch, then rewind to it",
        )
    if set(map(type, values)) <= {how.plain, _NULL} and how.all_fine(values, column):
        with suppress(pa.ArrowException, OverflowError, ValueError, TypeError):
            return pa.array(values, type=column.type)
    stored = []
    for position, value in zip(positions, values, strict=True):
        try:
            stored.append(None if value is None else _one(value, column, how.convert))
        except UnstorableError as problem:
            rejects.setdefault(position, (problem.rule, pointer([name]), str(problem)))
            stored.append(None)
    return pa.array(stored, type=column.type)


def _one(value: Value, column: Column, convert: Convert) -> Value:
    converted = convert(value, column)
    try:
        pa.scalar(converted, type=column.type)
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        raise UnstorableError(
            "range", f"{shown(value)} is beyond its {column.sql} column"
        ) from None
    return converted


def _cast(values: Values, column: Column) -> Values | None:
    """Return an Arrow column as the type it should have, None if it must be looked at by value."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    given, wanted = values.type, column.type
    if given != wanted:
        kind = family(given)
        widens = kind == "int8" and column.kind in {"float8", "numeric"}
        if kind == "other" or (kind != column.kind and not widens):
            return None
        if kind == "float8" and given.bit_width > wanted.bit_width:
            return None  # Arrow would round
        try:
            values = values.cast(wanted)
        except pa.ArrowException:
            return None
    elif column.kind in {"jsonb", "uuid", "label"}:
        return None  # of text, but not any
    if family(wanted) == "text" and has_nul(values):
        return None
    return values


def _python_values(name: str, values: Values) -> list[Value]:
    try:
        return column_values(values)
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"the values of column {name!a} are beyond what Python can hold: {error}",
            meaning="nothing of this batch was loaded",
            next_step="give the column the type of the destination's, then resume",
        ) from error
