"""
Columns of Arrow that count nanoseconds, as Python's values, which have none.

    apart       a column in microseconds, and by place what is finer than those
    read        the way back of one that was kept as text

Arrow's own way to Python depends on whether pandas is installed, cuts times without a word,
and fails for a whole column if one value is too fine.

Imported when it is used, like `io.arrow`: pyarrow is an extra.
"""

import re
from datetime import datetime, time
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from statepipe.io.rejects import TooFine

_SECOND: Final = 1_000_000_000

#: What `apart` writes, or a person: up to the microsecond, the nanoseconds, the offset.
_MOMENT: Final = re.compile(r"(.+\.\d{6})(\d{1,3})([+-].+|Z)?")
_DURATION: Final = re.compile(r"(-?)PT(\d+)\.(\d{1,9})S")

#: A pyarrow.ChunkedArray, or an Array; and one of its values.
Column = Any
Scalar = Any


def apart(column: Column) -> tuple[Column, dict[int, Any]]:
    """
    Return `column` in microseconds, and the values by place that it does not have so.

    Those are of type TooFine where a value is finer. Of a column of lists, dicts or the like
    all are in the second, made one by one.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if (kind := _in_microseconds(column.type)) is None:
        return pa.nulls(len(column)), {at: _value(each) for at, each in enumerate(column)}
    whole = column.cast(kind, safe=False)
    there = pc.not_equal(whole.cast(column.type).cast("int64"), column.cast("int64"))
    return whole, {at: _value(column[at]) for at in pc.indices_nonzero(there).to_pylist()}


def read(text: str, kind: Any) -> Scalar | None:  # noqa: ANN401  (pyarrow.DataType)
    """
    Return what a text of TooFine means in a column of `kind`; None if it is no such.

    Raises:
        ValueError: If it looks like one and is none.
    """
    if (coarser := _in_microseconds(kind)) is None:
        return None
    if pa.types.is_duration(kind):
        if (found := _DURATION.fullmatch(text)) is None:
            return None
        sign, seconds, fraction = found.groups()
        count = int(f"{sign}1") * (int(seconds) * _SECOND + int(f"{fraction:<09}"))
    else:
        if (found := _MOMENT.fullmatch(text)) is None:
            return None
        near, rest, offset = found.groups(default="")
        of = time if pa.types.is_time(kind) else datetime
        whole = pa.scalar(of.fromisoformat(near + offset), coarser).cast(pa.int64()).as_py()
        count = whole * 1_000 + int(f"{rest:<03}")
    return pa.scalar(count, pa.int64()).cast(kind)


def _value(scalar: Scalar) -> Any:  # noqa: ANN401, PLR0911  (what a record may hold, by kind)
    """Return one value as Python has it, in whatever it is nested."""
    kind = scalar.type
    types = pa.types
    if not scalar.is_valid:
        return None
    if types.is_dictionary(kind):
        return _value(scalar.value)
    if types.is_struct(kind):
        return {field.name: _value(scalar[at]) for at, field in enumerate(kind)}
    if types.is_map(kind):
        return [(_value(each["key"]), _value(each["value"])) for each in scalar.values]
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return [_value(each) for each in scalar.values]
    if (coarser := _in_microseconds(kind)) is None:
        return scalar.as_py()
    count = scalar.cast(pa.int64()).as_py()
    if not count % 1_000:
        return pa.scalar(count // 1_000, coarser).as_py()
    if types.is_duration(kind):
        seconds = f"{abs(count) // _SECOND}.{abs(count) % _SECOND:09}".rstrip("0")
        return TooFine(f"{'-' if count < 0 else ''}PT{seconds}S")
    near = pa.scalar(count // 1_000, coarser).as_py().isoformat(timespec="microseconds")
    point = near.index(".") + 7
    return TooFine(f"{near[:point]}{count % 1_000:03}{near[point:]}")


def _in_microseconds(kind: Any) -> Any:  # noqa: ANN401  (pyarrow.DataType)
    """Return the type of the same in microseconds; None if it does not count nanoseconds."""
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if kind == pa.duration("ns"):
        return pa.duration("us")
    return pa.time64("us") if kind == pa.time64("ns") else None
