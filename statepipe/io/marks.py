"""
Watermarks from the records themselves.

    highest     the highest value of a column in one batch
    start_of    where a source starts: the watermark, less the lookback
"""

import datetime as dt
import math
from decimal import Decimal
from typing import Any, Final

from statepipe.errors import Fatal
from statepipe.io import arrow
from statepipe.io.blocks import Blocks
from statepipe.io.rejects import TooFine

_ORDERED: Final = (int, float, str, Decimal, dt.date, dt.datetime)


def highest(records: Any, column: str, *, above: Any) -> Any:  # noqa: ANN401 dicts or a table; any plain value
    """
    Return the highest value of `column` in a batch and before it; None if there is none.

    Args:
        records: A list of dicts, Blocks, or a columnar table.
        column: Its name.
        above: The highest value before it, or None; of the same type.

    Raises:
        Fatal: A record lacks the column; or its values are of two types, or of one that
            has no order, or a datetime without an offset, or NaN.
    """
    try:
        if isinstance(records, list):
            values = [record[column] for record in records]
        elif isinstance(records, Blocks):
            values = records.different(column)
        else:
            values = arrow.column_values(records, column)
    except KeyError:
        raise _unusable(column, "a record does not have it") from None
    values = [value for value in (above, *values) if value is not None]
    if not values:
        return None
    kinds = {type(value) for value in values}
    if TooFine in kinds:
        too_fine = next(value for value in values if type(value) is TooFine)
        raise _unusable(column, too_fine.why())
    if not (kinds <= {int, float} or len(kinds) == 1) or not kinds <= set(_ORDERED):
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise _unusable(column, f"its values are of type {names}")
    if kinds == {dt.datetime} and any(value.utcoffset() is None for value in values):
        raise _unusable(column, "a datetime has no offset from UTC")
    # A Decimal that is none raises where it is compared: that must not be in a commit.
    if any(map(is_nan, values)):
        raise _unusable(column, "a value is NaN")
    return max(values)


def start_of(watermark: Any, *, lookback_ms: int | None, lookback: float | None) -> Any:  # noqa: ANN401 any plain value
    """
    Return where a source starts: `watermark` less the lookback; None if there is none.

    Raises:
        Fatal: The lookback cannot be taken from a value of this type.
    """
    if watermark is None or (not lookback_ms and not lookback):
        return watermark
    try:
        if lookback_ms:
            if type(watermark) is dt.date:  # whole days, and a part of one is one
                return watermark - dt.timedelta(days=math.ceil(lookback_ms / 86_400_000))
            return watermark - dt.timedelta(milliseconds=lookback_ms)
        if isinstance(watermark, Decimal):
            return watermark - Decimal(str(lookback))
        return watermark - lookback
    except (TypeError, OverflowError):
        raise Fatal(
            f"lookback cannot be taken from the watermark {watermark!r}:"
            ' write a duration ("2h") for dates and datetimes, a number for numbers'
        ) from None


def is_nan(value: object) -> bool:
    """Return True for a number that is none, as a float or as a Decimal; a signalling one, too."""
    if isinstance(value, Decimal):
        return value.is_nan()
    return isinstance(value, float) and math.isnan(value)


def _unusable(column: str, why: str) -> Fatal:
    return Fatal(
        f'column "{column}" cannot be a watermark: {why}.'
        " Give every record a value of one type that has an order, or name another column"
    )
