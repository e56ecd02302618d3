"""
A connection to the file of a SQLite destination, and what SQLite does to a value.

    open_connection   as durable as the checkpoint
    code_of           SQLite's own code of an error
    refuse_store      no checkpoint store is a warehouse
    refusal           an error of SQLite's as an error of ours
    Scratch           asks SQLite itself what comes back when a column is given a value

A destination must be as durable as the checkpoint. A file keeps the journal mode it
has: in WAL `synchronous=FULL` is enough; a rollback journal needs EXTRA, because its
COMMIT is the unlink of a file, which FULL does not make durable. A new file gets a
rollback journal, which the WAL-reset bug (F11) cannot touch.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from statepipe.errors import Busy, DataError, StatepipeError
from statepipe.io.fitting import TOO_MANY_COLUMNS
from statepipe.io.table import Column
from statepipe.io.values import SqlValue
from statepipe.sqlite import APPLICATION_ID, WAL_RESET_FIXED, sqlite3

#: SQLite's primary result codes; not every SQLite library for Python names them.
BUSY: Final = 5
LOCKED: Final = 6
FULL: Final = 13

_NOTHING: Final = "nothing of this batch was loaded"

Connect = Callable[[Path, int], sqlite3.Connection]


def open_connection(path: Path, busy_ms: int) -> sqlite3.Connection:
    """Open `path`, made if it is not there, as durable as its journal mode allows."""
    connection = sqlite3.connect(path, timeout=busy_ms / 1_000, isolation_level=None)
    try:
        (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
        _set(connection, "synchronous", 2 if journal == "wal" else 3)
        _set(connection, "foreign_keys", 1)
        connection.execute("PRAGMA mmap_size = 0")
        if journal == "wal" and not WAL_RESET_FIXED:
            # F11 needs a checkpoint that meets a commit. The last close checkpoints alone.
            _set(connection, "wal_autocheckpoint", 0)
    except BaseException:
        connection.close()
        raise
    return connection


def _set(connection: sqlite3.Connection, pragma: str, value: int) -> None:
    connection.execute(f"PRAGMA {pragma} = {value}")
    if connection.execute(f"PRAGMA {pragma}").fetchone() != (value,):
        raise sqlite3.OperationalError(f"this SQLite does not take PRAGMA {pragma} = {value}")


def refuse_store(connection: sqlite3.Connection, path: Path) -> None:
    """
    Refuse to load into a checkpoint store, this one or another.

    Raises:
        DataError: The file is one.
    """
    if connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,):
        raise DataError(
            f"cannot load into {path}: it is a checkpoint store of statepipe",
            meaning=_NOTHING,
            next_step="name another file in the machine's `to`",
        )


def code_of(error: sqlite3.Error) -> int | None:
    """Return SQLite's primary result code, or None if the error is the driver's own."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def refusal(error: sqlite3.Error, *, path: Path, busy_ms: int) -> StatepipeError:
    """Return what a failing statement means; nothing of the batch is there."""
    if code_of(error) in {BUSY, LOCKED}:
        return Busy(
            f"{path} was locked by somebody else for {busy_ms} ms",
            meaning=_NOTHING,
            next_step="end the other connection's transaction, then resume",
        )
    said, next_step = str(error), "see to the file, then resume"
    if code_of(error) == FULL:
        said, next_step = "its disk is full", "free some space, then resume"
    elif said.startswith("too many columns"):
        next_step = TOO_MANY_COLUMNS
    return DataError(f"cannot load into {path}: {said}", meaning=_NOTHING, next_step=next_step)


class Scratch:
    """A database in memory with a table for each kind of column."""

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None

    def ask(self, column: Column, value: SqlValue) -> SqlValue:
        """
        Return what comes back when a column like this one is given `value`.

        Raises:
            ValueError: If it is refused.
        """
        if self._connection is None:
            self._connection = sqlite3.connect(":memory:", isolation_level=None)
        execute = self._connection.execute
        name = f"{column.kind.value}_{column.strict}"
        mode = "STRICT" if column.strict else ""
        execute(f"CREATE TABLE IF NOT EXISTS {name} (value {column.kind.value}) {mode}")
        try:
            execute(f"INSERT INTO {name} VALUES (?)", (value,))  # noqa: S608  (an affinity and a flag)
        except sqlite3.IntegrityError as error:
            raise ValueError(str(error)) from None
        stored: tuple[SqlValue] = execute(f"SELECT value FROM {name}").fetchone()  # noqa: S608  (made of constants)
        execute(f"DELETE FROM {name}")  # noqa: S608  (an affinity and a flag)
        return stored[0]

    def close(self) -> None:
        """Let go of it; the next question makes another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
