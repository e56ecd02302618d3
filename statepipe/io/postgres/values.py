"""
What a record's value becomes in a column of PostgreSQL, decided before any transaction.

    fit     turn a batch into rows for a table; what would be changed silently is rejected
    copied_as   how COPY is told to send a column

    column                 takes                       and, if the same comes back
    int2, int4, int8       int in its range            -
    float8, float4         float, NaN included         an int or Decimal that the float equals
    numeric                Decimal, int                a float, as its shortest decimal
    text, varchar, citext  str that fits, no NUL       what is written as text for SQLite too
    bpchar, enum           str of that length          -
    bool, bytea, uuid      bool, bytes, UUID           a UUID's text
    date, time, timetz     date, time                  ISO 8601 text
    timestamptz            datetime with offset        ISO 8601 text with offset
    timestamp              datetime without offset     ISO 8601 text without
    interval               timedelta                   -
    json, jsonb            dict, list, tuple, set,     inside, what JSON lacks is the text
                           str, int, float, bool       it would be for SQLite

Anything else is rejected, rule "type": PostgreSQL would round, pad, cut off, or drop an
offset, most of it without a word. What only the server can know (an enumeration's
labels, a domain's checks) it says itself, and the row is rejected then.

Whole columns are judged by the set of their types first; only a column in which
something may be wrong is walked.
"""

import math
import re
import struct
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, NoReturn
from uuid import UUID

from statepipe.errors import DataError
from statepipe.io.fitting import (
    Fitted,
    Run,
    UnstorableError,
    Why,
    check_fields,
    check_key,
    kept,
    merged,
    split,
    without,
)
from statepipe.io.moments import parsed
from statepipe.io.postgres.inference import infer
from statepipe.io.postgres.table import BITS, Column, Table
from statepipe.io.rejects import pointer
from statepipe.io.rows import Records, Value, column_values
from statepipe.io.values import adapt, is_text, shown, write_json

_NULL: Final = type(None)

#: An escaped NUL in JSON text: the backslash before the u is not itself escaped.
_JSON_NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

#: What a numeric without modifier can hold: digits before and after the point.
_DIGITS_BEFORE_MAX, _DIGITS_AFTER_MAX = 131_072, 16_383


class _Type(NamedTuple):
    """
    How one type of PostgreSQL is filled.

    Attributes:
        copied_as: The type whose binary form COPY is sent.
        plain: The Python type of which most values go as they are.
        all_fine: True if a column of nothing but that type goes as it is.
        convert: What one value becomes; UnstorableError if it would not come back.
    """

    copied_as: str
    plain: type
    all_fine: Callable[[Sequence[Any], Column], bool]
    convert: Callable[[Any, Column], Any]


def fit(
    records: Records, *, table: Table | None, key: Sequence[str], required: Sequence[str] = ()
) -> Fitted[Column]:
    """
    Turn `records` into rows of `table`, or of a new table if it is None.

    Args:
        records: The batch.
        table: The columns that can be written.
        key: Columns of the key.
        required: Those without which the server would refuse a row: to ask it, once for each,
            takes longer than all the others.

    Raises:
        DataError: If a record has a field that the table has no column for, or one of
            a type that is not in the table above.
    """
    rejects: dict[int, Why] = {}
    # A new table is told by values.
    runs = list(split(records, rejects, values_of=column_values if table is None else _as_it_is))
    columns = table if table is not None else infer(runs)
    fitted = []
    for run in runs:
        check_fields(run, columns)
        cells = [
            _values_of(name, values, columns[name])
            for name, values in zip(run.fields, run.columns, strict=True)
        ]
        check_key(run, [values for values, _ in cells], key, rejects)
        _check_required(run, [values for values, _ in cells], required, rejects)
        stored = [
            values if fine else _fit_column(name, values, columns[name], run.positions, rejects)
            for name, (values, fine) in zip(run.fields, cells, strict=True)
        ]
        fitted.append(kept(run, stored, rejects))
    return Fitted(merged([run for run in fitted if run.rows], key=key), rejects, columns)


def copied_as(column: Column) -> str:
    """Return the type whose binary form a column is sent in."""
    return _TYPES[column.type].copied_as


def _as_it_is(column: Any) -> Any:  # noqa: ANN401  (a column of Arrow)
    return column


def _values_of(name: str, values: Any, column: Column) -> tuple[Sequence[Value], bool]:  # noqa: ANN401  (of Python, or Arrow)
    """Return Python's values, and True if it is proved that all of them are fine."""
    if column.type not in _TYPES:
        raise DataError(
            f"column {name!a} is of type {column.sql}, which cannot be loaded into",
            meaning="nothing of this batch was loaded",
            next_step="make it text or jsonb, then resume; or leave the field out in the task that"
            " makes the batch, then rewind to it",
        )
    if not hasattr(values, "to_pylist"):
        return values, False
    # Only who has a column of Arrow has pyarrow.
    from statepipe.io.postgres.arrowcells import proved  # noqa: PLC0415  (imported when used)

    if (found := proved(values, column)) is not None:
        return found, True
    return column_values(values), False


def _check_required(
    run: Run, columns: Sequence[Sequence[Value]], required: Sequence[str], rejects: dict[int, Why]
) -> None:
    for name in required:
        why = ("notnull", pointer([name]), f"column {name!a} is NOT NULL and has no default")
        for position in without(run, columns, name):
            rejects.setdefault(position, why)


def _fit_column(
    name: str,
    values: Sequence[Value],
    column: Column,
    positions: Sequence[int],
    rejects: dict[int, Why],
) -> Sequence[Any]:
    how = _TYPES[column.type]
    types = set(map(type, values))
    there = [value for value in values if value is not None] if _NULL in types else values
    if types <= {how.plain, _NULL} and how.all_fine(there, column):
        return values
    stored = []
    for position, value in zip(positions, values, strict=True):
        try:
            stored.append(None if value is None else how.convert(value, column))
        except UnstorableError as problem:
            rejects.setdefault(position, (problem.rule, pointer([name]), str(problem)))
            stored.append(None)
    return stored


def _refuse(value: Value, column: Column, becomes: str = "") -> NoReturn:
    changed = f"would become {becomes} in" if becomes else "does not fit"
    raise UnstorableError("type", f"{shown(value)} {changed} its {column.sql} column")


def _all_in_range(values: Sequence[int], column: Column) -> bool:
    limit = 1 << BITS[column.type]
    return not values or (min(values) >= -limit and max(values) < limit)


def _to_int(value: Value, column: Column) -> int:
    if type(value) is not int:
        _refuse(value, column)
    if not _all_in_range([value], column):
        raise UnstorableError("range", f"{shown(value)} is beyond its {column.sql} column")
    return value


def _to_float8(value: Value, column: Column) -> float:
    if type(value) is float:
        return value
    if type(value) is int or type(value) is Decimal:
        try:
            near = float(value)
        except (OverflowError, ValueError):  # too large, or a signalling NaN
            _refuse(value, column)
        if near == value:
            return near
        _refuse(value, column, shown(near))
    _refuse(value, column)


def _to_float4(value: Value, column: Column) -> float:
    wide = _to_float8(value, column)
    try:
        (near,) = struct.unpack("f", struct.pack("f", wide))
    except OverflowError:
        _refuse(value, column)
    if near != wide and not math.isnan(wide):
        _refuse(value, column, shown(near))
    return wide


def _to_numeric(value: Value, column: Column) -> Decimal:
    if type(value) is float:
        # The shortest text that means this float, so the float comes back from it.
        number = Decimal(repr(value))
    elif type(value) is int:
        number = Decimal(value)
    elif type(value) is Decimal and not value.is_snan():
        number = value
    else:
        _refuse(value, column)
    if not number.is_finite():
        return number
    before, after = _DIGITS_BEFORE_MAX, _DIGITS_AFTER_MAX
    if column.modifier >= 0:
        precision = (column.modifier - 4) >> 16
        after = ((column.modifier - 4) & 0x7FF ^ 1024) - 1024
        before = precision - after
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    if any(digits):
        zeros = next(i for i, digit in enumerate(reversed(digits)) if digit)
        if number.adjusted() >= before or -exponent > _DIGITS_AFTER_MAX:
            raise UnstorableError("range", f"{shown(value)} is beyond its {column.sql} column")
        if -(exponent + zeros) > after:
            _refuse(value, column, "a rounded one")
        return number
    return number if -after <= exponent <= 0 else Decimal(0)


def _is_fine_text(values: Sequence[str], column: Column) -> bool:
    if column.modifier >= 0 and values:
        longest, shortest = max(map(len, values)), min(map(len, values))
        is_padded = column.type == "bpchar" and shortest < _length(column)
        if longest > _length(column) or is_padded:
            return False
    return is_text("".join(values))


def _length(column: Column) -> int:
    return column.modifier - 4


def _to_text(value: Value, column: Column) -> str:
    text = adapt(value)
    if type(text) is not str:
        _refuse(value, column)
    if column.modifier >= 0:
        if len(text) > _length(column):
            raise UnstorableError("length", f"{shown(value)} is longer than its {column.sql}")
        if column.type == "bpchar" and len(text) < _length(column):
            _refuse(value, column, "one padded with spaces")
    return text


def _to_label(value: Value, column: Column) -> str:
    return _to_text(value, column) if type(value) is str else _refuse(value, column)


def _only(kind: type) -> Callable[[Value, Column], Any]:
    """Return a converter that takes values of `kind` and changes none."""

    def convert(value: Value, column: Column) -> Value:
        return value if type(value) is kind else _refuse(value, column)

    return convert


def _to_uuid(value: Value, column: Column) -> UUID:
    if type(value) is str:
        try:
            read = UUID(value)
        except ValueError:
            _refuse(value, column)
        if str(read) == value:
            return read
        _refuse(value, column, shown(str(read)))
    return value if type(value) is UUID else _refuse(value, column)


def _moment(kind: Any, *, aware: bool | None) -> Callable[[Value, Column], Any]:  # noqa: ANN401  (date, time or datetime)
    """Return a converter for moments of `kind`, with an offset or without."""

    def convert(value: Value, column: Column) -> Value:
        moment = parsed(value, kind, aware=aware)
        if type(moment) is not kind:
            _refuse(value, column)
        if aware is not None and (moment.utcoffset() is not None) != aware:
            _refuse(value, column, "another moment" if aware else "one without its offset")
        if column.modifier >= 0 and moment.microsecond % 10 ** (6 - column.modifier):
            _refuse(value, column, "a rounded one")
        return moment

    return convert


def _all_moments(*, aware: bool) -> Callable[[Sequence[Any], Column], bool]:
    def all_fine(values: Sequence[Any], column: Column) -> bool:
        if column.modifier >= 0:
            return False
        return all((value.utcoffset() is not None) == aware for value in values)

    return all_fine


def _to_interval(value: Value, column: Column) -> timedelta:
    if column.modifier >= 0 or type(value) is not timedelta:
        _refuse(value, column)
    return value


def _to_json(value: Value, column: Column) -> str:
    if type(value) is bytes:
        _refuse(value, column, "base64 text")
    text = write_json(value)
    if _JSON_NUL.search(text):
        raise UnstorableError("nul", f"{shown(value)} contains a NUL character")
    return text


def _to_jsonb(value: Value, column: Column) -> bytes:
    # The binary form is a version, 1, and the text.
    return b"\x01" + _to_json(value, column).encode()


def _always(_values: Sequence[Any], _column: Column) -> bool:
    return True


def _never(_values: Sequence[Any], _column: Column) -> bool:
    return False


def _unmodified(_values: Sequence[Any], column: Column) -> bool:
    return column.modifier < 0


_TYPES: Final[dict[str, _Type]] = {
    "int2": _Type("int2", int, _all_in_range, _to_int),
    "int4": _Type("int4", int, _all_in_range, _to_int),
    "int8": _Type("int8", int, _all_in_range, _to_int),
    "float8": _Type("float8", float, _always, _to_float8),
    "float4": _Type("float4", float, _never, _to_float4),
    "numeric": _Type("numeric", Decimal, _never, _to_numeric),
    "text": _Type("text", str, _is_fine_text, _to_text),
    "varchar": _Type("text", str, _is_fine_text, _to_text),
    "citext": _Type("text", str, _is_fine_text, _to_text),
    "bpchar": _Type("text", str, _is_fine_text, _to_text),
    "enum": _Type("text", str, _is_fine_text, _to_label),
    "bool": _Type("bool", bool, _always, _only(bool)),
    "bytea": _Type("bytea", bytes, _always, _only(bytes)),
    "uuid": _Type("uuid", UUID, _always, _to_uuid),
    "date": _Type("date", date, _always, _moment(date, aware=None)),
    "time": _Type("time", time, _all_moments(aware=False), _moment(time, aware=False)),
    "timetz": _Type("timetz", time, _all_moments(aware=True), _moment(time, aware=True)),
    "timestamp": _Type(
        "timestamp",
        datetime,
        _all_moments(aware=False),
        _moment(datetime, aware=False),
    ),
    "timestamptz": _Type(
        "timestamptz",
        datetime,
        _all_moments(aware=True),
        _moment(datetime, aware=True),
    ),
    "interval": _Type("interval", timedelta, _unmodified, _to_interval),
    "json": _Type("text", dict, _never, _to_json),
    "jsonb": _Type("bytea", dict, _never, _to_jsonb),
}
