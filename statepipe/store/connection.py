"""
Opening the store, and the one way to write to it.

    open_store(path, …)     checks, pragmas set and read back, schema, recovery
    Store.write()           one transaction: all of it lands, none of it, or StoreInDoubt
    Store.checkpoint_wal()  empty the WAL between groups
    open_reader(path)       a read-only connection for everything that only looks

Nothing here, or anywhere in this process, opens the store's files except through
SQLite: closing any other descriptor of them drops SQLite's locks and loses
acknowledged commits (F4 of docs/reliability.md). `stat` is allowed, `open` is not.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

from statepipe.clock import Clock
from statepipe.errors import (
    Busy,
    StatepipeError,
    StoreFull,
    StoreInDoubt,
    StoreUnusable,
)
from statepipe.sqlite import WAL_RESET_FIXED, sqlite3
from statepipe.store.liveness import is_dead, workers
from statepipe.store.place import make_empty, refuse_bad_place, unusable
from statepipe.store.schema import APPLICATION_ID, SCHEMA_VERSION, ensure_schema
from statepipe.store.wal import WAL_BYTES_MAX, Wal
from statepipe.store.walguard import WalGuard

BUSY_MS = 30_000

#: Above this size the integrity check after an unclean end is left to `doctor`
#: unless the machine itself went down (docs/decisions/0010).
QUICK_CHECK_BYTES_MAX = 32 * 1024 * 1024

_PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: an acknowledged commit survives a power cut
    "foreign_keys": 1,
    "wal_autocheckpoint": 0,  # only Store.checkpoint_wal does it (F11)
    "mmap_size": 0,
    "trusted_schema": 0,
    "cell_size_check": 1,
}


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
        in_doubt: True after a COMMIT that failed; then the process has to end.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, *, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self.connection = connection
        self._guard = None if WAL_RESET_FIXED else WalGuard(path, clock=clock, wait_ms=BUSY_MS)
        self._wal = Wal(path, connection, guard=self._guard, clock=clock)
        self.in_doubt = False
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
        with self._guard.shared() if self._guard else nullcontext():
            self._begin()
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


def open_store(path: Path, *, create: bool, clock: Clock) -> Store:
    """
    Open the store for writing.

    Args:
        path: The store's file.
        create: Make it, and its folder, if it is missing; otherwise that is an error.
        clock: Time, for waits and the creation date.

    Raises:
        StoreUnusable: Missing, a folder, empty, on a network file system, not a
            statepipe store, of a newer release, read-only, or damaged.
        Busy: Another process keeps it locked.
    """
    refuse_bad_place(path, create=create, write=True)
    if create and not path.exists():
        make_empty(path)
    unclean = _leftover_wal(path)
    connection = _connect(path, mode="rw")
    try:
        _refuse_foreign(connection, path, create=create)
        _set_pragmas(connection, path)
        ensure_schema(connection, store_id=uuid4().hex, clock=clock)
        store = Store(path, connection, clock=clock)
        if unclean:
            _recover(store)
    except sqlite3.Error as error:
        connection.close()
        raise translated(error, path=path) from error
    except BaseException:
        connection.close()
        raise
    return store


def open_reader(path: Path) -> sqlite3.Connection:
    """
    Open the store for looking only; imports nothing heavy and changes nothing.

    Raises:
        StoreUnusable: As `open_store`.
    """
    refuse_bad_place(path, create=False)
    try:
        return _reader(path, mode="ro")
    except StoreUnusable:
        # SQLite wants to make a -shm file even to read, and a full or read-only disk
        # has no place for it. Where no WAL lies, nobody writes: the file is all there is.
        if _leftover_wal(path):
            raise
        return _reader(path, mode="ro&immutable=1")


def _reader(path: Path, *, mode: str) -> sqlite3.Connection:
    connection = _connect(path, mode=mode)
    try:
        _refuse_foreign(connection, path, create=False)
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
    except sqlite3.Error as error:
        connection.close()
        raise translated(error, path=path) from error
    except BaseException:
        connection.close()
        raise
    return connection


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


def _connect(path: Path, *, mode: str) -> sqlite3.Connection:
    try:
        return sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=BUSY_MS / 1000,
            check_same_thread=False,
            cached_statements=256,
        )
    except sqlite3.Error as error:
        raise translated(error, path=path) from error


def _leftover_wal(path: Path) -> bool:
    """Return whether a WAL with content lies there: somebody works, or ended badly."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size > 0
    except FileNotFoundError:
        return False


def _refuse_foreign(connection: sqlite3.Connection, path: Path, *, create: bool) -> None:
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application_id != APPLICATION_ID:
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if create and tables == 0:
            return
        raise unusable(path, "is an SQLite file, but no statepipe store")
    if version > SCHEMA_VERSION:
        raise StoreUnusable(
            f"{path} has store version {version}; this release knows up to {SCHEMA_VERSION}",
            meaning="a newer statepipe wrote it; nothing was read or changed",
            next_step="pip install --upgrade statepipe",
        )


def _set_pragmas(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS:d}")
    for name, value in _PRAGMAS.items():
        connection.execute(f"PRAGMA {name} = {value}")
        is_now = connection.execute(f"PRAGMA {name}").fetchone()
        # A file system without mmap answers mmap_size with no row at all: it is off.
        if is_now is not None and is_now[0] != value:
            raise unusable(path, f"does not accept {name}={value} (it stays {is_now[0]})")


def _recover(store: Store) -> None:
    """
    After an unclean end: check the file, and push what recovery saw through a fresh fsync.

    The latter answers F1: a COMMIT whose fsync failed may be visible from the page
    cache and not be on the disk. Nothing is acknowledged before it is.
    """
    if any(not is_dead(worker, clock=store.clock) for worker in workers(store.connection)):
        return  # its end is still to come; it flushes the same WAL before it acknowledges
    machine_went_down = store.connection.execute(
        "SELECT 1 FROM worker WHERE stopped_at_ms IS NULL AND boot_id <> ?",
        (store.clock.boot_id,),
    ).fetchone()
    if machine_went_down or store.path.stat().st_size <= QUICK_CHECK_BYTES_MAX:
        verdict = store.connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise StoreUnusable(
                f"{store.path} is damaged: {verdict}",
                meaning="nothing was written; the file and its -wal are as they were found",
                next_step="stop every statepipe, copy both files away, then restore a backup",
            )
    store.checkpoint_wal(above_bytes=0)
