"""
A warehouse in a file of real SQLite.

    SqliteWarehouse                 what all warehouses can be asked
    destination, query, script      the same for one file, for what only SQLite does
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from statepipe.io.declared import Declared
from statepipe.io.rows import Value
from statepipe.io.sqlite.connection import Connect, open_connection
from statepipe.io.sqlite.destination import SqliteDestination
from statepipe.io.values import adapt
from statepipe.sqlite import sqlite3
from tests.io.warehouse import Faults


class SqliteWarehouse:
    """A file that is not there yet."""

    kind = "sqlite"
    upserts = True
    stride = 1

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made: list[SqliteDestination] = []

    def destination(
        self,
        *,
        table: str = "t",
        key: tuple[str, ...] = (),
        replace: bool = False,
        declared: Declared | None = None,
        faults: Faults | None = None,
    ) -> SqliteDestination:
        """Return a destination that does not wait long for anybody."""
        connect = faulty(faults) if faults else None
        self._made.append(
            SqliteDestination(
                self.path,
                table=table,
                key=key,
                replace=replace,
                declared=declared,
                busy_ms=50,
                connect=connect,
            )
        )
        return self._made[-1]

    def query(self, sql: str) -> list[Any]:
        """Return what another process reads."""
        return query(self.path, sql)

    def script(self, sql: str) -> None:
        """Run statements as the owner of the file would."""
        script(self.path, sql)

    def clear(self) -> None:
        """Drop the table and the ledger."""
        for table in ("t", "_statepipe_epoch", "_statepipe_ledger"):
            self.script(f"DROP TABLE IF EXISTS {table}")

    def tables(self) -> set[str]:
        """Return the names of all tables."""
        return {name for (name,) in query(self.path, "SELECT name FROM sqlite_master")}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the file."""
        holder = sqlite3.connect(self.path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")
        holder.close()

    def failure(self) -> Exception:
        """Return an I/O error."""
        error: Exception = sqlite3.OperationalError("disk I/O error")
        return error

    lost = failure

    def refusing_triggers(self) -> str:
        """Return one trigger that aborts and one that ignores."""
        return """
        CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.name = 'no'
        BEGIN SELECT RAISE(ABORT, 'said no'); END;
        CREATE TRIGGER hush BEFORE INSERT ON t WHEN NEW.name = 'hush'
        BEGIN SELECT RAISE(IGNORE); END;
        """

    def is_same(self, stored: Value, value: Value) -> bool:
        """Return True if it is what `adapt` says, type for type."""
        expected = adapt(value)
        return type(stored) is type(expected) and bool(stored == expected)

    def close(self) -> None:
        """Close the destinations."""
        for made in self._made:
            made.close()


def faulty(faults: Faults) -> Connect:
    """Return what opens connections that fail as `faults` says."""

    def connect(path: Path, busy_ms: int) -> sqlite3.Connection:
        real = open_connection(path, busy_ms)
        faults.opened.append(real)
        return cast("sqlite3.Connection", _FaultyConnection(real, faults))

    return connect


class _FaultyConnection:
    def __init__(self, real: sqlite3.Connection, faults: Faults) -> None:
        self._real = real
        self._faults = faults

    def __getattr__(self, name: str) -> Value:
        return getattr(self._real, name)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._faults.run(sql, lambda: self._real.execute(sql, parameters))

    def executemany(self, sql: str, rows: Sequence[Any]) -> sqlite3.Cursor:
        return self._faults.run(sql, lambda: self._real.executemany(sql, rows))


def destination(
    path: Path,
    *,
    table: str = "t",
    key: tuple[str, ...] = (),
    replace: bool = False,
    connect: Connect | None = None,
) -> SqliteDestination:
    """Return a destination that does not wait long for anybody."""
    return SqliteDestination(
        path, table=table, key=key, replace=replace, busy_ms=50, connect=connect
    )


def query(path: Path, sql: str) -> list[Any]:
    """Return what a new process would read."""
    connection = sqlite3.connect(path)
    try:
        return list(connection.execute(sql).fetchall())
    finally:
        connection.close()


def script(path: Path, sql: str) -> None:
    """Run `sql` as the owner of the file would."""
    connection = sqlite3.connect(path)
    try:
        connection.executescript(sql)
    finally:
        connection.close()
