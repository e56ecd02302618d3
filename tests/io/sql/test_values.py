"""
Values come out as they are in the database, type for type, or are refused with their column.
"""

import math
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from psycopg.adapt import Transformer
from psycopg.pq import Format

from statepipe.errors import Fatal
from statepipe.io.postgres.unreadable import refuse_misread
from statepipe.store.codec import decode, encode
from tests.io.postgres.server import Cluster
from tests.io.postgres.warehouse import PostgresWarehouse
from tests.io.reading import read_with_crashes
from tests.io.sql.reading import reader_of, rows_of
from tests.io.sqlite_warehouse import SqliteWarehouse

#: Of a type, what SQL writes, and what Python has of it.
POSTGRES: Final[list[tuple[str, str, Any]]] = [
    ("smallint", "-32768", -(2**15)),
    ("bigint", "9223372036854775807", 2**63 - 1),
    ("numeric", "12345678901234567890.123456789012345678900", Decimal),
    ("numeric(12, 2)", "1.10", Decimal("1.10")),
    ("numeric", "-Infinity", Decimal("-Infinity")),
    ("double precision", "0.1", 0.1),
    ("double precision", "-Infinity", -math.inf),
    ("real", "0.1", 0.1),
    ("boolean", "true", True),
    ("text", "ä\n\u2028%s:x", "ä\n\u2028%s:x"),
    ("char(3)", "a", "a  "),
    ("bytea", "\\x00ff", b"\x00\xff"),
    ("bytea", "", b""),
    ("uuid", "0d6b1ad2-2dc4-4f5e-9cbb-9d7c2a3a3b61", UUID),
    ("date", "0001-01-01", date(1, 1, 1)),
    ("time", "23:59:59.999999", time(23, 59, 59, 999999)),
    ("timetz", "05:30:00+05:30", time(5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))),
    ("interval", "-1 day 00:00:00.000001", timedelta(days=-1, microseconds=1)),
    ("interval", "1 year -2 mons 3 days -04:05:06", timedelta(days=303, hours=-4, seconds=-306)),
    ("interval", "2739726 years 9 days", timedelta(days=999_999_999)),
    ("interval", "-2562047788:00:54.775807", timedelta(hours=-2562047788, microseconds=-54775807)),
    ("timestamptz", "2024-03-31 02:30:00.000001+02", datetime(2024, 3, 31, 0, 30, 0, 1, UTC)),
    ("jsonb", '{"a": [1, 2.5, null, "x", {"b": true}]}', {"a": [1, 2.5, None, "x", {"b": True}]}),
    ("json", "12345678901234567890123", 12345678901234567890123),
    ("json", "0.12345678901234567890", Decimal("0.12345678901234567890")),
    ("json", "1e999", Decimal("1E+999")),
    ("jsonb", "1e999", 10**999),
    ("integer[]", "{1,NULL,3}", [1, None, 3]),
    ("numeric[]", "{{1.10},{2}}", [[Decimal("1.10")], [Decimal(2)]]),
    ("timestamptz[]", "{2024-01-01 00:00:00+01}", [datetime(2023, 12, 31, 23, tzinfo=UTC)]),
    ("jsonb", "null", None),
    ("inet[]", "{}", []),
]


@pytest.mark.parametrize("options", ["", " -cTimeZone=Asia/Kolkata -cextra_float_digits=0"])
def test_postgresql_gives_its_values_exactly(cluster: Cluster, options: str) -> None:
    """Whatever the role is set to; each with a NULL beside it, and through a checkpoint."""
    with closing(PostgresWarehouse(cluster)) as warehouse:
        warehouse.schema += options
        columns = ", ".join(f"c{n} {sql}" for n, (sql, _, _) in enumerate(POSTGRES))
        warehouse.script(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {columns})")
        values = ", ".join("'" + text.replace("'", "''") + "'" for _, text, _ in POSTGRES)
        warehouse.script(f"INSERT INTO t VALUES (1, {values}); INSERT INTO t (id) VALUES (2)")

        row, nulls = rows_of(warehouse)

    assert set(nulls.values()) == {2, None}
    for (sql, text, value), found in zip(POSTGRES, list(row.values())[1:], strict=True):
        expected = value(text) if isinstance(value, type) else value
        assert (type(found), found) == (type(expected), expected), sql
        assert repr(found) == repr(expected) or sql == "jsonb" or "timestamp" in sql
    assert decode(encode(row)) == row


def test_nan_is_a_value(cluster: Cluster) -> None:
    """A float's and a number's; what is loaded from it is the destination's matter."""
    with closing(PostgresWarehouse(cluster)) as warehouse:
        warehouse.script("CREATE TABLE t (id INTEGER, f float8, n numeric)")
        warehouse.script("INSERT INTO t VALUES (1, 'NaN', 'NaN')")

        (row,) = rows_of(warehouse)

    assert math.isnan(row["f"])
    assert row["n"].is_nan()


@pytest.mark.parametrize(
    ("sql", "text", "said"),
    [
        ("timestamp", "2024-01-01 00:00:00", "column 'bad' has datetimes without an offset"),
        ("timestamp[]", "{2024-01-01 00:00:00}", "column 'bad' has datetimes without an offset"),
        ("int4range", "[1,2]", r"column 'bad' has values of type psycopg\..*Range"),
        ("inet", "10.0.0.1", "column 'bad' has values of type ipaddress.IPv4Address"),
        ("timestamptz", "infinity", "column 'bad' has 'infinity', .* in the row with id = 3;"),
        ("date", "0044-03-15 BC", "column 'bad' has '0044-03-15 BC', .* in the row with id = 3;"),
        ("time", "24:00:00", "column 'bad' has '24:00:00', .* in the row with id = 3;"),
        ("timestamp[]", "{-infinity}", "column 'bad' has '-infinity', .* in the row with id = 3;"),
        ("interval", "178000000 years", "column 'bad' has '178000000 years', .* with id = 3;"),
        ("interval", "-11767034 years -1 mon", "'bad' has '-11767034 years -1 mons', .* id = 3;"),
        ("interval", "2739727 years", "column 'bad' has '2739727 years', .* with id = 3;"),
        ("interval[]", "{178000000 years}", "column 'bad' has '178000000 years', .* id = 3;"),
    ],
)
def test_what_no_checkpoint_holds_is_refused_with_its_column(
    cluster: Cluster, sql: str, text: str, said: str
) -> None:
    """What was read before is whole: it was committed."""
    with closing(PostgresWarehouse(cluster)) as warehouse:
        warehouse.script(f"CREATE TABLE t (id INTEGER PRIMARY KEY, bad {sql})")
        warehouse.script(f"INSERT INTO t VALUES (1, NULL), (2, NULL), (3, '{text}')")
        reading = reader_of(warehouse)
        ids = []

        def collect() -> None:
            ids.extend(read_with_crashes(reading, batch_size=1)[0])

        with pytest.raises(Fatal, match=said):
            collect()
        assert rows_of(warehouse, query="SELECT id, bad::text FROM t")[2]["id"] == 3


@pytest.mark.parametrize("text", [b"infinity", b"-infinity", b"1 fortnight"])
def test_what_is_no_finite_interval_is_not_taken_for_none(cluster: Cluster, text: bytes) -> None:
    """PostgreSQL has infinite ones from version 17 on; psycopg reads nothing in them: zero."""
    with psycopg.connect(cluster.socket()) as connection:
        refuse_misread(connection)
        oid = connection.adapters.types["interval"].oid
        loader = Transformer(connection).get_loader(oid, Format.TEXT)

        with pytest.raises(psycopg.DataError, match="can't parse interval"):
            loader.load(text)
        assert loader.load(b"00:00:00") == timedelta(0)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"key": "at"}, "key: column 'at' has 'infinity', .* in some row"),
        ({"watermark": "at"}, "watermark: column 'at' has 'infinity', .* as its highest"),
    ],
)
def test_a_key_or_a_watermark_that_cannot_be_read_is_refused_with_its_column(
    cluster: Cluster, asked: dict[str, Any], said: str
) -> None:
    """Neither can be cast, so the rows are to be left out; then they are."""
    with closing(PostgresWarehouse(cluster)) as warehouse:
        warehouse.script("CREATE TABLE t (id INTEGER PRIMARY KEY, at timestamptz)")
        warehouse.script("INSERT INTO t VALUES (1, '2024-01-01'), (2, 'infinity')")

        with pytest.raises(Fatal, match=f"{said}.*a query"):
            rows_of(warehouse, **asked)

        found = rows_of(warehouse, query="SELECT * FROM t WHERE at < 'infinity'", **asked)
    assert [row["id"] for row in found] == [1]


def test_datetimes_without_an_offset_are_utc_if_that_is_said(cluster: Cluster) -> None:
    """As values, as a key that goes through a cursor, and as a watermark."""
    with closing(PostgresWarehouse(cluster)) as warehouse:
        warehouse.schema += " -cTimeZone=Asia/Kolkata"
        warehouse.script("CREATE TABLE t (id timestamp PRIMARY KEY, more timestamp[])")
        moments = [datetime(2024, 1, day, 12, 0, 0, day, UTC) for day in range(1, 6)]
        for moment in moments:
            text = moment.isoformat()[:-6]
            warehouse.script(f"INSERT INTO t VALUES ('{text}', '{{{text}}}')")
        reader = reader_of(warehouse, assume_utc=True, watermark="id")

        found, _ = read_with_crashes(reader, batch_size=2)

    assert found == [{"id": moment, "more": [moment]} for moment in moments]


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-7))])
@pytest.mark.parametrize("sql", ["timestamp", "timestamptz"])
def test_a_watermark_with_an_offset_is_compared_as_the_moment_it_is(
    cluster: Cluster, sql: str, zone: timezone
) -> None:
    """Also with a column that has none, which is UTC."""
    with closing(PostgresWarehouse(cluster)) as warehouse:
        warehouse.script(f"CREATE TABLE t (id INTEGER PRIMARY KEY, at {sql})")
        warehouse.script("SET TimeZone = 'UTC'")
        warehouse.script("INSERT INTO t SELECT n, '2024-01-01'::timestamp + n * '1 h'::interval"
                         " FROM generate_series(0, 9) n")  # fmt: skip
        watermark = datetime(2024, 1, 1, 6, tzinfo=UTC).astimezone(zone)
        reader = reader_of(warehouse, assume_utc=True, watermark="at")

        found, _ = read_with_crashes(reader, batch_size=2, watermark=watermark)

    assert [row["id"] for row in found] == [7, 8, 9]


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("bytea", ["\\x00", "\\x00ff", "\\xff"]),
        ("numeric", ["-1.5", "1", "1.00000000000000000001", "Infinity"]),
        ("date", ["2024-01-01", "2024-01-02"]),
        ("timestamptz", ["2024-01-01 00:00:00+00", "2024-01-01 00:00:00.000001+00"]),
        ("uuid", ["0d6b1ad2-2dc4-4f5e-9cbb-9d7c2a3a3b61", "1d6b1ad2-2dc4-4f5e-9cbb-9d7c2a3a3b61"]),
        ("boolean", ["false", "true"]),
        ("bigint", ["-9223372036854775808", "0", "9223372036854775807"]),
    ],
)
def test_keys_of_every_type_are_found_again(cluster: Cluster, sql: str, values: list[str]) -> None:
    """One row a batch, with a crash after each."""
    with closing(PostgresWarehouse(cluster)) as warehouse:
        warehouse.script(f"CREATE TABLE t (id {sql} PRIMARY KEY, text TEXT)")
        for value in reversed(values):
            warehouse.script(f"INSERT INTO t VALUES ('{value}', '{value}')")

        found, _ = read_with_crashes(reader_of(warehouse), batch_size=1)

    assert [row["text"] for row in found] == values


@pytest.mark.parametrize(
    ("sql", "value", "said"),
    [
        ("real", "0.1", "type float"),
        ("double precision", "NaN", "type float"),
        ("numeric", "NaN", "NaN"),
        ("interval", "1 month", "type timedelta"),
        ("jsonb", "{}", "type dict"),
        ("integer[]", "{1}", "type list"),
    ],
)
def test_what_may_not_be_found_again_is_no_key(
    cluster: Cluster, sql: str, value: str, said: str
) -> None:
    """A `real` is not equal to what it is given back: its row would come for ever."""
    with closing(PostgresWarehouse(cluster)) as warehouse:
        warehouse.script(f"CREATE TABLE t (id {sql})")
        warehouse.script(f"INSERT INTO t VALUES ('{value}')")

        with pytest.raises(Fatal, match=f"key: column 'id' is .*{said}"):
            rows_of(warehouse)


def test_sqlite_gives_its_values_exactly(tmp_path: Path) -> None:
    """As they are stored, whatever the column is declared as: SQLite has no other types."""
    warehouse = SqliteWarehouse(tmp_path / "w.db")
    warehouse.script("CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME, n DECIMAL(9, 2), x)")
    warehouse.script("""
        INSERT INTO t VALUES (1, '2024-01-01 00:00:00', 1.10, x'00ff'),
          (2, 1704067200, '1e400', 9223372036854775807), (3, NULL, -9e999, 'ä'), (4, 2.5, 'x', 0.1)
    """)

    rows = rows_of(warehouse)

    assert [tuple(row.values()) for row in rows] == [
        (1, "2024-01-01 00:00:00", 1.1, b"\x00\xff"),
        (2, 1704067200, math.inf, 2**63 - 1),
        (3, None, -math.inf, "ä"),
        (4, 2.5, "x", 0.1),
    ]
    assert decode(encode(rows)) == rows


def test_sqlite_is_asked_for_dates_as_text(tmp_path: Path) -> None:
    """Parameters and the watermark are written as our SQLite destination writes such values."""
    warehouse = SqliteWarehouse(tmp_path / "w.db")
    warehouse.script("CREATE TABLE t (id INTEGER PRIMARY KEY, day TEXT)")
    warehouse.script("INSERT INTO t VALUES (1, '2024-01-01'), (2, '2024-01-02')")
    day = date(2024, 1, 2)

    found = rows_of(warehouse, query="SELECT * FROM t WHERE day = :day", params={"day": day})
    newer, _ = read_with_crashes(reader_of(warehouse, watermark="day"), watermark=date(2024, 1, 1))
    with pytest.raises(Fatal, match=r"params: a builtins\.object cannot be stored"):
        rows_of(warehouse, query="SELECT * FROM t WHERE day = :day", params={"day": object()})

    assert found == newer == [{"id": 2, "day": "2024-01-02"}]


def test_text_that_is_none_is_fatal(tmp_path: Path) -> None:
    """SQLite holds any bytes as text."""
    warehouse = SqliteWarehouse(tmp_path / "w.db")
    warehouse.script("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
    warehouse.script("INSERT INTO t VALUES (1, CAST(x'ff' AS TEXT))")

    with pytest.raises(Fatal, match="Could not decode to UTF-8 column 'name'"):
        rows_of(warehouse)
