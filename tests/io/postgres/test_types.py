"""Columns of other people's tables: a value comes back as it went in, or is rejected."""

import datetime as dt
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from statepipe.errors import DataError
from tests.io.postgres.server import Cluster
from tests.io.postgres.warehouse import PostgresWarehouse
from tests.io.warehouse import batch

UTC = dt.UTC
EAST = dt.timezone(dt.timedelta(hours=5, minutes=30))

at = dt.datetime.fromisoformat

#: Returned instead of a value that is to be rejected.
NO = object()

#: A column, a value for it, and what is read back.
KEPT_OR_NOT: list[tuple[str, Any, Any]] = [
    ("smallint", 32_767, 32_767),
    ("smallint", 32_768, NO),
    ("integer", -(2**31), -(2**31)),
    ("integer", 2**31, NO),
    ("integer", True, NO),
    ("integer", 5.0, NO),
    ("integer", "5", NO),
    ("integer", Decimal(5), NO),
    ("bigint", 2**63 - 1, 2**63 - 1),
    ("real", 0.5, 0.5),
    ("real", 0.1, NO),
    ("real", 1e39, NO),
    ("real", math.inf, math.inf),
    ("double precision", 5, 5.0),
    ("double precision", 2**53 + 1, NO),
    ("double precision", 10**400, NO),
    ("double precision", Decimal("0.5"), 0.5),
    ("double precision", Decimal("0.1"), NO),
    ("double precision", "1.5", NO),
    ("double precision", True, NO),
    ("numeric", Decimal("1E+1000"), Decimal(10) ** 1000),
    ("numeric", Decimal("1E-16383"), Decimal("1E-16383")),
    ("numeric", Decimal("1E-16384"), NO),
    ("numeric", Decimal("1E+131072"), NO),
    ("numeric", 10**30, Decimal(10**30)),
    ("numeric", 19.9, Decimal("19.9")),
    ("numeric", "19.9", NO),
    ("numeric", True, NO),
    ("numeric(10,2)", Decimal("12.50"), Decimal("12.50")),
    ("numeric(10,2)", Decimal("12.500"), Decimal("12.50")),
    ("numeric(10,2)", Decimal("12.505"), NO),
    ("numeric(10,2)", 19.9, Decimal("19.90")),
    ("numeric(10,2)", 19.999, NO),
    ("numeric(10,2)", Decimal("99999999.99"), Decimal("99999999.99")),
    ("numeric(10,2)", Decimal(10) ** 8, NO),
    ("numeric(10,2)", Decimal("NaN"), "NaN"),
    ("numeric(10,2)", Decimal("Infinity"), NO),
    ("numeric(10,2)", Decimal("0E-20000"), Decimal(0)),
    ("numeric(3,-2)", 12_300, Decimal(12_300)),
    ("numeric(3,-2)", 12_340, NO),
    ("text", "", ""),
    ("text", 5, NO),
    ("text", dt.date(2013, 2, 4), "2013-02-04"),
    ("text", UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    ("text", {"a": 1}, '{"a":1}'),
    ("varchar(3)", "abc", "abc"),
    ("varchar(3)", "éàü", "éàü"),
    ("varchar(3)", "abcd", NO),
    ("varchar(3)", "abc ", NO),  # PostgreSQL would cut the space off without a word
    ("varchar", "abcd ", "abcd "),
    ("char(3)", "EUR", "EUR"),
    ("char(3)", "EU", NO),
    ("char(3)", "EURO", NO),
    ("char(3)", "EU ", "EU "),
    ("bytea", b"\x00", b"\x00"),
    ("bytea", "x", NO),
    ("boolean", True, True),
    ("boolean", 1, NO),
    ("boolean", "t", NO),
    ("date", dt.date(2013, 2, 4), dt.date(2013, 2, 4)),
    ("date", "2013-02-04", dt.date(2013, 2, 4)),
    ("date", "2013-02-30", NO),
    ("date", "20130204", NO),
    ("date", "04/02/2013", NO),
    ("date", "today", NO),
    ("date", at("2013-02-04T00:00Z"), NO),
    ("time", dt.time(1, 2, 3, 4), dt.time(1, 2, 3, 4)),
    ("time", "01:02", dt.time(1, 2)),
    ("time", "01:02:03.1234567", NO),
    ("time", dt.time(1, 2, tzinfo=EAST), NO),
    ("time(0)", dt.time(1, 2, 3), dt.time(1, 2, 3)),
    ("time(0)", dt.time(1, 2, 3, 500_000), NO),
    ("time with time zone", dt.time(1, 2, tzinfo=EAST), dt.time(1, 2, tzinfo=EAST)),
    ("time with time zone", "01:02:00+05:30", dt.time(1, 2, tzinfo=EAST)),
    ("time with time zone", dt.time(1, 2), NO),
    ("timestamp", at("2013-02-04T10:00"), at("2013-02-04T10:00")),
    ("timestamp", "2013-02-04T10:00", at("2013-02-04T10:00")),
    ("timestamp", "2013-02-04 10:00:00.5", at("2013-02-04T10:00:00.5")),
    ("timestamp", at("2013-02-04T10:00Z"), NO),  # would lose its offset
    ("timestamp", "2013-02-04T10:00Z", NO),
    ("timestamp(3)", at("2013-02-04T00:00:00.001"), at("2013-02-04T00:00:00.001")),
    ("timestamp(3)", at("2013-02-04T00:00:00.001001"), NO),
    ("timestamptz", at("2013-02-04T10:00+05:30"), at("2013-02-04T10:00+05:30")),
    ("timestamptz", "2013-02-04T10:00:00Z", at("2013-02-04T10:00Z")),
    ("timestamptz", "2013-02-04 10:00:00.01+05:30", at("2013-02-04T10:00:00.01+05:30")),
    ("timestamptz", "2013-02-04T10:00:00", NO),
    ("timestamptz", at("2013-02-04T10:00"), NO),
    ("timestamptz", dt.date(2013, 2, 4), NO),
    ("interval", dt.timedelta(days=400, seconds=-1), dt.timedelta(days=400, seconds=-1)),
    ("interval", "1 day", NO),
    ("interval(0)", dt.timedelta(1), NO),
    ("uuid", UUID(int=7), UUID(int=7)),
    ("uuid", "00000000-0000-0000-0000-00000000000a", UUID(int=10)),
    ("uuid", "00000000-0000-0000-0000-00000000000A", NO),
    ("uuid", "{00000000-0000-0000-0000-00000000000a}", NO),
    ("uuid", "x", NO),
    ("jsonb", {"a": [1, 2.5, None]}, {"a": [1, 2.5, None]}),
    ("jsonb", "text", "text"),
    ("jsonb", [], []),
    ("jsonb", b"x", NO),
    ("jsonb", {"a": "b\0"}, NO),
    ("jsonb", {"a": "b\\u0000"}, {"a": "b\\u0000"}),
    ("json", {"b": 1, "a": {}}, {"b": 1, "a": {}}),
    ("json", {"a": ["\0"]}, NO),
    ("colour", "red", "red"),
    ("colour", "pink", NO),
    ("colour", 1, NO),
    ("positive", 1, 1),
    ("positive", -1, NO),
    ("positive", "1", NO),
]  # fmt: skip

TYPES = """
CREATE TYPE colour AS ENUM ('red', 'green');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN nested AS positive;
"""


@pytest.fixture(scope="module")
def shared(cluster: Cluster) -> Iterator[PostgresWarehouse]:
    """Return a schema with a type and a domain of somebody's own."""
    made = PostgresWarehouse(cluster)
    made.script(TYPES)
    yield made
    made.close()


@pytest.mark.parametrize("key", [(), ("n",)], ids=["append", "upsert"])
@pytest.mark.parametrize(
    ("declared", "value", "read"),
    KEPT_OR_NOT,
    ids=[f"{n}-{declared}" for n, (declared, _, _) in enumerate(KEPT_OR_NOT)],
)
def test_a_column_changes_no_value_without_a_word(
    shared: PostgresWarehouse, declared: str, value: object, read: object, key: tuple[str, ...]
) -> None:
    """What PostgreSQL would round, pad, cut off or reinterpret costs its own record only."""
    shared.script(
        f"DROP TABLE IF EXISTS t, _statepipe_ledger; CREATE TABLE t (n int UNIQUE, v {declared})"
    )
    target = shared.destination(key=key)

    answer = target.load(batch([{"n": 1, "v": value}, {"n": 2, "v": None}]))

    target.close()
    if read is NO:
        assert [(entry["position"], entry["path"]) for entry in answer.rejects] == [(0, "/v")] or (
            answer.rejects[0]["rule"] in {"check", "invalidtextrepresentation", "range"}
        )
        assert shared.query("SELECT n, v FROM t") == [(2, None)]
    else:
        assert answer.rejects == []
        (found,) = shared.query("SELECT v FROM t WHERE n = 1")[0]
        assert (str(found) == read) if read == "NaN" else (found == read)


@pytest.mark.parametrize(
    "declared", ["inet", "integer[]", "int4range", "money", "nested", "point", "tsvector", "xml"]
)
def test_a_column_of_a_type_that_nobody_can_fill_is_named(
    shared: PostgresWarehouse, declared: str
) -> None:
    """The batch stops and says which column; records without that field are loaded."""
    shared.script(
        f"DROP TABLE IF EXISTS t, _statepipe_ledger; CREATE TABLE t (n int, v {declared})"
    )
    target = shared.destination()

    with pytest.raises(DataError, match=r"column 'v' is of type .*, which cannot be loaded into"):
        target.load(batch([{"n": 1, "v": "x"}]))

    assert target.load(batch([{"n": 1}])).records == 1
    target.close()


def test_columns_that_the_server_fills_itself_cannot_be_written(shared: PostgresWarehouse) -> None:
    """Generated columns and identities that are always generated are none of ours."""
    shared.script("""
        DROP TABLE IF EXISTS t, _statepipe_ledger;
        CREATE TABLE t (
          n int, twice int GENERATED ALWAYS AS (n * 2) STORED,
          id int GENERATED ALWAYS AS IDENTITY, other int GENERATED BY DEFAULT AS IDENTITY
        )
    """)
    target = shared.destination()

    assert target.load(batch([{"n": 4}, {"n": 5, "other": 9}])).records == 2
    for name in ("twice", "id"):
        with pytest.raises(DataError, match=f"no column '{name}'"):
            target.load(batch([{"n": 1, name: 2}], number=1))
    target.close()
    assert shared.query("SELECT n, twice, id, other FROM t ORDER BY n") == [
        (4, 8, 1, 1),
        (5, 10, 2, 9),
    ]


def test_a_partitioned_table_is_loaded_and_a_row_without_partition_is_rejected(
    shared: PostgresWarehouse,
) -> None:
    """Its unique index is on the partitions; where no partition fits, the row is refused alone."""
    shared.script("""
        DROP TABLE IF EXISTS t, _statepipe_ledger;
        CREATE TABLE t (id int, n int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
        CREATE TABLE IF NOT EXISTS t_low PARTITION OF t FOR VALUES FROM (0) TO (10)
    """)
    target = shared.destination(key=("id",))

    answer = target.load(batch([{"id": 1, "n": 1}, {"id": 11, "n": 1}, {"id": 2, "n": 1}]))

    target.close()
    assert [(e["position"], e["rule"]) for e in answer.rejects] == [(1, "check")]
    assert shared.query("SELECT id FROM t ORDER BY id") == [(1,), (2,)]
