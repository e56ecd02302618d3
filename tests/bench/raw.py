"""
The yardstick: what SQLite itself does with the same facts, and the disk below it.

    RawStore    one fenced UPDATE and one journal INSERT a transition, nothing else
    fsync_ms    one small append made durable

No fence is looked at, no constraint checked, no counter kept, no attempt made.
"""

import os
import statistics
import time
from pathlib import Path

from statepipe.sqlite import sqlite3

_SCHEMA = (
    "PRAGMA journal_mode = wal",
    "PRAGMA synchronous = full",
    """
CREATE TABLE instance (n INTEGER PRIMARY KEY, id TEXT, definition INTEGER, params BLOB,
 created_at_ms INTEGER, epoch INTEGER, seq INTEGER, generation INTEGER, status TEXT,
 state TEXT, attempt INTEGER, lost INTEGER, batches INTEGER, worker INTEGER,
 entered_at_ms INTEGER, updated_at_ms INTEGER, change TEXT)""",
    """
CREATE TABLE journal (n INTEGER PRIMARY KEY, instance INTEGER, seq INTEGER, epoch INTEGER,
 generation INTEGER, at_ms INTEGER, kind TEXT, event TEXT, source TEXT, target TEXT,
 task TEXT, attempt INTEGER, took_ms INTEGER, policy TEXT)""",
    "CREATE UNIQUE INDEX journal_instance_seq ON journal (instance, seq)",
)
_INSTANCE = (
    "INSERT INTO instance VALUES (?, ?, 1, x'80', 1700000000000, 1, 1, 1, 'ready', 's0', 0, 0, 0,"
    " 1, 1700000000000, 1700000000000, 'claim')"
)
_MOVE = (
    "UPDATE instance SET seq = ?3 + 1, state = ?4, entered_at_ms = ?5, updated_at_ms = ?5,"
    " change = 'move' WHERE n = ?1 AND epoch = ?2 AND seq = ?3"
)
_JOURNAL = (
    "INSERT INTO journal VALUES (NULL, ?1, ?3 + 1, ?2, 1, ?5, 'move', 'ok', 's0', ?4, 's0', 1, 0,"
    " '0123456789abcdef')"
)


class RawStore:
    """A new database in `folder`, with `instances` rows that move together."""

    def __init__(self, folder: Path, *, instances: int) -> None:
        folder.mkdir()
        self._connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
        for statement in _SCHEMA:
            self._connection.execute(statement)
        self._connection.execute("BEGIN")
        rows = [(n, f"raw-{n}") for n in range(instances)]
        self._connection.executemany(_INSTANCE, rows)
        self._connection.execute("COMMIT")
        self._instances = instances
        self._seq = 1

    def commit(self) -> None:
        """Move every instance once, in one durable transaction."""
        now_ms = time.time_ns() // 1_000_000
        moves = [(n, 1, self._seq, "s1", now_ms) for n in range(self._instances)]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(_MOVE, moves)
        self._connection.executemany(_JOURNAL, moves)
        self._connection.execute("COMMIT")
        self._seq += 1

    def timed(self, commits: int) -> list[float]:
        """Commit so many times; return how long each took, in seconds."""
        took = []
        for _ in range(commits):
            began = time.perf_counter()
            self.commit()
            took.append(time.perf_counter() - began)
        return took

    def close(self) -> None:
        """Close the database."""
        self._connection.close()


def fsync_ms(folder: Path, *, times: int = 200) -> float:
    """Return the median of appending 4 KiB and waiting for the disk, in milliseconds."""
    descriptor = os.open(folder / "fsync", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    took = []
    for _ in range(times):
        began = time.perf_counter()
        os.write(descriptor, bytes(4096))
        os.fdatasync(descriptor)
        took.append(time.perf_counter() - began)
    os.close(descriptor)
    return statistics.median(took) * 1000
