"""Columns of a table as Python's values: the short way is the way of Arrow itself."""

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from statepipe.errors import DataError
from statepipe.io.arrow import schema_of, table_of, to_ipc
from statepipe.io.rejects import TooFine, rejected
from statepipe.io.rows import column_values, iter_rows, record_at

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


FINE = [
    (
        pa.timestamp("ns"),
        dt.datetime(1969, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001  (it has none)
        "1969-12-31T23:59:59.9999990",
    ),
    (
        pa.timestamp("ns", "UTC"),
        dt.datetime(2013, 2, 4, tzinfo=dt.UTC),
        "2013-02-04T00:00:00.0000000",
    ),
    (pa.time64("ns"), dt.time(23, 59, 59, 7), "23:59:59.0000070"),
    (pa.duration("ns"), dt.timedelta(days=2), "PT172800.0000000"),
]


@pytest.mark.parametrize(("kind", "whole", "text"), FINE, ids=[str(each[0]) for each in FINE])
def test_whole_microseconds_are_python_s_and_only_what_is_finer_is_not(
    kind: Any,  # noqa: ANN401  (pyarrow.DataType)
    whole: Any,  # noqa: ANN401  (of any of the types)
    text: str,
) -> None:
    """Whether pandas is there or not: Arrow would ask for it, use it, or cut a time."""
    count = pa.scalar(whole, kind).cast("int64").as_py()
    values = pa.array([count, None, count + 1], pa.int64()).cast(kind)
    nested = pa.array([[{"at": each}] for each in values], pa.list_(pa.struct({"at": kind})))
    table = pa.table({"at": values, "code": values.dictionary_encode(), "in": nested})

    (rows,) = iter_rows(table)

    first, empty, last = rows
    assert first == {"at": whole, "code": whole, "in": [{"at": whole}]}
    assert empty == {"at": None, "code": None, "in": [{"at": None}]}
    assert {type(last["at"]), type(last["code"]), type(last["in"][0]["at"])} == {TooFine}
    assert last["at"] == last["code"] == last["in"][0]["at"]
    assert last["at"].startswith(text)
    assert record_at(table, 2) == last


@pytest.mark.parametrize("count", [1, -1, 1_359_972_000_000_000_123, -1_359_972_000_000_000_123])
@pytest.mark.parametrize(
    "kind",
    [pa.timestamp("ns"), pa.timestamp("ns", "Europe/Berlin"), pa.time64("ns"), pa.duration("ns")],
)
def test_what_is_finer_is_kept_as_text_that_is_read_back_exactly(
    kind: Any,  # noqa: ANN401  (pyarrow.DataType)
    count: int,
) -> None:
    """Quarantine has the text, and a replay makes the column of it that it came from."""
    if kind == pa.time64("ns"):
        count %= 86_400_000_000_000
    table = pa.table({"at": pa.array([count], pa.int64()).cast(kind)})

    entry = rejected(record_at(table, 0), position=0, rule="type", path="/at", message="")

    assert type(entry["record"]["at"]) is str
    assert table_of([entry["record"]], schema_of(to_ipc(table).payload)) == table


@pytest.mark.parametrize(
    ("kind", "typed"),
    [
        (pa.timestamp("us"), "2026-02-08T12:00:00.1234567"),
        (pa.timestamp("ns"), "2026-02-08T12:00:00.1234567891"),
        (pa.timestamp("ms", "UTC"), dt.datetime(2026, 2, 8, microsecond=1, tzinfo=dt.UTC)),
        (pa.timestamp("s"), "2026-02-08T12:00:00.1"),
        (pa.time32("ms"), "12:00:00.0001"),
        (pa.duration("s"), dt.timedelta(seconds=1, milliseconds=1)),
    ],
    ids=str,
)
def test_what_a_person_typed_is_refused_rather_than_cut(
    kind: Any,  # noqa: ANN401  (pyarrow.DataType)
    typed: Any,  # noqa: ANN401  (a value of a row)
) -> None:
    """Arrow and Python both cut what is finer than they count, without a word."""
    schema = pa.schema([("at", kind)]).serialize().to_pybytes()

    with pytest.raises(DataError, match=r"'at' does not fit .* has finer parts of a second"):
        table_of([{"at": typed}], schema)


@pytest.mark.parametrize(
    ("typed", "nanoseconds"),
    [("1970-01-01T00:00:00.1234567", 123_456_700), ("1970-01-01T00:00:00.12345678Z", 123_456_780)],
)
def test_a_column_of_nanoseconds_takes_all_that_a_person_typed(
    typed: str, nanoseconds: int
) -> None:
    """Be it as many digits as it has, or fewer."""
    kind = pa.timestamp("ns", "UTC" if typed.endswith("Z") else None)
    schema = pa.schema([("at", kind)]).serialize().to_pybytes()

    assert table_of([{"at": typed}], schema)["at"].cast(pa.int64()).to_pylist() == [nanoseconds]
