"""
What a database does to its readers: it dies, locks, refuses, takes too long; each has its error.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import Busy, DataError, DefinitionError, Fatal, Unreachable
from statepipe.io.sql.limits import SqlLimits
from statepipe.io.sql.source import read_sql
from statepipe.observe import redact
from statepipe.sqlite import sqlite3
from tests.crash.processes import until
from tests.io.postgres.server import PASSWORD, Cluster
from tests.io.postgres.warehouse import PostgresWarehouse
from tests.io.reading import task
from tests.io.sql.reading import ids_of, reader_of, rows_of, started
from tests.io.sqlite_warehouse import SqliteWarehouse
from tests.io.warehouse import Warehouse

SESSIONS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.fixture
def server(cluster: Cluster) -> Iterator[PostgresWarehouse]:
    """Return a schema with a table of twenty rows."""
    with closing(PostgresWarehouse(cluster)) as warehouse:
        warehouse.script("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        warehouse.script("INSERT INTO t SELECT generate_series(0, 19)")
        yield warehouse


def read(url: str, **asked: Any) -> list[Any]:  # noqa: ANN401  (of read_sql)
    """Return the ids of a table `t`."""
    return ids_of(read_sql(task(), url, **{"table": "t", "key": "id", **asked}))


@pytest.mark.parametrize("snapshot_ms", [1, 60_000])
def test_a_backend_that_is_killed_costs_the_attempt_and_no_row(
    server: PostgresWarehouse, snapshot_ms: int
) -> None:
    """In a transaction and between two; the next attempt goes on behind the last batch."""
    asked: dict[str, Any] = {"limits": SqlLimits(snapshot_ms=snapshot_ms)}
    reading = started(server, **asked)
    first = next(reading)
    server.owner.execute(f"SELECT pg_terminate_backend(pid, 10000) {SESSIONS}")

    with pytest.raises(Unreachable, match=r"connection to postgresql:.* was lost"):
        next(reading)

    rest = reader_of(server, **asked)(task(cursor=first.cursor))
    assert ids_of(iter([first])) + ids_of(rest) == list(range(20))


def test_a_server_that_stops_is_unreachable_until_it_is_back(server: PostgresWarehouse) -> None:
    """No password was wrong: it is worth another attempt."""
    server.cluster.stop("immediate")
    try:
        with pytest.raises(Unreachable, match="cannot be reached"):
            rows_of(server)
    finally:
        server.cluster.start()

    assert len(rows_of(server)) == 20


def test_a_lock_of_somebody_else_is_waited_for_so_long(warehouse: Warehouse) -> None:
    """Then it is busy, which policies try again."""
    warehouse.script("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
    exclusive = SqlLimits(lock_ms=50)
    if warehouse.kind == "sqlite":
        lock = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; SELECT * FROM t;"
        assert isinstance(warehouse, SqliteWarehouse)
        with closing(exclusively(warehouse.path, lock)), pytest.raises(Busy, match="locked"):
            rows_of(warehouse, limits=exclusive)
    else:
        with warehouse.locked(), pytest.raises(Busy, match="lock timeout"):
            rows_of(warehouse, limits=exclusive)

    assert rows_of(warehouse, limits=exclusive) == [{"id": 1}]


def exclusively(path: Path, sql: str) -> Any:  # noqa: ANN401  (a connection)
    """Return a connection that nobody reads beside."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in sql.split(";"):
        connection.execute(statement)
    return connection


def test_whoever_reads_sqlite_locks_nobody_out_between_batches(tmp_path: Path) -> None:
    """Also while a file with a rollback journal is read, and the batch is being committed."""
    warehouse = SqliteWarehouse(tmp_path / "w.db")
    warehouse.script("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    warehouse.script("INSERT INTO t VALUES (1), (2), (3), (4)")
    reading = started(warehouse)
    next(reading)

    with closing(exclusively(warehouse.path, "BEGIN EXCLUSIVE;INSERT INTO t VALUES (9);COMMIT")):
        assert ids_of(reading) == [3, 4, 9]


def test_a_statement_that_takes_too_long_is_ended(server: PostgresWarehouse) -> None:
    """By the server; a policy may try again, and the message names the limit."""
    query = "SELECT id, pg_sleep(5) FROM t"

    with pytest.raises(TimeoutError, match=r"statement timeout; SqlLimits\(statement_ms"):
        rows_of(server, query=query, limits=SqlLimits(statement_ms=50))


def test_nothing_can_be_written(server: PostgresWarehouse) -> None:
    """The transaction is read only, whatever a query calls."""
    server.script(
        "CREATE FUNCTION more() RETURNS integer LANGUAGE sql AS"
        " 'INSERT INTO t VALUES (99) RETURNING id'"
    )

    with pytest.raises(Fatal, match="read-only transaction"):
        rows_of(server, query="SELECT more() AS id")

    assert server.query("SELECT count(*) FROM t") == [(20,)]


def test_no_transaction_is_left_behind(server: PostgresWarehouse) -> None:
    """A reader that is given up lets go of its session at once."""
    reading = started(server)
    next(reading)
    assert server.query(f"SELECT state {SESSIONS}") == [("idle in transaction",)]

    reading.close()  # type: ignore[attr-defined]  # a generator

    until(lambda: server.query(f"SELECT count(*) {SESSIONS}") == [(0,)], "the session to end")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "a-wrong-word"}, "refuses us: .*password authentication failed"),
        ({"user": "stranger"}, "refuses us: .*authentication failed"),
        ({"dbname": "nowhere"}, 'refuses us: .*database "nowhere" does not exist'),
    ],
)
def test_wrong_credentials_are_fatal_and_in_no_word(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], said: str
) -> None:
    """No retry mends them; the message calls the address by its reference."""
    asked = {"password": PASSWORD, "user": "loader", "dbname": "postgres", **change}
    monkeypatch.setenv("SOURCE_PASSWORD", asked["password"])
    url = (
        f"postgresql://{asked['user']}@127.0.0.1:{cluster.port}/{asked['dbname']}"
        "?password=env:SOURCE_PASSWORD"
    )

    with pytest.raises(Fatal, match=said) as refusal:
        read(url)

    assert asked["password"] not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None
    assert redact.redacted(f"x{asked['password']}x") == f"x{redact.MASK}x"


@pytest.mark.parametrize("form", ["query", "login", "whole"])
def test_a_password_is_a_reference(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """At the end of the address, in its login, or of all of it."""
    with closing(PostgresWarehouse(cluster)) as warehouse:
        warehouse.script("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1)")
        monkeypatch.setenv("SOURCE_PASSWORD", PASSWORD)
        monkeypatch.setenv("SOURCE", warehouse.url())
        rest = f"127.0.0.1:{cluster.port}/postgres?options=-csearch_path%3D{warehouse.schema}"
        url = {
            "query": f"postgresql://loader@{rest}&password=env:SOURCE_PASSWORD",
            "login": f"postgresql://loader:env:SOURCE_PASSWORD@{rest}",
            "whole": "env:SOURCE",
        }[form]

        assert read(url) == [1]
        with pytest.raises(Fatal) as refusal:
            read(url, table="nothing")

    assert ("env:SOURCE cannot be read" if form == "whole" else rest[:15]) in str(refusal.value)
    assert PASSWORD not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:s3cret-word@h/d", "the url has a password in it: write"),
        ("postgresql://u@h/d?password=s3cret-word", "the url has a password in it: write"),
        ("postgresql://u@h/d?password=env:UNSET_S3", "environment variable UNSET_S3 is unset"),
        ("env:UNSET_S3", "environment variable UNSET_S3 is unset"),
        ("s3cret-word", "the url is no address of a database"),
        ("postgresql://u@h:port/d", "the url is no address of a database"),
        ("cobol://u@h/d", "SQLAlchemy knows no database 'cobol'"),
        ("sqlite://", "the url names no file"),
        ("sqlite:///:memory:", "the url names no file"),
        ("sqlite:////nowhere/w.db", "there is no such file"),
    ],
)
def test_an_address_that_is_none_is_fatal(url: str, said: str) -> None:
    """Whatever secret is in it is not repeated, and no file is made."""
    with pytest.raises(Fatal, match=said) as refusal:
        read(url)

    assert "s3cret" not in str(refusal.value)


def test_a_relative_file_that_is_not_there_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another folder of the project it is another file."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(Fatal) as refusal:
        read("sqlite:///w.db")
    with pytest.raises(Fatal) as whole:
        read(f"sqlite:///{tmp_path}/w.db")

    assert f"no such file; it is relative to {tmp_path}, where" in str(refusal.value)
    assert str(whole.value).endswith("there is no such file")


def test_what_speaks_to_a_database_may_be_missing() -> None:
    """The message says what to install; a package may be called otherwise than its module."""
    with pytest.raises(DataError, match="needs MySQLdb") as refusal:
        read("mysql://u@h/d")

    assert refusal.value.next_step.startswith("install the package that has MySQLdb;")
    assert "docs.sqlalchemy.org" in refusal.value.next_step


def test_a_file_that_is_no_database_is_fatal(tmp_path: Path) -> None:
    """And stays what it is; so does one that may not be read."""
    (tmp_path / "w.db").write_bytes(b"no database" * 100)
    (tmp_path / "empty.db").touch()

    with pytest.raises(Fatal, match="file is not a database"):
        read(f"sqlite:///{tmp_path}/w.db")
    with pytest.raises(Fatal, match="no such table: t"):
        read(f"sqlite:///{tmp_path}/empty.db")

    assert (tmp_path / "w.db").read_bytes() == b"no database" * 100
    assert (tmp_path / "empty.db").stat().st_size == 0


@pytest.mark.parametrize("name", ["statement_ms", "lock_ms", "snapshot_ms"])
def test_limits_below_one_are_refused(name: str) -> None:
    """None of them means no limit."""
    with pytest.raises(DefinitionError, match=f"{name} is 0, below 1"):
        SqlLimits(**{name: 0})
