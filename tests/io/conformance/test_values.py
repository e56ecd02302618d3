"""
Values at every destination: each comes back as it is documented, or is rejected with a reason.
"""

import datetime as dt
import enum
import itertools
import math
from collections import OrderedDict
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.io.warehouse import Warehouse, batch, rejects_of

UTC = dt.UTC
_tables = itertools.count()


class Colour(enum.IntEnum):
    """A subclass that plain checks let through."""

    RED = 1


#: Columns of values that belong together, as a new table would be made for them.
COLUMNS: dict[str, list[Any]] = {
    "none": [None],
    "bool": [True, False, None],
    "int": [0, 1, -1, 2**63 - 1, -(2**63), None],
    "float": [0.0, 1.5, 0.1, -0.25, 5e-324, 1.7976931348623157e308, None],
    "mixed numbers": [1, 2.5, 2**53, 0.1],
    "text": ["", " a ", "é\U0001f600\n\t\r\\'\"", "\\N", "\\.", "\x01", None],
    "bytes": [b"", b"\x00\xff", b"\\x00", None],
    "date": [dt.date(1, 1, 1), dt.date(2013, 2, 4), dt.date(9999, 12, 31), None],
    "time": [dt.time(0), dt.time(23, 59, 59, 999_999), None],
    "datetime": [
        dt.datetime(1970, 1, 1, tzinfo=UTC),
        dt.datetime(2013, 2, 4, 10, 0, 0, 5, tzinfo=UTC),
        dt.datetime(1, 1, 2, tzinfo=UTC),
        dt.datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC),
        None,
    ],
    "timedelta": [
        dt.timedelta(0),
        dt.timedelta(days=1, seconds=3661, microseconds=500_000),
        dt.timedelta(seconds=-1),
        dt.timedelta(microseconds=-1),
        None,
    ],
    "decimal": [
        Decimal("12.50"),
        Decimal("-0.001"),
        Decimal(10) ** 400,
        Decimal("1E-400"),
        Decimal("Infinity"),
        None,
    ],
    "uuid": [UUID(int=7), UUID(int=2**128 - 1), None],
    "json": [{}, {"b": [1, None, 1.5, True], "a": "é\\u0000"}, [2**70], [[], {}], (1, (2,)), None],
    "sets": [{"b", "a"}, {2, 1}],
    "nested": [[b"\x00", Decimal("0.10"), dt.date(2013, 2, 4), UUID(int=1)]],
    "moments": [dt.date(2013, 2, 4), dt.datetime(2013, 2, 4, tzinfo=UTC), "soon"],
    "mixed": [1, "1", True, None, [1]],
}

#: What no column of a new table holds; the rules are the same wherever it is refused.
REFUSED: list[tuple[Any, str]] = [
    (2**63, "range"),
    (-(2**63) - 1, "range"),
    (10**5000, "range"),
    (Decimal("sNaN"), "nan|type"),
    ("a\0b", "nul"),
    ("\0", "nul"),
    ("\ud800", "unicode"),
    ("x\udfff", "unicode"),
    ([math.nan], "nan"),
    ({"a": [math.inf]}, "nan"),
    (["\ud800"], "unicode"),
    ({1: "x"}, "keys"),
    (object(), "type"),
    (Colour.RED, "type"),
    (OrderedDict(), "type"),
    (bytearray(b"x"), "type"),
    ([frozenset()], "type"),
    (1j, "type"),
]


def stored(warehouse: Warehouse, table: str) -> list[Any]:
    """Return the values of a table's column `v`, in the order of `n`."""
    return [value for (value,) in warehouse.query(f'SELECT v FROM "{table}" ORDER BY n')]


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_a_new_table_holds_its_values_exactly(warehouse: Warehouse, name: str) -> None:
    """Every value comes back in its documented form, and none is lost."""
    values = COLUMNS[name]
    records = [{"n": n, "v": value} for n, value in enumerate(values)]

    answer = warehouse.destination().load(batch(records))

    assert answer.rejects == []
    for came_back, value in zip(stored(warehouse, "t"), values, strict=True):
        assert value is None or warehouse.is_same(came_back, value), (came_back, value)
        assert (came_back is None) == (value is None)


@pytest.mark.parametrize("name", COLUMNS)
def test_the_same_values_go_in_again(warehouse: Warehouse, name: str) -> None:
    """What a first batch made the table for, the next one can bring."""
    records = [{"n": n, "v": value} for n, value in enumerate(COLUMNS[name])]
    key = ("n",) if warehouse.upserts else ()
    warehouse.destination(key=key).load(batch(records))
    before = stored(warehouse, "t")

    answer = warehouse.destination(key=key).load(batch(records, number=1))

    assert answer.rejects == []
    times = 1 if warehouse.upserts else 2
    assert stored(warehouse, "t") == [value for value in before for _ in range(times)]


@pytest.mark.parametrize(
    ("value", "rule"), REFUSED, ids=[f"{rule}-{i}" for i, (_, rule) in enumerate(REFUSED)]
)
def test_what_no_column_holds_costs_its_own_record_only(
    warehouse: Warehouse, value: object, rule: str
) -> None:
    """Nothing is changed silently, the field is named, and the reason can be printed anywhere."""
    answer = warehouse.destination().load(batch([{"n": 1, "v": value}, {"n": 2}]))

    (entry,) = answer.rejects
    assert entry["rule"] in rule.split("|")
    assert (entry["position"], entry["path"]) == (0, "/v")
    assert entry["message"].isascii()
    assert warehouse.query("SELECT n FROM t") == [(2,)]


def test_nan_is_kept_or_rejected_and_never_null(warehouse: Warehouse) -> None:
    """SQLite would store NULL for it; where it can be kept, it is."""
    answer = warehouse.destination().load(batch([{"n": 1, "v": math.nan}, {"n": 2, "v": 1.5}]))

    if answer.rejects:
        assert list(rejects_of(answer)) == [(0, "nan", "/v")]
        assert stored(warehouse, "t") == [1.5]
    else:
        assert math.isnan(stored(warehouse, "t")[0])


@pytest.mark.parametrize("infinity", [math.inf, -math.inf])
def test_infinity_is_kept_or_rejected(warehouse: Warehouse, infinity: float) -> None:
    """JSON has no word for it; where it can be kept, it is."""
    answer = warehouse.destination().load(batch([{"n": 1, "v": infinity}, {"n": 2, "v": 1.5}]))

    if warehouse.kind == "jsonl":
        assert list(rejects_of(answer)) == [(0, "nan", "/v")]
        assert stored(warehouse, "t") == [1.5]
    else:
        assert answer.rejects == []
        assert stored(warehouse, "t") == [infinity, 1.5]


_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**64), 2**64),
    st.floats(),
    st.text(),
    st.text(st.characters()),
    st.binary(),
    st.decimals(),
    st.datetimes(timezones=st.just(UTC)),
    st.datetimes(),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
)
_VALUES = st.one_of(
    _SCALARS,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    ),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.sampled_from("abcd"), _VALUES), max_size=8))
def test_any_records_land_exactly_or_are_rejected(
    warehouse: Warehouse, records: list[dict[str, Any]]
) -> None:
    """For any batch: loaded + rejected = given, and what was loaded is as documented."""
    table = f"any-{next(_tables)}"
    given_records = [record | {"n": n} for n, record in enumerate(records)]
    target = warehouse.destination(table=table)

    answer = target.load(batch(given_records, number=0))

    target.close()
    bad = {entry["position"] for entry in answer.rejects}
    assert answer.records + len(bad) == len(records)
    kept = [record for record in given_records if record["n"] not in bad]
    if kept:
        names = sorted({name for record in kept for name in record})
        columns = ", ".join(f'"{name}"' for name in names)
        rows = warehouse.query(f'SELECT {columns} FROM "{table}" ORDER BY n')
        for row, record in zip(rows, kept, strict=True):
            for name, came_back in zip(names, row, strict=True):
                value = record.get(name)
                assert (came_back is None) == (value is None)
                assert value is None or warehouse.is_same(came_back, value), (came_back, value)
        if warehouse.upserts:
            warehouse.script(f'DROP TABLE "{table}"')
