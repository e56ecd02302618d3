"""
The open store, and the one way to write to it.

    Store.write()           one transaction: all of it lands, none of it, or StoreInDoubt
    Store.moment()          several reads, all of one moment
    Store.checkpoint_wal()  empty the WAL between groups
    translated              what an SQLite error outside COMMIT means

How it is opened is `opening.py`'s.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from statepipe.clock import Clock
from statepipe.errors import (
    Busy,
    StatepipeError,
    StoreFull,
    StoreInDoubt,
    StoreUnusable,
)
from statepipe.sqlite import WAL_RESET_FIXED, sqlite3
from statepipe.store.file.wal import WAL_BYTES_MAX, Wal
from statepipe.store.file.walguard import WalGuard
from statepipe.store.metrics.timings import Timings

BUSY_MS = 30_000

# Connections that must not be closed by the garbage collector either.
_IN_DOUBT: list[sqlite3.Connection] = []


class Store:
    """
    An open store: one writing connection, for one thread at a time.

    Attributes:
        path: The store's file.
        clock: Time.
        connection: For reading; writing goes through `write`.
        store_id: 32 hex digits that name this store at destinations.
        timings: How long its commits took; whoever writes figures hands them over.
        in_doubt: True after a COMMIT that failed; then the process has to end.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, *, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self.connection = connection
        self._guard = None if WAL_RESET_FIXED else WalGuard(path, clock=clock, wait_ms=BUSY_MS)
        self._wal = Wal(path, connection, guard=self._guard, clock=clock)
        self.timings = Timings()
        self.in_doubt = False
        self._seen_version = -1
        opened = path.stat()
        self._identity = (opened.st_dev, opened.st_ino)
        self.store_id: str = connection.execute("SELECT store_id FROM store").fetchone()[0]

    @contextmanager
    def write(self) -> Generator[sqlite3.Connection]:
        """
        Run the block as one transaction.

        The block must do nothing but SQL on the connection it is given: while it
        runs, no other process can write.

        Raises:
            sqlite3.IntegrityError: Nothing was written; a constraint refused it.
            Busy: Nothing was written; another process kept the write lock.
            StoreFull: Nothing was written; the file system is full.
            StoreUnusable: Nothing was written; the file is gone, replaced or damaged.
            StoreInDoubt: COMMIT failed; it may have landed. This store refuses
                everything from now on, and the process has to end.
        """
        self._refuse_if_replaced()
        began_us = self.clock.boot_us()
        with self._guard.shared() if self._guard else nullcontext():
            self._begin()
            locked_us = self.clock.boot_us()
            try:
                yield self.connection
            except sqlite3.IntegrityError:
                self._roll_back()  # a constraint said no: the caller knows which
                raise
            except sqlite3.Error as error:
                self._roll_back()
                raise self._translated(error) from error
            except BaseException:
                self._roll_back()
                raise
            self._commit()
        self.timings.committed(
            us=self.clock.boot_us() - locked_us,
            waited_us=locked_us - began_us,
            at_ms=self.clock.now_ms(),
        )

    def others_wrote(self) -> bool:
        """Return True if another connection has committed since this was last asked."""
        version = self.connection.execute("PRAGMA data_version").fetchone()[0]
        seen, self._seen_version = self._seen_version, version
        return bool(version != seen)

    def checkpoint_wal(self, *, above_bytes: int = WAL_BYTES_MAX) -> bool:
        """
        Move the WAL into the main file, if it has outgrown `above_bytes`; 0 empties it.

        Returns True if that was done; False if the WAL was small, or somebody reads or
        commits right now, in which case a later call tries again.
        """
        with self.translating():
            return self._wal.checkpoint(above_bytes=above_bytes, busy_ms=BUSY_MS)

    @contextmanager
    def translating(self) -> Generator[None]:
        """
        Turn what SQLite says of a failing read inside the block into an error of ours.

        Raises:
            Busy, StoreUnusable: As `write`; nothing was written by the read.
        """
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from error

    @contextmanager
    def moment(self) -> Generator[sqlite3.Connection]:
        """
        Give the connection for as long as one answer is read, all of it at one moment.

        Raises:
            Busy, StoreUnusable: As `translating`.
        """
        with self.translating():
            self.connection.execute("BEGIN")
            try:
                yield self.connection
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")

    def close(self, *, empties_wal: bool = True) -> None:
        """
        Close, and empty the WAL before if nobody else needs it.

        Not if a COMMIT is in doubt: closing lets SQLite checkpoint, whose fsync may
        report a success that the disk never had. The process has to end instead.
        """
        if self.in_doubt:
            _IN_DOUBT.append(self.connection)
            return
        try:
            if empties_wal:
                self.checkpoint_wal(above_bytes=0)
        finally:
            self.connection.close()
            if self._guard:
                self._guard.close()

    def _refuse_if_replaced(self) -> None:
        if self.in_doubt:
            raise StoreInDoubt(
                f"an earlier COMMIT on {self.path} failed and may or may not have landed",
                meaning="no further commit is made by this process",
                next_step="statepipe ls   # in a new process: it reads what is true",
            )
        try:
            now = self.path.stat()
        except FileNotFoundError:
            now = None
        if now is None or (now.st_dev, now.st_ino) != self._identity:
            raise StoreUnusable(
                f"{self.path} was removed or replaced while it was open",
                meaning="nothing more was committed: it would have gone to a file nobody sees",
                next_step="statepipe doctor   # put the right file back, then resume",
            )

    def _begin(self) -> None:
        # IMMEDIATE, not plain BEGIN: a deferred transaction that upgrades gets
        # SQLITE_BUSY_SNAPSHOT at once, whatever the timeout. Proven in
        # tests/store/test_connection.py.
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self._roll_back()
            raise self._translated(error) from error

    def _commit(self) -> None:
        try:
            self.connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if _code(error) == sqlite3.SQLITE_BUSY and self.connection.in_transaction:
                self._roll_back()
                raise self._translated(error) from error
            raise self._doubt(error) from error
        except BaseException as error:
            raise self._doubt(error) from error

    def _roll_back(self) -> None:
        # SQLite ends the transaction by itself on FULL and IOERR (F2): a ROLLBACK
        # is due only if it is still open.
        if self.connection.in_transaction:
            try:
                self.connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise self._doubt(error) from error

    def _doubt(self, error: BaseException) -> StoreInDoubt:
        self.in_doubt = True
        return StoreInDoubt(
            f"COMMIT on {self.path} failed: {error}",
            meaning="it may or may not have landed; both are safe, but this process must end",
            next_step="statepipe ls   # in a new process: it reads what is true; then resume",
        )

    def _translated(self, error: sqlite3.Error) -> StatepipeError:
        return translated(error, path=self.path)


def translated(error: sqlite3.Error, *, path: Path) -> StatepipeError:
    """Return the error of ours that says what an SQLite error, outside COMMIT, means."""
    code = _code(error) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Busy(
            f"{path} stayed locked for {BUSY_MS // 1000} s",
            meaning="nothing was committed; every instance rests where it was",
            next_step="statepipe doctor   # names the process that holds the lock; then retry",
        )
    room = os.statvfs(path.parent)
    # Some file systems say EIO where they mean ENOSPC, for a mapped file for example.
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and room.f_bavail == 0):
        return StoreFull(
            f"no room to commit to {path}: {room.f_bavail * room.f_frsize} bytes are free there",
            meaning="nothing was committed; every instance rests where it was",
            next_step="free some space, then: statepipe resume --all",
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreUnusable(
            f"{path} cannot be opened or written: {error}",
            meaning="nothing was changed",
            next_step=f"ls -l {path.parent}   # who may write here?",
        )
    return StoreUnusable(
        f"SQLite cannot use {path}: {error}",
        meaning="nothing was written",
        next_step="statepipe doctor   # checks the file; never delete the -wal beside it",
    )


def _code(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", 0) or 0
