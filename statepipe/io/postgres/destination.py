"""
The PostgreSQL destination: one table of one database, for the protocol of `io.exactly_once`.

    PostgresDestination.load     one batch, one transaction
        BEGIN, SET LOCAL         durable whatever the server's default; no wait without end
        LOCK, LOOK               nobody alters the table now, and it is what we judged by
        the fence, the ledger    `io.ledger`, in the schema of the table
        the rows                 by a `Writer`
        COMMIT                   a lost connection is in doubt, an answer is not
    PostgresDestination.ledger   what the destination has, for reconciling with the plan

A process that is stopped in the middle of its transaction keeps the fence row locked. Its
session carries the instance and the epoch in its name, and whoever has taken over ends it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any, Final, NamedTuple, NoReturn

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier

from statepipe.errors import DataError
from statepipe.io import exactly_once, ledger
from statepipe.io.exactly_once import ChangedError, InDoubtError
from statepipe.io.fitting import Fitted
from statepipe.io.loads import Landed, LedgerRow, LoadBatch
from statepipe.io.postgres import table as tables
from statepipe.io.postgres.connection import (
    Connect,
    connect_by,
    open_connection,
    parameters,
    refusal,
)
from statepipe.io.postgres.table import Column, Place, Table
from statepipe.io.postgres.values import fit
from statepipe.io.postgres.writer import Writer
from statepipe.io.rows import Records
from statepipe.io.table import check_name

#: Longest wait for somebody else's lock, in milliseconds.
BUSY_MS: Final = 30_000

#: A session that does nothing in its transaction is ended by the server after this.
IDLE_MS: Final = 60_000

#: Whoever makes a table of ours holds this lock meanwhile: CREATE IF NOT EXISTS alone fails
#: when two do it at once.
_MAKING: Final = 0x5747_4550_4950_4531

_BEGIN: Final = """
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SET LOCAL synchronous_commit = on;
SET LOCAL lock_timeout = {busy_ms};
SET LOCAL idle_in_transaction_session_timeout = {idle_ms};
SET LOCAL application_name = '{session}'
"""

_END_SESSIONS: Final = """
SELECT count(pg_terminate_backend(pid))
  FROM pg_stat_activity
 WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
   AND CASE WHEN application_name ~ '^statepipe [0-9a-f]{16} [0-9]+$'
            THEN split_part(application_name, ' ', 2) = %s
             AND split_part(application_name, ' ', 3)::bigint <= %s
       END
"""


class _Known(NamedTuple):
    """
    What was learned when the table was looked at.

    Attributes:
        place: Where it is, or will be made.
        facts: The rows of LOOK, which must be the same once it is locked.
        table: Its columns; None if there is no table.
        has_ledger: True if its schema has a ledger.
    """

    place: Place
    facts: list[Any]
    table: Table | None
    has_ledger: bool


class PostgresDestination:
    """
    One table of one PostgreSQL database, from version 12 on.

    Used by one thread. Connected to by the first call that needs it.

    Args:
        address: A postgresql:// URL; its password may be a reference.
        name: The database for errors; no secret.
        table: The table, "orders" or "sales.orders"; made from the first batch if it is
            not there.
        key: Columns of the key. Records replace rows with the same key, the last one
            in a batch wins. Without a key, records are appended.
        busy_ms: Longest wait for somebody else's lock, in milliseconds.
        connect: Connects; a test may hand in one that fails.

    Raises:
        DefinitionError: If `table` or `key` cannot name what they should.
    """

    def __init__(
        self,
        address: str,
        *,
        name: str,
        table: str,
        key: tuple[str, ...] = (),
        busy_ms: int = BUSY_MS,
        connect: Connect | None = None,
    ) -> None:
        for column in key:
            check_name(column, what="key column", bytes_max=tables.NAME_BYTES_MAX)
        self.name = name
        self.table = table
        self.key = key
        self._address = address
        self._place = tables.place_of(table)
        self._busy_ms = busy_ms
        self._connect = connect or open_connection
        self._connection: psycopg.Connection | None = None
        self._known: _Known | None = None
        self._made = False  # this transaction made a table

    def load(self, batch: LoadBatch) -> Landed:
        """Load `batch` unless the ledger has it; see `Destination.load`."""
        try:
            return exactly_once.load(self, batch)
        except psycopg.Error as error:
            if not self._is_worth_another(error, batch):
                self._refuse(error)
        self.close()
        try:
            return exactly_once.load(self, batch)
        except psycopg.Error as error:
            self._refuse(error)

    def ledger(
        self, *, store_id: str, instance: str, generation: int, state: str, visit: int
    ) -> list[LedgerRow]:
        """Return the ledger's rows of one stay for this table, by batch number."""
        try:
            self._known = None  # others may have made a ledger, or dropped it
            self.look()
            if not self.has_ledger():
                return []
            stay = (store_id, instance, generation, state, visit)
            return ledger.rows(self.execute, stay, table=self.table)
        except psycopg.Error as error:
            self._refuse(error)

    def close(self) -> None:
        """Let go of the connection; the next call opens another one."""
        connection, self._connection = self._connection, None
        self._known, self._made = None, False
        if connection is not None:
            connection.close()

    def look(self) -> None:
        """Connect, and learn which columns the table has, unless that is known."""
        connection = self._open()
        if self._known is not None:
            return
        facts = self._look()
        if facts:
            schema = facts[0][0]
            self._check_kind(*facts[0][1:3])
        else:
            schema = self._place.schema or self._one("SELECT current_schema()")
            if schema is None:
                self._fail("no schema of the search path exists", "create one, then resume")
        place = Place(schema, self._place.name)
        table = tables.table_of(facts) if facts else None
        if table is not None and self.key:
            self._check_key(connection, place, table)
        there = Place(schema, "_statepipe_ledger").text
        has_ledger = self._one("SELECT to_regclass(%s) IS NOT NULL", there)
        self._known = _Known(place, facts, table, has_ledger)

    def has_ledger(self) -> bool:
        """Return True if the schema of the table had a ledger when it was looked at."""
        return self._looked_at().has_ledger

    def create_ledger(self) -> None:
        """Make the ledger's tables if they are not there."""
        if not self.has_ledger():
            self._making()
            with _others_may_be_first():
                ledger.create(self.execute, ledger.POSTGRES)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        """Run a statement of `io.ledger`, spelled as psycopg wants it, on our schema's ledger."""
        schema = Identifier(str(self._looked_at().place.schema)).as_string(None)
        sql = sql.replace("?", "%s")
        sql = sql.replace("_statepipe_", f"{schema.replace('%', '%%')}._statepipe_")
        return self._open().execute(sql, parameters)

    def fit(self, records: Records) -> Fitted[Column]:
        """Turn `records` into rows of the table as last looked at."""
        known = self._looked_at()
        try:
            return fit(records, table=known.table, key=self.key)
        except DataError:
            # Rejects are checked against the locked table; a refusal must be checked here.
            if self._look() == known.facts:
                raise
            raise ChangedError from None

    def begin(self, batch: LoadBatch) -> None:
        """Begin, and lock the table; it must be what was looked at."""
        known = self._looked_at()
        sql = _BEGIN.format(
            busy_ms=self._busy_ms, idle_ms=IDLE_MS, session=" ".join(_session(batch))
        )
        if known.table is not None:
            lock = SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(known.place.sql)
            sql = f"{sql};\n{lock.as_string(None)}"
        try:
            self._open().execute(sql)
        except errors.UndefinedTable:
            raise ChangedError from None
        if self._look() != known.facts:
            raise ChangedError

    def put(self, fitted: Fitted[Column]) -> None:
        """Write the rows, into a new table if there was none; add to `fitted.rejects`."""
        known = self._looked_at()
        if known.table is None and fitted.runs:
            self._making()
            with _others_may_be_first():
                self._open().execute(tables.create(known.place, fitted.table, key=self.key))
        writer = Writer(self._open(), place=known.place, table=fitted.table, key=self.key)
        try:
            for run in fitted.runs:
                fitted.rejects.update(writer.put(run))
        except errors.InvalidColumnReference:
            raise ChangedError from None  # the unique index of the key is gone
        except errors.ObjectNotInPrerequisiteState:
            self._fail_key()  # it is deferrable, which only a row finds out

    def commit(self) -> None:
        """Commit; an answer of the server is a yes or a no, no answer is neither."""
        connection = self._open()
        try:
            answer = connection.execute("COMMIT").statusmessage
        except psycopg.Error as error:
            if connection.info.transaction_status == TransactionStatus.IDLE:
                raise  # a deferred constraint, for example: rolled back, and said so
            raise InDoubtError from error
        if answer != "COMMIT":
            self._fail("the server rolled the transaction back", "resume")
        if self._made:
            self.forget()

    def rollback(self) -> None:
        """End the transaction if it is still there."""
        connection = self._connection
        if connection is None or connection.info.transaction_status == TransactionStatus.IDLE:
            return
        with suppress(psycopg.Error):
            connection.execute("ROLLBACK")

    def forget(self) -> None:
        """Look at the table again before the next try."""
        self._known, self._made = None, False

    def _open(self) -> psycopg.Connection:
        if self._connection is None:
            asked = parameters(self._address, name=self.name)
            self._connection = connect_by(self._connect, asked, name=self.name)
        return self._connection

    def _looked_at(self) -> _Known:
        assert self._known is not None, "look() comes first"
        return self._known

    def _look(self) -> list[Any]:
        return self._open().execute(tables.LOOK, (self._place.text,)).fetchall()

    def _one(self, sql: str, *values: object) -> Any:  # noqa: ANN401  (any value)
        row = self._open().execute(sql, values).fetchone()
        assert row is not None
        return row[0]

    def _making(self) -> None:
        self._made = True
        self._one("SELECT pg_advisory_xact_lock(%s)", _MAKING)

    def _check_kind(self, kind: str, persistence: str) -> None:
        if kind not in {"r", "p"}:
            self._fail(f"{self.table!r} is no table", "name a table in the machine")
        if persistence != "p":
            # After a crash of the server it would be empty, and its ledger would not.
            self._fail(
                f"{self.table!r} is not kept over a crash of the server",
                f"ALTER TABLE {self.table} SET LOGGED, then resume",
            )

    def _check_key(self, connection: psycopg.Connection, place: Place, table: Table) -> None:
        """Refuse a key that cannot be upserted by, before any batch, with the way out."""
        if missing := [name for name in self.key if name not in table]:
            self._fail_key(f"has no key column {missing[0]!r}")
        try:
            connection.execute(tables.probe(place, self.key))
        except errors.InvalidColumnReference:
            self._fail_key()

    def _fail_key(self, problem: str = "") -> NoReturn:
        columns = ", ".join(self.key)
        self._fail(
            f"table {self.table!r} {problem or f'has no unique index on {columns}'}",
            f"CREATE UNIQUE INDEX ON {self.table} ({columns}), then resume",
        )

    def _is_worth_another(self, error: psycopg.Error, batch: LoadBatch) -> bool:
        """Return True if a new connection may do better, once."""
        if isinstance(error, errors.LockNotAvailable):
            session, epoch = _session(batch)[1:]
            return bool(self._one(_END_SESSIONS, session, int(epoch)))
        is_lost = self._connection is not None and self._connection.closed
        return is_lost or isinstance(error, errors.DeadlockDetected)

    def _refuse(self, error: psycopg.Error) -> NoReturn:
        self.close()
        raise refusal(error, name=self.name, busy_ms=self._busy_ms) from error

    def _fail(self, reason: str, next_step: str) -> NoReturn:
        raise DataError(
            f"cannot load into {self.name}: {reason}",
            meaning="nothing of this batch was loaded",
            next_step=next_step,
        )


@contextmanager
def _others_may_be_first() -> Iterator[None]:
    """Take a table that somebody else made at the same time for a change of what was seen."""
    try:
        yield
    except (errors.DuplicateTable, errors.DuplicateObject, errors.UniqueViolation):
        raise ChangedError from None


def _session(batch: LoadBatch) -> tuple[str, str, str]:
    """Return the name of a batch's session, in words: ours, whose instance, which epoch."""
    whose = sha256(f"{batch.store_id}/{batch.instance}".encode()).hexdigest()[:16]
    return "statepipe", whose, str(batch.epoch)
