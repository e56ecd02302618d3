"""
Which rows of an Arrow table a contract is sure to let pass, found column by column.

    unproved    the places of those that must be looked at one by one

A row is proved as the dict that it would become: an int is a number, a date its ISO text,
null is null, NaN is never clean. Whatever Python or the contract could stumble over in a
row (a moment beyond the year 9998, nanoseconds) is not proved. `provable` says what of a
schema can be asked here; tests/io/test_columnar.py holds both ways against each other.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from statepipe.io.provable import Plan, Rule

#: True for every row, False for every row, or a boolean array.
Mask = Any
Column = Any

#: Up to here a float is exactly the whole number it looks like.
_EXACT: Final = 2**53
_COMPARE: Final[dict[str, Callable[..., Mask]]] = {
    ">=": pc.greater_equal,
    "<=": pc.less_equal,
    ">": pc.greater,
    "<": pc.less,
}
#: What Python surely takes: years 2 to 9998, and durations of a million days.
_DAYS: Final = (-718_796, 2_932_532)
_UNITS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000}
_DAY_S: Final = 86_400


def unproved(plans: Sequence[Plan] | None, table: Any) -> Sequence[int]:  # noqa: ANN401  (pyarrow.Table)
    """Return which rows of `table` are not proved clean by all of `plans`, in order."""
    whole = False if plans is None else _all_of(_proofs(plans, table))
    if isinstance(whole, bool):
        return range(0) if whole else range(table.num_rows)
    places: list[int] = pc.indices_nonzero(pc.invert(whole)).to_pylist()
    return places


def _proofs(plans: Sequence[Plan], table: Any) -> Iterator[Mask]:  # noqa: ANN401  (pyarrow.Table)
    for n, plan in enumerate(plans):
        yield plan.required <= set(table.column_names)
        for name, column in zip(table.column_names, table.columns, strict=True):
            rule = plan.rule(name)
            if n and rule == Rule():  # the first plan has seen that it is a value at all
                continue
            yield rule is not None and _proof(rule, column)


def _proof(rule: Rule, column: Column) -> Mask:
    """Return for which rows the value of `column` surely keeps `rule`."""
    prove = next((prove for fits, prove in _KINDS if fits(column.type)), None)
    if prove is None:
        return False
    try:
        mask = prove(rule, column)
    except (pa.ArrowException, OverflowError, ValueError):
        return False  # no such kernel, a bound beyond all numbers, text that is no Unicode
    if mask is True and rule.nullable:
        return True
    if not column.null_count:
        return mask
    return pc.if_else(column.is_null(), rule.nullable, mask)


def _of_nulls(rule: Rule, _column: Column) -> Mask:
    return rule.nullable


def _of_categories(rule: Rule, column: Column) -> Mask:
    return _proof(rule, column.cast(column.type.value_type))


def _of_bools(rule: Rule, column: Column) -> Mask:
    return _is(rule, "boolean") and _among(rule, column, lambda value: type(value) is bool)


def _of_ints(rule: Rule, column: Column) -> Mask:
    if not (_is(rule, "integer") or _is(rule, "number")):
        return False
    bits = column.type.bit_width
    signed = pa.types.is_signed_integer(column.type)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    masks = [_among(rule, column, lambda value: type(value) is int and low <= value <= high)]
    least, most = low, high
    for sign, bound in rule.bounds:
        if sign[0] == ">":
            least = max(least, math.ceil(bound) if sign == ">=" else math.floor(bound) + 1)
        else:
            most = min(most, math.floor(bound) if sign == "<=" else math.ceil(bound) - 1)
    if least > most:
        return False
    if least > low:
        masks.append(pc.greater_equal(column, pa.scalar(least, column.type)))
    if most < high:
        masks.append(pc.less_equal(column, pa.scalar(most, column.type)))
    return _all_of(masks)


def _of_floats(rule: Rule, given: Column) -> Mask:
    column = given.cast(pa.float64())
    masks = [pc.is_finite(column)]
    if not _is(rule, "number"):
        if not _is(rule, "integer"):
            return False
        masks.append(pc.equal(pc.floor(column), column))
        masks.append(pc.less_equal(pc.abs(column), float(_EXACT)))
    masks.append(_among(rule, column, _is_exact))
    for sign, bound in rule.bounds:
        masks.append(_is_exact(bound) and _COMPARE[sign](column, float(bound)))
    return _all_of(masks)


def _of_texts(rule: Rule, given: Column) -> Mask:
    if not _is(rule, "string"):
        return False
    column = given.cast(pa.large_string())  # the kernels know no views
    column.validate(full=True)
    masks = [_among(rule, column, lambda value: type(value) is str)]
    if rule.lengths:
        length = pc.utf8_length(column)
        masks += [_COMPARE[sign](length, bound) for sign, bound in rule.lengths]
    masks += [pc.match_substring_regex(column, pattern) for pattern in rule.patterns]
    return _all_of(masks)


def _of_decimals(rule: Rule, column: Column) -> Mask:
    # A bound that is a float is not the decimal that was written down.
    if not _is(rule, "number") or rule.values is not None:
        return False
    if not all(_is_whole(bound) for _, bound in rule.bounds):
        return False
    return _all_of((_COMPARE[sign](column, pa.scalar(Decimal(int(n)))) for sign, n in rule.bounds))


def _of_durations(rule: Rule, column: Column) -> Mask:
    scale = _UNITS.get(column.type.unit)
    if scale is None or rule.values is not None or rule.bounds or not _is(rule, "number"):
        return False
    return _between(column, -1_000_000 * _DAY_S * scale, 1_000_000 * _DAY_S * scale)


def _of_dates(rule: Rule, column: Column) -> Mask:
    if not _is_any_text(rule) or rule.format == "date-time":
        return False
    return len(rule.patterns) == (rule.format is not None) and _between(
        column.cast(pa.date32()), *_DAYS
    )


def _of_moments(rule: Rule, column: Column) -> Mask:
    scale = _UNITS.get(column.type.unit)
    if scale is None or not _is_any_text(rule) or rule.format == "date":
        return False
    if len(rule.patterns) != (rule.format is not None) or not _is_known(column.type):
        return False
    if rule.format is not None and column.type.tz != "UTC":
        return False
    return _between(column, _DAYS[0] * _DAY_S * scale, _DAYS[1] * _DAY_S * scale)


def _of_times(rule: Rule, column: Column) -> Mask:
    return column.type.unit in _UNITS and _is_any_text(rule) and not rule.patterns


def _of_bytes(rule: Rule, _column: Column) -> Mask:
    return _is_any_text(rule) and not rule.patterns


def _is_known(kind: Any) -> bool:  # noqa: ANN401  (pyarrow.DataType)
    """True if Python knows the time zone, and so can make a record of the row."""
    try:
        pa.scalar(0, kind).as_py()
    except Exception:  # noqa: BLE001  (whatever a zone database raises)
        return False
    return True


def _between(column: Column, low: int, high: int) -> Mask:
    kind = pa.int32() if column.type == pa.date32() else pa.int64()
    numbers = column.cast(kind)
    return pc.and_(
        pc.greater_equal(numbers, pa.scalar(low, kind)),
        pc.less_equal(numbers, pa.scalar(high, kind)),
    )


def _is(rule: Rule, json_type: str) -> bool:
    return rule.types is None or json_type in rule.types


def _is_any_text(rule: Rule) -> bool:
    """True if a text is fine, and nothing is asked of it but a format or patterns."""
    return _is(rule, "string") and rule.values is None and not rule.lengths


def _among(rule: Rule, column: Column, fits: Callable[[Any], bool]) -> Mask:
    """Return where the column has one of the values there may be, of those of its own kind."""
    if rule.values is None:
        return True
    values = [each for each in rule.values if fits(each)]
    return bool(values) and pc.is_in(column, value_set=pa.array(values).cast(column.type))


def _is_whole(value: object) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


def _is_exact(value: object) -> bool:
    """True for a number that a float can be."""
    return type(value) is float or (type(value) is int and abs(value) <= _EXACT)


def _all_of(masks: Iterable[Mask]) -> Mask:
    """Return where all of `masks` are true; asks for no further one after False."""
    whole: Mask = True
    for mask in masks:
        if mask is False:
            return False
        whole = mask if whole is True else whole if mask is True else pc.and_(whole, mask)
    return whole


def _is_text(kind: Any) -> bool:  # noqa: ANN401  (pyarrow.DataType)
    return kind in (pa.string(), pa.large_string(), pa.string_view())


_KINDS: Final[tuple[tuple[Callable[[Any], bool], Callable[[Rule, Column], Mask]], ...]] = (
    (pa.types.is_null, _of_nulls),
    (pa.types.is_dictionary, _of_categories),
    (pa.types.is_boolean, _of_bools),
    (pa.types.is_integer, _of_ints),
    (pa.types.is_floating, _of_floats),
    (_is_text, _of_texts),
    (pa.types.is_decimal, _of_decimals),
    (pa.types.is_duration, _of_durations),
    (pa.types.is_date, _of_dates),
    (pa.types.is_timestamp, _of_moments),
    (pa.types.is_time, _of_times),
    (pa.types.is_binary, _of_bytes),
    (pa.types.is_large_binary, _of_bytes),
)
