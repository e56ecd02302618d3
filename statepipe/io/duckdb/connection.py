"""
A connection to the file of a DuckDB destination, and what DuckDB's errors mean for a load.

    opened            the file, as a database that is kept in it
    open_connection   waits, within bounds, for another process to let go of the file
    sync_folder       makes the entries of a new write-ahead log durable, which DuckDB does not
    turn              one batch at a time, among the threads of this process
    refusal           an error of DuckDB's as an error of ours

DuckDB writes its log through to the disk before COMMIT returns (fdatasync of FILE.wal, and of
FILE where large batches go straight into it), whatever its settings are. It does not sync the
folder that a new log is made in, so that is done here.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import duckdb

from statepipe.errors import Busy, DataError, StatepipeError
from statepipe.io.dbfile import identity

#: How often a file that another process has open is tried again, in milliseconds.
POLL_MS: Final = 20

_NOTHING: Final = "nothing of this batch was loaded"

Connect = Callable[[Path, int], duckdb.DuckDBPyConnection]

_IN_MEMORY: Final = """
SELECT 1
  FROM duckdb_databases()
 WHERE database_name = current_database() AND path IS NULL
"""

#: What a database of DuckDB's has behind the checksum of its first block.
_MAGIC: Final = (8, b"DUCK")

#: Where this process finds what it has open itself; Linux and macOS have it.
_OPEN_HERE: Final = Path("/dev/fd")

_opening: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
_turns: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)


def opened(connect: Connect, path: Path, busy_ms: int) -> duckdb.DuckDBPyConnection:
    """
    Open `path` by `connect`, as a database that is kept in it.

    DuckDB opens a file of CSV, JSON or Parquet as views of a database in memory, in which a
    load would be lost, and fetches an extension for one of SQLite's.

    Raises:
        DataError: If what is there is no file of DuckDB's.
    """
    # No thread of ours may open the file while it is looked at: see _is_other.
    with _opening[path.resolve()]:
        if _is_other(path):
            raise _no_duckdb(path)
        connection = connect(path, busy_ms)
    if connection.execute(_IN_MEMORY).fetchone() is not None:
        connection.close()
        raise _no_duckdb(path)
    return connection


def open_connection(path: Path, busy_ms: int) -> duckdb.DuckDBPyConnection:
    """Open `path`, made if it is not there; wait `busy_ms` at most for another process."""
    pause = threading.Event()
    for _ in range(max(1, busy_ms // POLL_MS)):
        try:
            return duckdb.connect(path)
        except duckdb.IOException as error:
            if not is_locked(error):
                raise
        pause.wait(POLL_MS / 1_000)
    return duckdb.connect(path)


def sync_folder(path: Path) -> None:
    """Make the entries beside the file `path` durable."""
    at = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(at)
    finally:
        os.close(at)


@contextmanager
def turn(path: Path, *, busy_ms: int) -> Iterator[None]:
    """
    Hold the file against the other threads of this process.

    They share one database, in which the later of two transactions on one row fails at
    once instead of waiting.

    Raises:
        Busy: If another thread held it for too long.
    """
    lock = _turns[path.resolve()]
    if not lock.acquire(timeout=busy_ms / 1_000):
        raise Busy(
            f"{path} was loaded by another thread for {busy_ms} ms",
            meaning=_NOTHING,
            next_step="resume when the other instance has loaded",
        )
    try:
        yield
    finally:
        lock.release()


def is_locked(error: duckdb.Error) -> bool:
    """Return True if another process has the file open."""
    return isinstance(error, duckdb.IOException) and "set lock on file" in str(error)


def refusal(error: duckdb.Error, *, path: Path, busy_ms: int) -> StatepipeError:
    """Return what a failing statement means; nothing of the batch is there."""
    said = " ".join(str(error).split())
    if is_locked(error):
        return Busy(
            f"{path} was open in another process for {busy_ms} ms: {said}",
            meaning=_NOTHING,
            next_step="end the other process, or let it close the file: DuckDB lets one in at"
            " a time, readers included; then resume",
        )
    if isinstance(error, duckdb.TransactionException):
        return Busy(
            f"another connection of this process changed {path} at the same time: {said}",
            meaning=_NOTHING,
            next_step="resume when the other one is done",
        )
    next_step = "see to the file, then resume"
    if "WAL checkpoint iteration" in said:
        # The unlink of a log was undone by a power cut; what it holds is in the file.
        next_step = f"move {path}.wal away: the file has what it holds; then resume"
    elif "No space left" in said or "disk" in said.lower():
        next_step = "free some space, then resume"
    elif isinstance(error, duckdb.ConnectionException):
        next_step = "open the file with the default settings in your own code, then resume"
    return DataError(f"cannot load into {path}: {said}", meaning=_NOTHING, next_step=next_step)


def _no_duckdb(path: Path) -> DataError:
    return DataError(
        f"cannot load into {path}: it is no DuckDB file",
        meaning=_NOTHING,
        next_step="name another file in the machine's `to`, or move this one away; then resume",
    )


def _is_other(path: Path) -> bool:
    """
    Return True if there is a file that is surely none of DuckDB's.

    Whoever closes a file gives up every lock that its process has on it (POSIX), DuckDB's too.
    So one that is open here already is not looked at; `opened` asks the connection.
    """
    at, magic = _MAGIC
    which = identity(path)
    with suppress(OSError):  # what cannot be read, DuckDB says
        if which is not None and which not in map(identity, _OPEN_HERE.iterdir()):
            with path.open("rb") as file:
                return file.read(at + len(magic))[at:] != magic
    return False
