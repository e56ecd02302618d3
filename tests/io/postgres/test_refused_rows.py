"""
Rows that the constraints of a table refuse: found in few statements, and none is lost with them.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from statepipe.io.postgres import writer
from tests.io.postgres.server import Cluster
from tests.io.postgres.warehouse import PostgresWarehouse
from tests.io.warehouse import Faults, batch, rejects_of


@pytest.fixture
def warehouse(cluster: Cluster) -> Iterator[PostgresWarehouse]:
    """Return an empty schema."""
    made = PostgresWarehouse(cluster)
    yield made
    made.close()


def watched() -> Faults:
    """Return what notes statements, and lets them be."""
    return Faults(error=psycopg.OperationalError("never"))


@pytest.mark.parametrize("key", [(), ("id",)], ids=["append", "upsert"])
def test_rows_without_what_they_must_have_are_refused_without_a_try(
    warehouse: PostgresWarehouse, key: tuple[str, ...]
) -> None:
    """Absent or null: the catalog says it of all of them, so the server is not asked row by row."""
    warehouse.script("CREATE TABLE t (id int PRIMARY KEY, must text NOT NULL)")
    faults = watched()
    target = warehouse.destination(key=key, faults=faults)

    answer = target.load(
        batch([{"id": 1}, {"id": 2, "must": None}, {"id": 3, "must": "x"}, {"id": 4}])
    )

    assert [(at, rule, path) for at, rule, path in rejects_of(answer)] == [
        (0, "notnull", "/must"),
        (1, "notnull", "/must"),
        (3, "notnull", "/must"),
    ]
    assert not [sql for sql in faults.statements if sql.startswith("ROLLBACK TO")]
    assert warehouse.query("SELECT id FROM t") == [(3,)]


_FILLED = {
    "a default": "ALTER TABLE t ALTER must SET DEFAULT 'd'",
    "a domain's default": "CREATE DOMAIN d AS text DEFAULT 'd'; ALTER TABLE t ALTER must TYPE d",
    "a trigger": """
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN NEW.must := coalesce(NEW.must, 'd'); RETURN NEW; END $$;
        CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()
    """,
    "nothing": "ALTER TABLE t ALTER must DROP NOT NULL",
}


@pytest.mark.parametrize("key", [(), ("id",)], ids=["append", "upsert"])
@pytest.mark.parametrize("by", _FILLED)
def test_what_the_server_fills_in_is_not_missing(
    warehouse: PostgresWarehouse, by: str, key: tuple[str, ...]
) -> None:
    """Only where nothing could give a value is a row refused before the server sees it."""
    warehouse.script(f"CREATE TABLE t (id int PRIMARY KEY, must text NOT NULL); {_FILLED[by]}")

    answer = warehouse.destination(key=key).load(batch([{"id": 1}, {"id": 2, "must": "x"}]))

    assert answer.rejects == []
    expected = None if by == "nothing" else "d"
    assert warehouse.query("SELECT must FROM t ORDER BY id") == [(expected,), ("x",)]


def test_a_column_that_becomes_not_null_between_batches_is_seen(
    warehouse: PostgresWarehouse,
) -> None:
    """What was learned of the table is asked again under its lock."""
    warehouse.script("CREATE TABLE t (id int PRIMARY KEY, must text)")
    target = warehouse.destination(key=("id",))
    assert target.load(batch([{"id": 1, "must": "x"}])).rejects == []
    warehouse.script("ALTER TABLE t ALTER must SET NOT NULL")

    refused = target.load(batch([{"id": 2}], number=1))
    warehouse.script("ALTER TABLE t ALTER must DROP NOT NULL")
    taken = target.load(batch([{"id": 3}], number=2))

    assert [rule for _, rule, _ in rejects_of(refused)] == ["notnull"]
    assert taken.rejects == []


def test_a_refused_row_does_not_take_the_staging_table_along(
    warehouse: PostgresWarehouse,
) -> None:
    """It was made again for each try, which took longer than all the rest."""
    warehouse.script("CREATE TABLE t (id int PRIMARY KEY, n int CHECK (n < 10))")
    faults = watched()
    target = warehouse.destination(key=("id",), faults=faults)
    target.load(batch([{"id": 1, "n": 0}]))

    answer = target.load(batch([{"id": n, "n": 11} for n in range(32)], number=1))

    assert len(answer.rejects) == 32
    assert len([sql for sql in faults.statements if "CREATE TEMP TABLE" in sql]) == 1
    assert len([sql for sql in faults.statements if "pg_index" in sql and "UNION" in sql]) == 1


@pytest.mark.parametrize("used", [0, 3, 1_000])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_rows_staged_again_and_again_are_each_written_once(
    warehouse: PostgresWarehouse, monkeypatch: pytest.MonkeyPatch, used: int, step: int
) -> None:
    """However the staging table is emptied between the tries, none finds another one's rows."""
    monkeypatch.setattr(writer, "_USED_ROWS_MAX", used)
    warehouse.script(
        "CREATE TABLE t (id int PRIMARY KEY, n int CHECK (n < 10), seen int DEFAULT 0);"
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN NEW.seen := OLD.seen + 1; RETURN NEW; END $$;"
        "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()"
    )
    warehouse.script("INSERT INTO t SELECT n, 0, 0 FROM generate_series(0, 23) n")
    records: list[dict[str, Any]] = [
        {"id": n, "n": 11 if n % (step + 1) == 0 else n % 10} for n in range(24)
    ]

    answer = warehouse.destination(key=("id",)).load(batch([*records, {"id": 30}, *records[:5]]))

    good = [each for each in records if each["n"] < 10]
    again = [each for each in records[:5] if each["n"] < 10]
    assert answer.records == len(good) + 1 + len(again)
    assert dict(warehouse.query("SELECT id, seen FROM t WHERE seen > 0")) == {
        each["id"]: 1 + (each in again) for each in good
    }
    assert dict(warehouse.query("SELECT id, n FROM t WHERE seen > 0")) == {
        each["id"]: each["n"] for each in good
    }
