"""Columns of a table as Python's values: the short way is the way of Arrow itself."""

import datetime as dt

import pyarrow as pa
import pytest

from statepipe.io.rows import column_values

MOMENTS = [0, 1, -1, None, 1_359_972_000]


@pytest.mark.parametrize("zone", [None, "UTC", "+00:00", "Europe/Berlin"])
@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_moments_are_those_that_arrow_gives(unit: str, zone: str | None) -> None:
    """Equal, and with the same offset or none."""
    factor = {"s": 1, "ms": 1_000, "us": 1_000_000}[unit]
    counts = [
        None if moment is None else moment * factor for moment in MOMENTS[: -1 if zone else 6]
    ]
    column = pa.chunked_array([pa.array(counts, type=pa.timestamp(unit, tz=zone))])

    values = column_values(column)

    assert values == column.to_pylist()
    offsets = [None if value is None else value.utcoffset() for value in values]
    assert offsets == [None if v is None else v.utcoffset() for v in column.to_pylist()]
    assert {type(value) for value in values} == {dt.datetime, type(None)}


def test_a_moment_that_python_has_no_date_for_is_refused_as_by_arrow() -> None:
    """Nothing is cut off or wrapped around."""
    column = pa.chunked_array([pa.array([2**62], type=pa.timestamp("us"))])

    with pytest.raises((OverflowError, ValueError)):
        column.to_pylist()
    with pytest.raises((OverflowError, ValueError)):
        column_values(column)


def test_other_columns_are_arrow_s_own() -> None:
    """Numbers, text, dates, and what is nested."""
    table = pa.table(
        {"i": [1, None], "s": ["a", ""], "d": [dt.date(2013, 2, 4), None], "l": [[1], []]}
    )

    for column in table.columns:
        assert column_values(column) == column.to_pylist()
