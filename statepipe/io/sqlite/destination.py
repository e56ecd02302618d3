"""
The SQLite destination: one table of one file, for the protocol of `io.exactly_once`.

    SqliteDestination.load     one batch, one transaction
    SqliteDestination.ledger   what the destination has, for reconciling with the plan
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from statepipe.errors import DataError
from statepipe.io import drafts, exactly_once, ledger
from statepipe.io.dbfile import identity, replaced, why_not
from statepipe.io.declared import Declared
from statepipe.io.exactly_once import ChangedError, InDoubtError
from statepipe.io.fitting import Fitted, LastFitted, Run, Why, no_index, refuse_unkeyed
from statepipe.io.loads import Landed, LedgerRow, LoadBatch
from statepipe.io.rows import Records
from statepipe.io.sqlite.connection import (
    BUSY,
    Connect,
    Scratch,
    code_of,
    open_connection,
    refusal,
    refuse_store,
)
from statepipe.io.sqlite.declared import holds, maker
from statepipe.io.sqlite.drafts import drop_drafts, make_like
from statepipe.io.sqlite.inserting import put, takes_many
from statepipe.io.table import (
    Column,
    Table,
    add_sql,
    check_name,
    check_table_name,
    create_sql,
    insert_sql,
    kind_of,
    quote,
)
from statepipe.io.values import fit, why_refused
from statepipe.sqlite import sqlite3

#: Longest wait for somebody else's lock on the destination, in milliseconds.
BUSY_MS: Final = 30_000

_HAS_LEDGER: Final = "SELECT 1 FROM sqlite_master WHERE name = '_statepipe_ledger'"


class _Known(NamedTuple):
    """
    What was learned when the table was looked at.

    Attributes:
        version: The version of the file's schema.
        target: The table that is written: the draft, if there is to be one.
        table: The columns that it has or will have; None if the first batch tells.
        is_there: True if the target is there.
        has_model: True if it is not, and is to be like the table that is.
        lacks: Those of its columns that are not there, and will be added.
    """

    version: int
    target: str
    table: Table | None
    is_there: bool
    has_model: bool
    lacks: Table


class SqliteDestination:
    """
    One table of one SQLite file.

    Used by one thread. The file is opened by the first call that needs it.

    Args:
        path: The file; made if it is not there, its folder is not.
        table: The table; made if it is not there.
        key: Columns of the key. Records replace rows with the same key, the last one
            in a batch wins. Without a key, records are appended.
        replace: Load into a draft, which `publish` puts in the place of what there was.
        declared: What columns the table has, by contract; None for those of the first batch.
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
        replace: bool = False,
        declared: Declared | None = None,
        busy_ms: int = BUSY_MS,
        connect: Connect | None = None,
    ) -> None:
        check_table_name(table)
        for name in key:
            check_name(name, what="key column")
        self.path = path
        self.table = table
        self.key = key
        self._replace = replace
        self._declared = declared
        self._busy_ms = busy_ms
        self._connect = connect or open_connection
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._scratch = Scratch()
        self._known: _Known | None = None
        self._last_fitted = LastFitted[Column]()

    @property
    def is_shared(self) -> bool:
        """True: whoever comes second waits for the first one's lock."""
        return True

    def load(self, batch: LoadBatch) -> Landed:
        """Load `batch` unless the ledger has it; see `Destination.load`."""
        with self.told():
            return exactly_once.load(self, batch)

    def publish(self, batch: LoadBatch) -> None:
        """Put the draft in the table's place, if there is to be one; see `Destination.publish`."""
        with self.told():
            if self._replace:
                exactly_once.publish(self, batch)

    def ledger(
        self, *, store_id: str, instance: str, generation: int, state: str, visit: int
    ) -> list[LedgerRow]:
        """Return the ledger's rows of one stay for this table, by batch number."""
        with self.told():
            if not self.has_ledger():
                return []
            stay = (store_id, instance, generation, state, visit)
            return ledger.rows(self.execute, stay, table=self.table)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Raise what SQLite's errors mean; the transaction is gone by then."""
        try:
            yield
        except sqlite3.Error as error:
            self.close()
            raise refusal(error, path=self.path, busy_ms=self._busy_ms) from error

    def close(self) -> None:
        """Let go of the file; the next call opens it again."""
        connection, self._connection = self._connection, None
        self._known = None
        self._last_fitted.forget()
        if connection is not None:
            # What was acknowledged is durable by now, and after an error all that can be
            # done with a connection is to drop it.
            with suppress(sqlite3.Error):
                connection.close()
        self._scratch.close()

    @property
    def name(self) -> str:
        """The file, for errors."""
        return str(self.path)

    def look(self, batch: LoadBatch) -> None:
        """Learn which columns the table has, if the schema changed."""
        ledger.refuse_missing(self.path, batch, table=self.table, name=self.name)
        version = _schema_version(self._open())
        target = drafts.name_of(batch, self.table) if self._replace else self.table
        if self._known is None or self._known[:2] != (version, target):
            self._known = self._learn(version, target)

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
        table = self._looked_at().table
        if (known := self._last_fitted.get(records, table)) is not None:
            return known
        fitted = fit(records, table=table, key=self.key, ask=self._scratch.ask)
        return self._last_fitted.keep(records, fitted)

    def begin(self, batch: LoadBatch) -> None:  # noqa: ARG002  (a lock needs no name here)
        """Lock the file; its schema must be the one that was looked at."""
        self.execute("BEGIN IMMEDIATE")
        if _schema_version(self._open()) != self._looked_at().version:
            raise ChangedError
        self._last_fitted.forget()  # what the table refuses is added to it

    def put(self, batch: LoadBatch, fitted: Fitted[Column]) -> None:
        """Write the rows, into a new table if there was none; add to `fitted.rejects`."""
        known = self._looked_at()
        if not known.is_there and self._replace:
            drafts.refuse_lost(self.execute, batch, table=self.table)
            drop_drafts(self.execute, prefix=drafts.prefix_of(batch, self.table))
        elif not known.is_there:
            ledger.refuse_dropped(self.execute, batch, table=self.table, key=self.key)
        if known.table is None:
            refuse_unkeyed(batch.records, self.key, is_any_fit=bool(fitted.runs))
        if known.has_model:
            make_like(self.execute, self.table, draft=known.target)
        elif not known.is_there and fitted.table:
            for name in fitted.table:
                check_name(name, what="field")
            self.execute(create_sql(known.target, fitted.table, key=self.key))
        self._add(known.target, known.lacks)
        many = takes_many(self.execute, known.target)
        for run in fitted.runs:
            self._insert(self._open(), known.target, run, fitted.rejects, many=many)

    def swap(self, batch: LoadBatch) -> None:
        """Put the draft's rows in the place of the table's; without a draft there are none."""
        known = self._looked_at()
        if known.is_there:
            assert known.table is not None
            columns = list(known.table)
            there = self._read_table(self.table)
            if self._declared is not None and there is not None:
                self._add(self.table, self._declared.lacking(there, make=maker(there)))
            drafts.put_in_place(
                self.execute,
                self.table,
                draft=known.target,
                columns=columns,
                is_there=there is not None,
            )
            return
        drafts.refuse_lost(self.execute, batch, table=self.table)
        if known.has_model:
            self.execute(f"DELETE FROM {quote(self.table)}")  # noqa: S608  (quoted)

    def commit(self) -> None:
        """Commit; only a lock and a deferred constraint are a clear no."""
        try:
            self.execute("COMMIT")
        except sqlite3.Error as error:
            busy = code_of(error) == BUSY
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

    def _insert(
        self,
        connection: sqlite3.Connection,
        table: str,
        run: Run,
        rejects: dict[int, Why],
        *,
        many: bool,
    ) -> None:
        """Put one run into `table`; if a constraint refuses it, row by row."""
        connection.execute("SAVEPOINT run")
        try:
            if put(connection, table, run, key=self.key, many=many) == len(run.rows):
                connection.execute("RELEASE run")
                return
        except (sqlite3.IntegrityError, sqlite3.DataError):
            self._check_transaction(connection)
        connection.execute("ROLLBACK TO run")
        sql = insert_sql(table, run.fields, key=self.key)
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
            if self._file == identity(self.path):
                return self._connection
            self.close()
            raise replaced(self.path)
        if reason := why_not(self.path):
            self._fail(*reason)
        self._connection = self._connect(self.path, self._busy_ms)
        self._file = identity(self.path)
        try:
            refuse_store(self._connection, self.path)
        except BaseException:
            self.close()
            raise
        return self._connection

    def _looked_at(self) -> _Known:
        assert self._known is not None, "look() comes first"
        return self._known

    def _learn(self, version: int, target: str) -> _Known:
        table = like = self._read_table(target)
        if table is None and self._replace:
            target_of_key, like = self.table, self._read_table(self.table)
        else:
            target_of_key = target
        if like is not None and self.key:
            self._check_key(target_of_key, like, version=version)
        has_model, lacks = table is None and like is not None, dict[str, Column]()
        if self._declared is not None:
            like, lacks = self._declared.meet(like, name=self.table, make=maker(like), holds=holds)
        return _Known(version, target, like, table is not None, has_model, lacks)

    def _add(self, table: str, columns: Table) -> None:
        for name, column in columns.items():
            check_name(name, what="field")
            self.execute(add_sql(table, name, column))

    def _read_table(self, name: str) -> Table | None:
        facts = self.execute(
            "SELECT type, strict FROM pragma_table_list(?) WHERE schema = 'main'", (name,)
        ).fetchone()
        if facts is None:
            return None
        if facts[0] == "view":
            self._fail(f"{name!r} is a view", "name a table in the machine")
        strict = bool(facts[1])
        return {
            column: Column(kind=kind_of(declared, strict=strict), strict=strict)
            for column, declared, hidden in self.execute(
                "SELECT name, type, hidden FROM pragma_table_xinfo(?)", (name,)
            )
            if not hidden  # generated columns cannot be written
        }

    def _check_key(self, name: str, table: Table, *, version: int) -> None:
        """Refuse a key without a unique index, before any batch, with the way out."""
        reason = ""
        if missing := [column for column in self.key if column not in table]:
            reason = f"has no key column {missing[0]!r}"
        else:
            try:
                sql = insert_sql(name, self.key, key=self.key)
                # An EXPLAIN kept from before does not notice that the schema changed.
                self.execute(f"EXPLAIN {sql} -- {version}", (None,) * len(self.key))
            except sqlite3.OperationalError as error:
                if "ON CONFLICT" not in str(error):
                    raise
                reason = f"has no unique index on {', '.join(self.key)}"
        if reason:
            self._fail(f"table {self.table!r} {reason}", no_index(self.table, self.key, table))

    def _fail(self, reason: str, next_step: str) -> NoReturn:
        raise DataError(
            f"cannot load into {self.path}: {reason}",
            meaning="nothing of this batch was loaded",
            next_step=next_step,
        )


def _schema_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA schema_version").fetchone()[0]
    return version
