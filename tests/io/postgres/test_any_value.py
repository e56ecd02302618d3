"""Any value into any type of column: it comes back, or is rejected; nothing in between."""

import datetime as dt
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.io.postgres.server import Cluster
from tests.io.postgres.warehouse import PostgresWarehouse
from tests.io.warehouse import batch

EAST = dt.timezone(dt.timedelta(hours=5, minutes=30))

#: Columns by the name of their type.
COLUMNS = """
    smallint integer bigint real float8 numeric numeric(8,3) text varchar(4) char(2) bytea
    boolean date time timetz timestamp timestamp(2) timestamptz interval uuid jsonb json
""".split()  # noqa: SIM905  (a table, not a list)

#: Years that Python has with any offset.
MOMENTS: dict[str, Any] = {
    "min_value": dt.datetime(2, 1, 1),  # noqa: DTZ001  (offsets are drawn)
    "max_value": dt.datetime(9998, 1, 1),  # noqa: DTZ001  (offsets are drawn)
}

VALUES = st.one_of(
    st.booleans(),
    st.integers(),
    st.integers(-(2**15), 2**15),
    st.floats(),
    st.floats(width=32),
    st.decimals(),
    st.decimals(places=3),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.dates(),
    st.dates().map(dt.date.isoformat),
    st.times(),
    st.times(timezones=st.just(EAST)),
    st.datetimes(**MOMENTS),
    st.datetimes(**MOMENTS, timezones=st.just(dt.UTC)),
    st.datetimes(**MOMENTS, timezones=st.just(EAST)).map(dt.datetime.isoformat),
    st.timedeltas(),
    st.uuids(),
    st.uuids().map(str),
    st.lists(st.integers() | st.text() | st.none(), max_size=2),
)


@pytest.fixture(scope="module")
def shared(cluster: Cluster) -> Iterator[PostgresWarehouse]:
    """Return a schema with a table of all types."""
    made = PostgresWarehouse(cluster)
    columns = ", ".join(f'"{declared}" {declared}' for declared in COLUMNS)
    made.script(f"CREATE TABLE t (n int, {columns})")
    yield made
    made.close()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES, min_size=1, max_size=6))
def test_any_value_in_any_column_comes_back_or_is_rejected(
    shared: PostgresWarehouse, values: list[Any]
) -> None:
    """Each value is put into each column, in a record of its own."""
    shared.script("TRUNCATE t; DROP TABLE IF EXISTS _statepipe_ledger")
    cells = [(declared, value) for declared in COLUMNS for value in values]
    records = [{"n": n, declared: value} for n, (declared, value) in enumerate(cells)]

    with closing(shared.destination()) as target:
        answer = target.load(batch(records))

    bad = {entry["position"] for entry in answer.rejects}
    assert answer.records + len(bad) == len(records)
    # As text, a `real` has fewer digits than what it is exactly.
    names = ", ".join('"real"::float8' if name == "real" else f'"{name}"' for name in COLUMNS)
    rows = shared.query(f"SELECT n, {names} FROM t ORDER BY n")
    assert [row[0] for row in rows] == [n for n in range(len(cells)) if n not in bad]
    for row in rows:
        declared, value = cells[row[0]]
        found = row[1 + COLUMNS.index(declared)]
        assert is_equal(found, value), (declared, value, found)


def is_equal(found: Any, value: Any) -> bool:  # noqa: ANN401  (any value)
    """Return True if `found` is the value, or a form of it that says the same."""
    if value != value:  # noqa: PLR0124  (NaN)
        return bool(found != found)  # noqa: PLR0124  (NaN)
    if isinstance(found, bool) or isinstance(value, bool):
        return found is value
    if isinstance(value, str):
        return value in {str(found), str(found).replace(" ", "T")} or found == _moment(value)
    if isinstance(found, str):
        return found in {str(value), _iso(value)} or found.startswith(("P", "-P", "["))
    is_shortest = isinstance(value, float) and isinstance(found, Decimal)
    return bool((float(found) if is_shortest else found) == value)


def _moment(text: str) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        return None


def _iso(value: Any) -> str:  # noqa: ANN401  (any value)
    return str(value.isoformat()) if hasattr(value, "isoformat") else ""
