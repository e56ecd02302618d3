"""
Reading by a key, in PostgreSQL and SQLite: each row once, whatever is written meanwhile.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from statepipe.batch import Batch
from statepipe.errors import Fatal
from statepipe.io.sql.limits import SqlLimits
from statepipe.io.sql.position import Asked, Position
from statepipe.io.sql.reader import Reader
from statepipe.testing import ManualClock
from tests.io.postgres.warehouse import PostgresWarehouse
from tests.io.reading import read_with_crashes, task
from tests.io.sql.reading import ids_of, reader_of, rows_of, started, url_of
from tests.io.warehouse import Warehouse

TABLE = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)"


def filled(warehouse: Warehouse, *ids: int) -> None:
    """Make the table with these ids."""
    warehouse.script(TABLE)
    insert(warehouse, *ids)


def insert(warehouse: Warehouse, *ids: int) -> None:
    """Add rows."""
    for n in ids:
        warehouse.script(f"INSERT INTO t VALUES ({n}, 'n{n}')")


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 8])
def test_all_rows_come_in_the_order_of_the_key(warehouse: Warehouse, batch_size: int) -> None:
    """At whatever size of a batch, also with a crash after each one."""
    filled(warehouse, 5, 3, 1, 9, 7, 8, 2)
    expected = [{"id": n, "name": f"n{n}"} for n in (1, 2, 3, 5, 7, 8, 9)]

    assert rows_of(warehouse, batch_size=batch_size) == expected
    crashed = read_with_crashes(reader_of(warehouse), batch_size=batch_size)
    assert crashed == (expected, [])


def test_an_empty_table_has_no_batch(warehouse: Warehouse) -> None:
    """There is nothing to commit."""
    warehouse.script(TABLE)

    assert rows_of(warehouse) == []


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(
        st.tuples(
            st.integers(-3, 3), st.text("aAb \u00e4", max_size=3), st.integers(-(2**40), 2**40)
        ),
        unique_by=lambda row: row[:2],
        max_size=25,
    ),
    batch_size=st.integers(1, 6),
    crashes=st.booleans(),
)
def test_a_key_of_two_columns_is_read_like_a_sorted_list(
    warehouse: Warehouse, *, rows: list[Any], batch_size: int, crashes: bool
) -> None:
    """Row by row, as Python would sort them: the collation is the one of bytes."""
    values = ", ".join(f"({a}, '{b}', {n})" for a, b, n in rows)
    warehouse.script(f"""
        BEGIN;
        DROP TABLE IF EXISTS t;
        CREATE TABLE t (a INTEGER, b TEXT, n BIGINT);
        CREATE UNIQUE INDEX ab ON t (a, b);
        {f"INSERT INTO t VALUES {values};" if rows else ""}
        COMMIT;
    """)
    reader = reader_of(warehouse, key=["a", "b"])

    if crashes:
        records, _ = read_with_crashes(reader, batch_size=batch_size)
    else:
        records = rows_of(warehouse, key=["a", "b"], batch_size=batch_size)

    assert [tuple(record.values()) for record in records] == sorted(rows)


def test_rows_that_are_inserted_or_deleted_meanwhile_shift_nothing(warehouse: Warehouse) -> None:
    """Behind the position they are not read, ahead of it they are; nothing comes twice."""
    filled(warehouse, 10, 20, 30, 40, 50, 60)
    reader = reader_of(warehouse)
    first = next(reader(task()))

    insert(warehouse, 5, 15, 25, 55)
    warehouse.script("DELETE FROM t WHERE id IN (10, 20, 40)")
    rest = reader(task(cursor=first.cursor))

    assert [row["id"] for row in first.records] == [10, 20]
    assert ids_of(rest) == [25, 30, 50, 55, 60]


def test_rows_are_inserted_during_one_attempt(warehouse: Warehouse) -> None:
    """Whoever reads lets others write; what was there at the start comes once."""
    filled(warehouse, *range(0, 100, 10))
    reading = started(warehouse)
    ids = []

    for number, batch in enumerate(reading):
        ids += [row["id"] for row in batch.records]
        if number < 10:
            insert(warehouse, 1_000 + number, -1 - number)

    old = [n for n in ids if n < 100]
    assert old == list(range(0, 100, 10))
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("value", [0, 1])
def test_a_column_that_is_added_meanwhile_is_read_from_then_on(
    warehouse: Warehouse, value: int
) -> None:
    """In the next transaction: no value of it is taken for anything else."""
    filled(warehouse, 1, 2, 3, 4)
    reader = reader_of(warehouse, limits=SqlLimits(snapshot_ms=1))
    first = next(reader(task()))
    warehouse.script(f"ALTER TABLE t ADD COLUMN more INTEGER DEFAULT {value}")

    (rest,) = reader(task(cursor=first.cursor))

    assert first.records == [{"id": 1, "name": "n1"}, {"id": 2, "name": "n2"}]
    assert rest.records == [{"id": n, "name": f"n{n}", "more": value} for n in (3, 4)]


def test_a_transaction_ends_when_its_time_is_over(warehouse: Warehouse) -> None:
    """The server is kept from cleaning up for so long and no longer; SQLite for one batch."""
    filled(warehouse, *range(12))
    asked = Asked(table="t", query=None, key=("id",), watermark=None, params={}, assume_utc=False)
    clock = ManualClock()
    limits = SqlLimits(snapshot_ms=1_000)
    seen = []
    with closing(
        Reader(url_of(warehouse), asked, since=None, limits=limits, clock=clock)
    ) as reader:
        at = reader.begin(Position.start(asked))
        for now_ms in (0, 999, 1, 1_000, 0, 0):
            clock.advance(now_ms)
            rows, _ = reader.page(at, rows_max=2)
            at = at.past((rows[-1][0],))
            seen.append(reader._result is not None)

    assert rows == [(10, "n10"), (11, "n11")]
    is_server = warehouse.kind == "postgres"
    assert seen == ([True, True, False, True, True, True] if is_server else [False] * 6)


QUERIES = [
    "SELECT id, upper(name) AS name FROM t WHERE id > :least",
    "SELECT id, upper(name) AS name FROM t WHERE id > :least ORDER BY name DESC;",
    "WITH w AS (SELECT * FROM t) SELECT id, upper(name) AS name FROM w WHERE id > :least -- all",
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_read_as_a_table_is(warehouse: Warehouse, query: str) -> None:
    """Its parameters are bound, its order does not count, a comment at its end neither."""
    filled(warehouse, 1, 2, 3, 4, 5)
    asked: dict[str, Any] = {"query": query, "params": {"least": 1}}

    expected = [{"id": n, "name": f"N{n}"} for n in (2, 3, 4, 5)]
    assert rows_of(warehouse, **asked) == expected
    assert read_with_crashes(reader_of(warehouse, **asked))[0] == expected


def test_a_parameter_is_never_part_of_the_statement(warehouse: Warehouse) -> None:
    """Whatever is in it."""
    filled(warehouse, 1)
    warehouse.script("INSERT INTO t VALUES (2, '''; DROP TABLE t; --')")
    query = "SELECT * FROM t WHERE name = :name"

    found = rows_of(warehouse, query=query, params={"name": "'; DROP TABLE t; --"})

    assert [row["id"] for row in found] == [2]
    assert "t" in warehouse.tables()


def test_names_of_any_characters_are_read(warehouse: Warehouse) -> None:
    """Quotes, spaces, percent signs and keywords are names like any other."""
    warehouse.script("""CREATE TABLE "a ""b%s" ("order" INTEGER, "k "":x%" TEXT, "é" INTEGER)""")
    warehouse.script("""INSERT INTO "a ""b%s" VALUES (1, 'x', 2), (1, 'y', 3), (0, 'z', 4)""")

    found, _ = read_with_crashes(
        reader_of(warehouse, table='a "b%s', key=["order", 'k ":x%']), batch_size=1
    )

    assert [tuple(row.values()) for row in found] == [(0, "z", 4), (1, "x", 2), (1, "y", 3)]
    assert list(found[0]) == ["order", 'k ":x%', "é"]


def test_a_key_that_is_not_unique_is_noticed_wherever_it_is(warehouse: Warehouse) -> None:
    """At the border of two batches a row would be lost; in a batch it would be by chance only."""
    warehouse.script("CREATE TABLE t (id INTEGER, name TEXT)")
    warehouse.script("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (2, 'c'), (3, 'd')")

    for batch_size in (1, 2, 3, 9):
        for crash in (False, True):
            read = read_with_crashes if crash else rows_with
            with pytest.raises(Fatal, match=r"key: id is not unique: two rows have \(2,\)"):
                read(reader_of(warehouse), batch_size=batch_size)


def rows_with(reader: Callable[..., Iterator[Batch]], *, batch_size: int) -> list[Any]:
    """Return what an undisturbed read yields."""
    return list(reader(task(batch_size=batch_size)))


def test_keys_that_the_database_takes_for_equal_are_not_unique(warehouse: Warehouse) -> None:
    """A collation may not tell 'a' from 'A'; between two batches one of them would be lost."""
    collation = "NOCASE"
    if warehouse.kind == "postgres":
        collation = "blind"
        warehouse.script(
            "CREATE COLLATION blind"
            " (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        )
    warehouse.script(f"CREATE TABLE t (id TEXT COLLATE {collation})")
    warehouse.script("INSERT INTO t VALUES ('x'), ('a'), ('A')")

    with pytest.raises(Fatal, match="key: id is not unique"):
        read_with_crashes(reader_of(warehouse), batch_size=1)


def test_a_key_with_null_in_it_is_refused_first_and_last(warehouse: Warehouse) -> None:
    """Such a row has no place in the order: a comparison with it is never true."""
    warehouse.script("CREATE TABLE t (id INTEGER, part INTEGER)")
    warehouse.script("INSERT INTO t VALUES (1, 1), (2, NULL)")

    with pytest.raises(Fatal, match="key: id, part is NULL in some row"):
        rows_of(warehouse, key=["id", "part"])

    warehouse.script("DELETE FROM t WHERE part IS NULL; INSERT INTO t VALUES (2, 2), (3, 3)")
    reading = started(warehouse, key=["id", "part"], batch_size=1)
    next(reading)
    warehouse.script("INSERT INTO t VALUES (0, NULL)")
    with pytest.raises(Fatal, match="key: id, part is NULL in some row"):
        list(reading)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"key": "ID"}, "key: there is no column 'ID'"),
        ({"key": ["id", "nmae"]}, r'''key: there is no column 'nmae'; did you mean "name"'''),
        ({"watermark": "at"}, "watermark: there is no column 'at'"),
        ({"query": "SELECT name FROM t"}, "key: there is no column 'id'"),
        ({"query": "SELECT id, name, 1 AS name FROM t"}, "two columns are called 'name'"),
        ({"query": "SELECT * FROM t WHERE id = :n"}, "the query has :n, and it is not given"),
        (
            {"query": "SELECT * FROM t WHERE id = :day", "params": {"day": 1, "dya": 2}},
            r'''there is no :dya in the query; did you mean "day"''',
        ),
        ({"query": "SELECT * FROM t", "table": "t"}, "name a table or a query"),
        ({"params": {"a": 1}}, "params belong to a query"),
        ({"key": []}, "not a list of different columns"),
        ({"key": ["id", "id"]}, "not a list of different columns"),
        ({"table": "nothing"}, "nothing"),
        ({"query": "SELECT nothing FROM t"}, "nothing"),
        ({"query": "DELETE FROM t"}, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_fatal_and_named(
    warehouse: Warehouse, asked: dict[str, Any], said: str
) -> None:
    """The setting that is wrong, before any row is read."""
    filled(warehouse, 1)

    with pytest.raises(Fatal, match=said):
        rows_of(warehouse, **asked)

    assert warehouse.query("SELECT count(*) FROM t") == [(1,)]


def test_a_cursor_of_another_read_is_refused(warehouse: Warehouse) -> None:
    """Another query, key or parameter has no place that the cursor could mean."""
    filled(warehouse, 1, 2, 3)
    query: dict[str, Any] = {"query": "SELECT * FROM t WHERE id < :most", "params": {"most": 9}}
    cursor = next(started(warehouse, **query)).cursor

    assert ids_of(reader_of(warehouse, **query)(task(cursor=cursor))) == [3]
    for other in (
        query | {"params": {"most": 8}},
        query | {"query": "SELECT * FROM t WHERE id <= :most"},
        query | {"key": "name"},
        {"table": "t"},
    ):
        with pytest.raises(Fatal, match="the table, the query, its parameters or the key"):
            next(reader_of(warehouse, **other)(task(cursor=cursor)))
    with pytest.raises(Fatal, match="was not made by read_sql"):
        next(reader_of(warehouse)(task(cursor=7)))


def moments(warehouse: Warehouse, **rows: int | None) -> None:
    """Insert or update rows of a table with a watermark."""
    for name, at in rows.items():
        value = "NULL" if at is None else at
        warehouse.script(
            f"INSERT INTO t VALUES ('{name}', {value})"
            " ON CONFLICT (id) DO UPDATE SET moved = excluded.moved"
        )


def read_since(warehouse: Warehouse, watermark: int | None, **given: Any) -> Iterator[Batch]:  # noqa: ANN401  (whatever is passed on)
    """Read what is above a watermark."""
    yield from reader_of(warehouse, watermark="moved")(task(watermark=watermark, **given))


def test_only_what_is_above_the_watermark_is_read(warehouse: Warehouse) -> None:
    """The first instance reads all, rows without a value too; the next what is newer."""
    warehouse.script("CREATE TABLE t (id TEXT PRIMARY KEY, moved INTEGER)")
    moments(warehouse, a=5, b=None, c=7, d=6)

    assert ids_of(read_since(warehouse, None)) == ["a", "b", "c", "d"]
    assert ids_of(read_since(warehouse, 5)) == ["c", "d"]
    assert ids_of(read_since(warehouse, 7)) == []


@pytest.mark.parametrize("crashes", [False, True])
def test_a_row_that_moves_during_the_read_is_left_to_the_next_instance(
    warehouse: Warehouse, *, crashes: bool
) -> None:
    """
    The watermark never gets ahead of a change that was not read.

    "a" is updated behind the position and "d" ahead of it, later: had "d" been read as it
    is then, the watermark would be above the change of "a", which nobody would ever read.
    """
    warehouse.script("CREATE TABLE t (id TEXT PRIMARY KEY, moved INTEGER)")
    moments(warehouse, a=1, b=2, c=3, d=4)
    reading = read_since(warehouse, None, batch_size=1)
    batches = [next(reading)]
    moments(warehouse, a=10, d=11, e=12)
    if crashes:
        reading = read_since(warehouse, None, batch_size=1, cursor=batches[0].cursor)
    batches += reading

    first = [record for batch in batches for record in batch.records]
    highest = max(record["moved"] for record in first)
    second = ids_of(read_since(warehouse, highest))
    assert highest <= 4
    assert second[-3:] == ["a", "d", "e"]
    assert {record["id"] for record in first} | set(second) == {*"abcde"}


def test_a_read_that_begins_on_nothing_reads_nothing_until_the_next(warehouse: Warehouse) -> None:
    """How far it goes is fixed when it begins."""
    warehouse.script("CREATE TABLE t (id TEXT PRIMARY KEY, moved INTEGER)")
    assert ids_of(read_since(warehouse, None)) == []


@pytest.mark.parametrize("collation", ["C", "en-x-icu", "de-x-icu"])
def test_text_is_ordered_and_compared_by_one_collation(cluster: Any, collation: str) -> None:  # noqa: ANN401  (a Cluster)
    """Of the column, in the database: Python's order is another one."""
    with closing(PostgresWarehouse(cluster)) as warehouse:
        warehouse.script(f'CREATE TABLE t (id TEXT COLLATE "{collation}" PRIMARY KEY)')
        words = [
            "".join(word) for n in (1, 2) for word in itertools.product("aAäzZ-_ 1é", repeat=n)
        ]
        warehouse.script("INSERT INTO t VALUES " + ", ".join(f"('{word}')" for word in words))
        in_order = [word for (word,) in warehouse.query("SELECT id FROM t ORDER BY id")]

        found, _ = read_with_crashes(reader_of(warehouse), batch_size=7)
        assert [row["id"] for row in found] == in_order


def test_citext_and_enumerations_are_compared_as_what_they_are(cluster: Any) -> None:  # noqa: ANN401  (whatever is passed on)
    """Bound as text they would be compared as text: in another order, or not at all."""
    with closing(PostgresWarehouse(cluster)) as warehouse:
        warehouse.script("CREATE TYPE size AS ENUM ('small', 'large', 'huge')")
        warehouse.script("CREATE TABLE t (s size, c char(3), PRIMARY KEY (s, c))")
        warehouse.script(
            "INSERT INTO t SELECT s, c FROM unnest(enum_range(NULL::size)) s,"
            " unnest('{b,B,a,A,ab}'::text[]) c"
        )
        expected = warehouse.query("SELECT s, c FROM t ORDER BY s, c")

        found, _ = read_with_crashes(reader_of(warehouse, key=["s", "c"]), batch_size=1)

        assert [tuple(row.values()) for row in found] == expected
