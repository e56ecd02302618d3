"""
The write-ahead log beside the store: when it is moved into the main file, and how.

Only the committer does it, between groups (F11 of docs/reliability.md). While work goes on
the file is kept and written from the start again, because a commit that extends a file
costs more than one that overwrites it: a lone instance was 1.4 times as fast
(docs/decisions/0015). It is emptied when nothing is driven, and at close.
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Final

from statepipe.clock import Clock
from statepipe.sqlite import sqlite3
from statepipe.store.file.walguard import WalGuard

#: What may lie in the WAL before it is moved.
WAL_BYTES_MAX: Final = 4 * 1024 * 1024
#: How large its file may become before it is emptied although work goes on.
WAL_FILE_BYTES_MAX: Final = 64 * 1024 * 1024

_PATIENCE_MS: Final = 100
_RETRY_MS: Final = 1_000


class Wal:
    """
    The WAL of one open store, for the thread that owns its connection.

    Args:
        store: Path of the store.
        connection: Its writing connection.
        guard: The lock against the WAL-reset bug, None if this SQLite has it not.
        clock: Time.
    """

    def __init__(
        self, store: Path, connection: sqlite3.Connection, *, guard: WalGuard | None, clock: Clock
    ) -> None:
        self._path = store.with_name(store.name + "-wal")
        self._connection = connection
        self._guard = guard
        self._clock = clock
        self._restarted_at_bytes = 0
        self._not_before_ms = 0

    def checkpoint(self, *, above_bytes: int, busy_ms: int) -> bool:
        """
        Move the WAL into the main file, if it has outgrown `above_bytes`; 0 empties it.

        Returns False if it was small, or somebody reads or commits right now: a later
        call tries again. `busy_ms` is the connection's usual patience, and is put back.

        Raises:
            sqlite3.Error: As SQLite says; a failed checkpoint loses nothing.
        """
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return False
        # After a restart the file keeps its size: it has outgrown the limit again
        # when it is larger than it was then.
        empties = above_bytes == 0 or size > WAL_FILE_BYTES_MAX
        if size <= (above_bytes if empties else max(above_bytes, self._restarted_at_bytes)):
            return False
        # A reader that holds its snapshot would cost every commit our patience.
        now_ms = self._clock.boot_ms()
        if now_ms < self._not_before_ms:
            return False
        with self._guard.exclusive() if self._guard else nullcontext(enter_result=True) as alone:
            if not alone:
                return False
            done = self._run("TRUNCATE" if empties else "RESTART", busy_ms=busy_ms)
        if done:
            self._restarted_at_bytes = 0 if empties else size
        else:
            self._not_before_ms = now_ms + _RETRY_MS
        return done

    def _run(self, mode: str, *, busy_ms: int) -> bool:
        # The pragma answers busy=1 and has then done less than asked, without an
        # error (F12); only the row tells.
        self._connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS:d}")
        try:
            sql = f"PRAGMA wal_checkpoint({mode})"
            busy, _, _ = self._connection.execute(sql).fetchone()
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {busy_ms:d}")
        return not busy
