"""
What one value becomes in a column of Arrow.

    Column        a column, by what it takes
    TAKES         how each kind of column is filled
    to_numeric    a number as a decimal one, or why not

    kind                   takes                       and, if the same comes back
    bool, bytea            bool, bytes                 -
    int8                   int in the column's range   -
    float8                 float, NaN included         an int or Decimal that the float equals
    numeric                Decimal, int                a float, as its shortest decimal
    text                   str without NUL             what is written as text for SQLite too
    label                  str                         -
    date, time             date, time without offset   ISO 8601 text
    timestamp              datetime without offset     ISO 8601 text without
    timestamptz            datetime with offset        ISO 8601 text with offset
    interval               timedelta                   -
    uuid                   UUID                        its own text
    jsonb                  dict, list, tuple, set,     inside, what JSON lacks is the text
                           str, int, float, bool       it would be for SQLite
    other                  -                           -

Anything else is rejected, rule "type".
"""

import math
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, NoReturn
from uuid import UUID

from statepipe.io.fitting import UnstorableError
from statepipe.io.moments import parsed
from statepipe.io.rows import Value
from statepipe.io.values import adapt, is_text, shown, write_json


class Column(NamedTuple):
    """
    One column that can be written.

    Attributes:
        kind: What it takes; "other" for what only a column of its own type can fill.
        type: The type of Arrow that it is filled by.
        sql: Its type as people know it.
        not_null: True if it is to be made so; nothing is known of one that is there.
    """

    kind: str
    type: Any
    sql: str
    not_null: bool = False


Convert = Callable[[Value, Column], Any]


class Takes(NamedTuple):
    """
    How one kind of column is filled.

    Attributes:
        plain: The Python type of which most values go as they are.
        all_fine: True if values of nothing but that type, and None, go as they are.
        convert: What one value becomes; UnstorableError if it would not come back.
    """

    plain: type
    all_fine: Callable[[Sequence[Any], Column], bool]
    convert: Convert


def _refuse(value: Value, column: Column, becomes: str = "") -> NoReturn:
    changed = f"would become {becomes} in" if becomes else "does not fit"
    raise UnstorableError("type", f"{shown(value)} {changed} its {column.sql} column")


def _only(kind: type) -> Convert:
    def convert(value: Value, column: Column) -> Value:
        return value if type(value) is kind else _refuse(value, column)

    return convert


def _to_float(value: Value, column: Column) -> float:
    near: float = value
    if type(value) is int or type(value) is Decimal:
        try:
            near = float(value)
        except (OverflowError, ValueError):  # too large, or a signalling NaN
            _refuse(value, column)
    elif type(value) is not float:
        _refuse(value, column)
    if column.type.bit_width < 64 and math.isfinite(near):  # noqa: PLR2004  (a double)
        try:
            (near,) = struct.unpack("f", struct.pack("f", near))
        except OverflowError:
            _refuse(value, column)
    if near != value and not math.isnan(near):
        _refuse(value, column, shown(near))
    return near


def to_numeric(value: Value, column: Column) -> Decimal:
    """
    Return `value` as a decimal number for `column`.

    Raises:
        UnstorableError: If it would not come back.
    """
    if type(value) is float:
        # The shortest text that means this float, so the float comes back from it.
        number = Decimal(repr(value))
    elif type(value) is int:
        number = Decimal(value)
    elif type(value) is Decimal:
        number = value
    else:
        _refuse(value, column)
    if not number.is_finite():
        _refuse(value, column)
    if not number:
        return Decimal(0)
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    zeros = next(n for n, digit in enumerate(reversed(digits)) if digit)
    if number.adjusted() >= column.type.precision - column.type.scale:
        raise UnstorableError("range", f"{shown(value)} is beyond its {column.sql} column")
    if -(exponent + zeros) > column.type.scale:
        _refuse(value, column, "a rounded one")
    return number


def _to_text(value: Value, column: Column) -> str:
    text = adapt(value)
    return text if type(text) is str else _refuse(value, column)


def _to_label(value: Value, column: Column) -> str:
    return _to_text(value, column) if type(value) is str else _refuse(value, column)


def _to_uuid(value: Value, column: Column) -> str:
    if type(value) is UUID:
        return str(value)
    if type(value) is str:
        with suppress(ValueError):
            if str(UUID(value)) == value:
                return value
    _refuse(value, column)


def _to_json(value: Value, column: Column) -> str:
    if type(value) is bytes:
        _refuse(value, column, "base64 text")
    return write_json(value)


def _moment(kind: Any, *, aware: bool | None) -> Convert:  # noqa: ANN401  (date, time or datetime)
    def convert(value: Value, column: Column) -> Value:
        moment = parsed(value, kind, aware=aware)
        if type(moment) is not kind:
            _refuse(value, column)
        if aware is not None and (moment.utcoffset() is not None) != aware:
            _refuse(value, column, "another moment" if aware else "one without its offset")
        return moment

    return convert


def _all_moments(*, aware: bool) -> Callable[[Sequence[Any], Column], bool]:
    def all_fine(values: Sequence[Any], _column: Column) -> bool:
        return all(v is None or (v.utcoffset() is not None) == aware for v in values)

    return all_fine


def _all_text(values: Sequence[Any], _column: Column) -> bool:
    return is_text("".join(value for value in values if value is not None))


def _all_doubles(_values: Sequence[Any], column: Column) -> bool:
    return bool(column.type.bit_width == 64)  # noqa: PLR2004  (a double)


def _always(_values: Sequence[Any], _column: Column) -> bool:
    return True


def _never(_values: Sequence[Any], _column: Column) -> bool:
    return False


TAKES: Final = {
    "bool": Takes(bool, _always, _only(bool)),
    "int8": Takes(int, _always, _only(int)),
    "float8": Takes(float, _all_doubles, _to_float),
    "numeric": Takes(Decimal, _never, to_numeric),
    "text": Takes(str, _all_text, _to_text),
    "label": Takes(str, _all_text, _to_label),
    "bytea": Takes(bytes, _always, _only(bytes)),
    "date": Takes(date, _always, _moment(date, aware=None)),
    "time": Takes(time, _all_moments(aware=False), _moment(time, aware=False)),
    "timestamp": Takes(datetime, _all_moments(aware=False), _moment(datetime, aware=False)),
    "timestamptz": Takes(datetime, _all_moments(aware=True), _moment(datetime, aware=True)),
    "interval": Takes(timedelta, _always, _only(timedelta)),
    "uuid": Takes(UUID, _never, _to_uuid),
    "jsonb": Takes(dict, _never, _to_json),
}
