"""
The SQLite destination: one table of one file, for the protocol of `io.exactly_once`.

    SqliteDestination.load     one batch, one transaction
    SqliteDestination.ledger   what the destination has, for reconciling with the plan
    open_connection            a connection as durable as the checkpoint

A destination must be as durable as the checkpoint. A file keeps the journal mode it
has: in WAL `synchronous=FULL` is enough; a rollback journal needs EXTRA, because its
COMMIT is the unlink of a file, which FULL does not make durable. A new file gets a
rollback journal, which the WAL-reset bug (F11) cannot touch.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from statepipe.errors import Busy, DataError
from statepipe.io import exactly_once, ledger
from statepipe.io.exactly_once import ChangedError, InDoubtError
from statepipe.io.fitting import Fitted, Run, Why
from statepipe.io.loads import Landed, LedgerRow, LoadBatch
from statepipe.io.rows import Records
from statepipe.io.table import (
    Column,
    Table,
    check_name,
    check_table_name,
    create_sql,
    insert_sql,
    kind_of,
)
from statepipe.io.values import SqlValue, fit, why_refused
from statepipe.sqlite import WAL_RESET_FIXED, sqlite3

#: Longest wait for somebody else's lock on the destination, in milliseconds.
BUSY_MS: Final = 30_000

#: SQLite's primary result codes; not every SQLite library for Python names them.
_BUSY, _LOCKED, _FULL = 5, 6, 13

_HAS_LEDGER: Final = "SELECT 1 FROM sqlite_master WHERE name = '_statepipe_ledger'"

Connect = Callable[[Path, int], sqlite3.Connection]


class SqliteDestination:
    """
    One table of one SQLite file.

    Used by one thread. The file is opened by the first call that needs it.

    Args:
        path: The file; made if it is not there, its folder is not.
        table: The table; made from the first batch if it is not there.
        key: Columns of the key. Records replace rows with the same key, the last one
            in a batch wins. Without a key, records are appended.
        busy_ms: Longest wait for somebody else's lock, in milliseconds.
        connect: Opens the file; a test may hand in one that fails.

    Raises:
        DefinitionError: If `table` or `key` cannot name what they should.
    """

    def __init__(
        self,
        path: Path,
        *,
        table: str,
        key: tuple[str, ...] = (),
        busy_ms: int = BUSY_MS,
        connect: Connect | None = None,
    ) -> None:
        check_table_name(table)
        for name in key:
            check_name(name, what="key column")
        self.path = path
        self.table = table
        self.key = key
        self._busy_ms = busy_ms
        self._connect = connect or open_connection
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._scratch: sqlite3.Connection | None = None
        self._known: tuple[int, Table | None] | None = None  # schema version, columns

    def load(self, batch: LoadBatch) -> Landed:
        """Load `batch` unless the ledger has it; see `Destination.load`."""
        try:
            return exactly_once.load(self, batch)
        except sqlite3.Error as error:
            self.close()
            self._refuse(error)

    def ledger(
        self, *, store_id: str, instance: str, generation: int, state: str, visit: int
    ) -> list[LedgerRow]:
        """Return the ledger's rows of one stay for this table, by batch number."""
        try:
            if not self.has_ledger():
                return []
            stay = (store_id, instance, generation, state, visit)
            return ledger.rows(self.execute, stay, table=self.table)
        except sqlite3.Error as error:
            self.close()
            self._refuse(error)

    def close(self) -> None:
        """Let go of the file; the next call opens it again."""
        connection, self._connection, self._known = self._connection, None, None
        if connection is not None:
            # What was acknowledged is durable by now, and after an error all that can be
            # done with a connection is to drop it.
            with suppress(sqlite3.Error):
                connection.close()
        if self._scratch is not None:
            self._scratch.close()
            self._scratch = None

    @property
    def name(self) -> str:
        """The file, for errors."""
        return str(self.path)

    def look(self) -> None:
        """Learn which columns the table has, if the schema changed."""
        connection = self._open()
        version = _schema_version(connection)
        if self._known is None or self._known[0] != version:
            table = self._read_table(connection)
            if table is not None and self.key:
                self._check_key(connection, table, version=version)
            self._known = (version, table)

    def has_ledger(self) -> bool:
        """Return True if the file has a ledger."""
        return bool(self.execute(_HAS_LEDGER).fetchone())

    def create_ledger(self) -> None:
        """Make the ledger's tables if they are not there."""
        ledger.create(self.execute, ledger.SQLITE)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self._open().execute(sql, parameters)

    def fit(self, records: Records) -> Fitted[Column]:
        """Turn `records` into rows of the table as last looked at."""
        return fit(records, table=self._looked_at(), key=self.key, ask=self._ask)

    def begin(self, batch: LoadBatch) -> None:  # noqa: ARG002  (a lock needs no name here)
        """Lock the file; its schema must be the one that was looked at."""
        self.execute("BEGIN IMMEDIATE")
        if self._known is None or _schema_version(self._open()) != self._known[0]:
            raise ChangedError

    def put(self, fitted: Fitted[Column]) -> None:
        """Write the rows, into a new table if there was none; add to `fitted.rejects`."""
        if self._looked_at() is None and fitted.table:
            for name in fitted.table:
                check_name(name, what="field")
            self.execute(create_sql(self.table, fitted.table, key=self.key))
        for run in fitted.runs:
            self._insert(self._open(), run, fitted.rejects)

    def commit(self) -> None:
        """Commit; only a lock and a deferred constraint are a clear no."""
        try:
            self.execute("COMMIT")
        except sqlite3.Error as error:
            busy = _code(error) == _BUSY
            if not busy and not isinstance(error, sqlite3.IntegrityError):
                raise InDoubtError from error
            # A lock or a deferred constraint: COMMIT was refused and the transaction is open.
            self.rollback()
            raise

    def rollback(self) -> None:
        """End the transaction if it is still there."""
        if self._connection is not None and self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def forget(self) -> None:
        """Read the table again before the next try."""
        self._known = None

    def _insert(self, connection: sqlite3.Connection, run: Run, rejects: dict[int, Why]) -> None:
        """Put one run into the table; if a constraint refuses it, row by row."""
        sql = insert_sql(self.table, run.fields, key=self.key)
        connection.execute("SAVEPOINT run")
        try:
            if connection.executemany(sql, run.rows).rowcount == len(run.rows):
                connection.execute("RELEASE run")
                return
        except (sqlite3.IntegrityError, sqlite3.DataError):
            self._check_transaction(connection)
        connection.execute("ROLLBACK TO run")
        for position, row in zip(run.positions, run.rows, strict=True):
            connection.execute("SAVEPOINT row")
            try:
                ignored = connection.execute(sql, row).rowcount != 1
            except (sqlite3.IntegrityError, sqlite3.DataError) as error:
                self._check_transaction(connection)
                connection.execute("ROLLBACK TO row")
                rejects[position] = why_refused(error)
            else:
                if ignored:
                    rejects[position] = ("trigger", "", "a trigger of the table ignored the row")
            connection.execute("RELEASE row")
        connection.execute("RELEASE run")

    def _check_transaction(self, connection: sqlite3.Connection) -> None:
        # F3: what is written once the transaction is gone stays, alone.
        if not connection.in_transaction:
            raise DataError(
                f"a trigger of {self.path} rolled the whole transaction back",
                meaning="nothing of this batch was loaded",
                next_step="use RAISE(ABORT, …) in the trigger, so that only the row is refused",
            )

    def _open(self) -> sqlite3.Connection:
        """Return the connection, on the file that is under the path now."""
        if self._connection is not None:
            # A file that was moved or unlinked goes on acknowledging (F5). stat opens nothing.
            if self._file == _identity(self.path):
                return self._connection
            self.close()
            raise DataError(
                f"{self.path} was replaced or removed while it was being loaded",
                meaning="batches loaded before went into the old file",
                next_step="resume: what the new file's ledger lacks is loaded again",
            )
        if not self.path.parent.is_dir():
            self._fail(f"its folder {self.path.parent} does not exist", "make the folder, resume")
        if self.path.exists() and not self.path.is_file():
            self._fail("it is not a regular file", "name a file in the machine's `to`")
        self._connection = self._connect(self.path, self._busy_ms)
        self._file = _identity(self.path)
        return self._connection

    def _looked_at(self) -> Table | None:
        return None if self._known is None else self._known[1]

    def _read_table(self, connection: sqlite3.Connection) -> Table | None:
        facts = connection.execute(
            "SELECT type, strict FROM pragma_table_list(?) WHERE schema = 'main'", (self.table,)
        ).fetchone()
        if facts is None:
            return None
        if facts[0] == "view":
            self._fail(f"{self.table!r} is a view", "name a table in the machine")
        strict = bool(facts[1])
        return {
            name: Column(kind=kind_of(declared, strict=strict), strict=strict)
            for name, declared, hidden in connection.execute(
                "SELECT name, type, hidden FROM pragma_table_xinfo(?)", (self.table,)
            )
            if not hidden  # generated columns cannot be written
        }

    def _check_key(self, connection: sqlite3.Connection, table: Table, *, version: int) -> None:
        """Refuse a key without a unique index, before any batch, with the way out."""
        reason = ""
        if missing := [name for name in self.key if name not in table]:
            reason = f"has no key column {missing[0]!r}"
        else:
            try:
                sql = insert_sql(self.table, self.key, key=self.key)
                # An EXPLAIN kept from before does not notice that the schema changed.
                connection.execute(f"EXPLAIN {sql} -- {version}", (None,) * len(self.key))
            except sqlite3.OperationalError as error:
                if "ON CONFLICT" not in str(error):
                    raise
                reason = f"has no unique index on {', '.join(self.key)}"
        if reason:
            columns = ", ".join(self.key)
            self._fail(
                f"table {self.table!r} {reason}",
                f"CREATE UNIQUE INDEX … ON {self.table} ({columns}), then resume",
            )

    def _ask(self, column: Column, value: SqlValue) -> SqlValue:
        """Return what comes back when a column like this one is given `value`."""
        if self._scratch is None:
            self._scratch = sqlite3.connect(":memory:", isolation_level=None)
        name = f"{column.kind.value}_{column.strict}"
        mode = "STRICT" if column.strict else ""
        self._scratch.execute(
            f"CREATE TABLE IF NOT EXISTS {name} (value {column.kind.value}) {mode}"
        )
        try:
            self._scratch.execute(f"INSERT INTO {name} VALUES (?)", (value,))  # noqa: S608
        except sqlite3.IntegrityError as error:
            raise ValueError(str(error)) from None
        stored: tuple[SqlValue] = self._scratch.execute(
            f"SELECT value FROM {name}"  # noqa: S608  (an affinity and a flag)
        ).fetchone()
        self._scratch.execute(f"DELETE FROM {name}")  # noqa: S608  (an affinity and a flag)
        return stored[0]

    def _refuse(self, error: sqlite3.Error) -> NoReturn:
        """Raise what a failing statement means; the transaction is gone by now."""
        if _code(error) in {_BUSY, _LOCKED}:
            raise Busy(
                f"{self.path} was locked by somebody else for {self._busy_ms} ms",
                meaning="nothing of this batch was loaded",
                next_step="end the other connection's transaction, then resume",
            ) from error
        if _code(error) == _FULL:
            self._fail("its disk is full", "free some space, then resume", cause=error)
        self._fail(str(error), "see to the file, then resume", cause=error)

    def _fail(self, reason: str, next_step: str, cause: Exception | None = None) -> NoReturn:
        raise DataError(
            f"cannot load into {self.path}: {reason}",
            meaning="nothing of this batch was loaded",
            next_step=next_step,
        ) from cause


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


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return facts.st_dev, facts.st_ino


def _schema_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA schema_version").fetchone()[0]
    return version


def _code(error: sqlite3.Error) -> int | None:
    """Return SQLite's primary result code, or None if the error is the driver's own."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
