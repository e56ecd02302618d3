"""
Opening a store: refused, or checked, brought to this release's schema, and recovered.

    open_store(path, …)     for writing: pragmas set and read back, schema, recovery
    open_reader(path)       a read-only connection for everything that only looks

Nothing here, or anywhere in this process, opens the store's files except through
SQLite: closing any other descriptor of them drops SQLite's locks and loses
acknowledged commits (F4 of docs/reliability.md). `stat` is allowed, `open` is not.
"""

from pathlib import Path
from threading import Event
from urllib.parse import quote
from uuid import uuid4

from statepipe.clock import Clock, SystemClock
from statepipe.errors import StoreUnusable, WrongEnvironment
from statepipe.sqlite import APPLICATION_ID, sqlite3
from statepipe.store.file.connection import BUSY_MS, Store, translated
from statepipe.store.file.place import make_empty, refuse_bad_place, unusable
from statepipe.store.file.schema import SCHEMA_VERSION, ensure_schema, version_of
from statepipe.store.file.stamp import Environment, refuse_other, stamp
from statepipe.store.file.upgrade import keep_a_copy
from statepipe.store.liveness import is_dead, workers

#: Above this size the integrity check after an unclean end is left to `doctor`
#: unless the machine itself went down (docs/decisions/0010).
QUICK_CHECK_BYTES_MAX = 32 * 1024 * 1024

#: Between two tries to put a file into WAL mode.
_AGAIN_S = 0.01

_PRAGMAS: dict[str, str | int] = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: an acknowledged commit survives a power cut
    "foreign_keys": 1,
    "wal_autocheckpoint": 0,  # only Store.checkpoint_wal does it (F11)
    "mmap_size": 0,
    "trusted_schema": 0,
    "cell_size_check": 1,
}


def open_store(
    path: Path, *, create: bool, clock: Clock, environment: Environment | None = None
) -> Store:
    """
    Open the store for writing.

    Args:
        path: The store's file.
        create: Make it, and its folder, if it is missing; otherwise that is an error.
        clock: Time, for waits and the creation date.
        environment: Whose process this is; None to let in whoever it is.

    Raises:
        StoreUnusable: Missing, a folder, empty, on a network file system, not a
            statepipe store, of a newer release, read-only, or damaged.
        WrongEnvironment: It belongs to another environment.
        Busy: Another process keeps it locked.
    """
    refuse_bad_place(path, create=create, write=True)
    if create and not path.exists():
        make_empty(path)
    unclean = _leftover_wal(path)
    connection = _connect(path, mode="rw")
    try:
        _refuse_foreign(connection, path, create=create)
        if environment is not None and version_of(connection) == SCHEMA_VERSION:
            refuse_other(connection, path, environment)
        _set_pragmas(connection, path)
        keep_a_copy(connection, path, clock=clock)
        ensure_schema(connection, path, store_id=uuid4().hex, clock=clock)
        store = Store(path, connection, clock=clock)
        if unclean:
            _recover(store)
        if environment is not None:
            stamp(store, environment)
    except sqlite3.Error as error:
        connection.close()
        raise translated(error, path=path) from error
    except OSError as error:  # such as no more descriptors, for what a clock reads
        connection.close()
        raise StoreUnusable(
            f"{path} cannot be opened: {error}",
            meaning="what it holds is as it was; no instance was changed",
            next_step="remove the cause, then repeat the command   # ulimit -n: files per process",
        ) from error
    except BaseException:
        connection.close()
        raise
    return store


def open_reader(
    path: Path, *, busy_ms: int = BUSY_MS, environment: Environment | None = None
) -> sqlite3.Connection:
    """
    Open the store for looking only; imports nothing heavy and changes nothing.

    Args:
        path: The store's file.
        busy_ms: How long to wait where another process keeps it locked.
        environment: As for `open_store`; looking stamps nothing.

    Raises:
        StoreUnusable, WrongEnvironment: As `open_store`.
    """
    refuse_bad_place(path, create=False)
    try:
        return _reader(path, mode="ro", busy_ms=busy_ms, environment=environment)
    except WrongEnvironment:
        raise
    except StoreUnusable:
        # SQLite wants to make a -shm file even to read, and a full or read-only disk
        # has no place for it. Where no WAL lies, nobody writes: the file is all there is.
        if _leftover_wal(path):
            raise
        return _reader(path, mode="ro&immutable=1", busy_ms=busy_ms, environment=environment)


def _reader(
    path: Path, *, mode: str, busy_ms: int, environment: Environment | None
) -> sqlite3.Connection:
    connection = _connect(path, mode=mode, busy_ms=busy_ms)
    try:
        _refuse_foreign(connection, path, create=False)
        _refuse_older(connection, path)
        if environment is not None:
            refuse_other(connection, path, environment)
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
    except sqlite3.Error as error:
        connection.close()
        raise translated(error, path=path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path, *, mode: str, busy_ms: int = BUSY_MS) -> sqlite3.Connection:
    try:
        return sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=busy_ms / 1000,
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
    connection.execute("BEGIN")  # one moment of it: another process may be making it
    try:
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
        version = version_of(connection)
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if application_id != APPLICATION_ID:
        if create and tables == 0:
            return
        raise unusable(path, "is an SQLite file, but no statepipe store")
    if version > SCHEMA_VERSION:
        raise StoreUnusable(
            f"{path} has store version {version}; this release knows up to {SCHEMA_VERSION}",
            meaning="a newer statepipe wrote it; nothing was read or changed",
            next_step="pip install --upgrade statepipe",
        )


def _refuse_older(connection: sqlite3.Connection, path: Path) -> None:
    version = version_of(connection)
    if version < SCHEMA_VERSION:
        raise StoreUnusable(
            f"{path} has store version {version}; this release reads version {SCHEMA_VERSION}",
            meaning="an older statepipe wrote it; nothing was read or changed",
            next_step="statepipe migrate   # keeps a copy, then brings it to this version",
        )


def _set_pragmas(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS:d}")
    clock = SystemClock()
    for name, value in _PRAGMAS.items():
        _set_pragma(connection, name, value, clock=clock)
        is_now = connection.execute(f"PRAGMA {name}").fetchone()
        # A file system without mmap answers mmap_size with no row at all: it is off.
        if is_now is not None and is_now[0] != value:
            raise unusable(path, f"does not accept {name}={value} (it stays {is_now[0]})")


def _set_pragma(
    connection: sqlite3.Connection, name: str, value: str | int, *, clock: Clock
) -> None:
    end_ms = clock.boot_ms() + BUSY_MS
    while True:
        try:
            connection.execute(f"PRAGMA {name} = {value}")
        except sqlite3.OperationalError as error:
            # Of two that put a new file into WAL mode at the same moment SQLite turns one away
            # at once, whatever its timeout: else each would wait for the other.
            busy = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
            if not busy or clock.boot_ms() >= end_ms:
                raise
            Event().wait(_AGAIN_S)
        else:
            return


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
