"""
A warehouse for tests: batches, a file of real SQLite, and connections that fail on purpose.

    batch, destination    what the engine would ask, and whom
    Faulty                dies or fails at the n-th statement
    query, script         the file as another process sees it, or as its owner changes it
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from statepipe.io.destinations import LoadBatch
from statepipe.io.rows import Records, Value
from statepipe.io.sqlite import Connect, SqliteDestination, open_connection
from statepipe.sqlite import sqlite3

ROWS = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3, "name": "c"}]


class Crash(BaseException):
    """The process dies here; nothing after it runs."""


class Faulty:
    """Opens the file through connections that share one count of statements."""

    def __init__(self, *, at: int = -1, after: bool = False, error: BaseException) -> None:
        self.at = at
        self.after = after
        self.error = error
        self.statements: list[str] = []
        self.opened: list[sqlite3.Connection] = []

    def __call__(self, path: Path, busy_ms: int) -> sqlite3.Connection:
        """Open `path` for the destination."""
        real = open_connection(path, busy_ms)
        self.opened.append(real)
        return cast("sqlite3.Connection", _FaultyConnection(real, self))

    def run(self, sql: str, call: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        """Do one statement, or fail instead of it or right after it."""
        number = len(self.statements)
        self.statements.append(sql)
        if number == self.at and not self.after:
            raise self.error
        try:
            result = call()
        except sqlite3.Error:
            # A statement that fails by itself is a place to die after, like any other.
            if number == self.at:
                raise self.error from None
            raise
        if number == self.at:
            result.close()  # or the traceback would keep its lock
            raise self.error
        return result

    def die(self) -> None:
        """Close what the dead process had open, as the kernel does: uncommitted work is gone."""
        for connection in self.opened:
            connection.close()


class _FaultyConnection:
    def __init__(self, real: sqlite3.Connection, faulty: Faulty) -> None:
        self._real = real
        self._faulty = faulty

    def __getattr__(self, name: str) -> Value:
        return getattr(self._real, name)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._faulty.run(sql, lambda: self._real.execute(sql, parameters))

    def executemany(self, sql: str, rows: Sequence[Any]) -> sqlite3.Cursor:
        return self._faulty.run(sql, lambda: self._real.executemany(sql, rows))


def batch(records: Records = None, **identity: Value) -> LoadBatch:
    """Return a batch with a full identity, changed where `identity` says so."""
    facts: dict[str, Any] = {
        "store_id": "store-1",
        "instance": "i-1",
        "generation": 1,
        "state": "loading",
        "visit": 1,
        "number": 0,
        "epoch": 1,
        "digest": b"d" * 32,
        "records": ROWS if records is None else records,
    }
    return LoadBatch(**facts | identity)


def destination(
    path: Path, *, key: tuple[str, ...] = (), connect: Connect | None = None
) -> SqliteDestination:
    """Return a destination that does not wait long for anybody."""
    return SqliteDestination(path, table="t", key=key, busy_ms=50, connect=connect)


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
