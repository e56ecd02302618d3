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

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NoReturn, Self, TypeVar

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier

from statepipe.errors import DataError, LedgerMismatch
from statepipe.io import drafts, exactly_once, ledger
from statepipe.io.declared import Declared
from statepipe.io.exactly_once import ChangedError, InDoubtError
from statepipe.io.fitting import Fitted, LastFitted, no_index, refuse_unkeyed
from statepipe.io.loads import Landed, LedgerRow, LoadBatch
from statepipe.io.postgres import catalog, sessions
from statepipe.io.postgres import table as tables
from statepipe.io.postgres.catalog import Facts, Known
from statepipe.io.postgres.connection import (
    Connect,
    connect_by,
    open_connection,
    parameters,
    refusal,
)
from statepipe.io.postgres.declared import holds, make
from statepipe.io.postgres.drafts import drop_drafts, make_like, put_in_place
from statepipe.io.postgres.table import Column, Place, Table
from statepipe.io.postgres.values import fit
from statepipe.io.postgres.writer import Writer
from statepipe.io.rows import Records
from statepipe.io.table import check_name

Result = TypeVar("Result")

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


class PostgresDestination:
    """
    One table of one PostgreSQL database, from version 12 on.

    Used by one thread. Connected to by the first call that needs it.

    Args:
        address: A postgresql:// URL; its password may be a reference.
        name: The database for errors; no secret.
        table: The table, "orders" or "sales.orders"; made if it is not there.
        key: Columns of the key. Records replace rows with the same key, the last one
            in a batch wins. Without a key, records are appended.
        replace: Load into a draft, which `publish` puts in the place of what there was.
        declared: What columns the table has, by contract; None for those of the first batch.
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
        replace: bool = False,
        declared: Declared | None = None,
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
        self._replace = replace
        self._declared = declared
        self._busy_ms = busy_ms
        self._connect = connect or open_connection
        self._connection: psycopg.Connection | None = None
        self._is_new = False  # the connection has not begun a transaction yet
        self._known: Known | None = None
        self._last_fitted = LastFitted[Column]()
        self._draft = ""  # the name of the draft, if there is to be one
        self._schema = ""  # of the table, the draft and the ledger
        self._made = False  # this transaction made a table
        self._all_new = True  # no key was there before its batch, as far as was seen

    @property
    def is_shared(self) -> bool:
        """True: whoever comes second waits for the first one's lock."""
        return True

    def load(self, batch: LoadBatch) -> Landed:
        """Load `batch` unless the ledger has it; see `Destination.load`."""
        return self._try_twice(exactly_once.load, batch)

    def publish(self, batch: LoadBatch) -> None:
        """Put the draft in the table's place, if there is to be one; see `Destination.publish`."""
        if self._replace:
            self._try_twice(exactly_once.publish, batch)

    def ledger(
        self, *, store_id: str, instance: str, generation: int, state: str, visit: int
    ) -> list[LedgerRow]:
        """Return the ledger's rows of one stay for this table, by batch number."""
        try:
            self.forget()
            if not catalog.has_ledger(self._open(), self._survey().schema):
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

    def look(self, batch: LoadBatch) -> None:
        """Connect, and learn which columns the table has, unless that is known."""
        draft = drafts.name_of(batch, self.table) if self._replace else ""
        if self._known is not None and draft == self._draft:
            return
        self._draft = draft
        facts = self._survey()
        is_there = bool(facts.draft if draft else facts.table)
        place = Place(facts.schema, draft or self._place.name)
        if facts.columns is not None and self.key:
            keyed = place if is_there else Place(facts.schema, self._place.name)
            asked = (keyed, facts.columns, self.key)
            if problem := catalog.key_problem(self._open(), *asked, busy_ms=self._busy_ms):
                self._fail_key(problem, facts.columns)
        has_ledger = catalog.has_ledger(self._open(), facts.schema)
        table, lacks = facts.columns, dict[str, Column]()
        if self._declared is not None:
            table, lacks = self._declared.meet(table, name=self.table, make=make, holds=holds)
        self._known = Known(place, facts, is_there, table, lacks, has_ledger)

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
        schema = Identifier(self._schema).as_string(None)
        sql = sql.replace("?", "%s")
        sql = sql.replace("_statepipe_", f"{schema.replace('%', '%%')}._statepipe_")
        return self._open().execute(sql, parameters)

    def fit(self, records: Records) -> Fitted[Column]:
        """Turn `records` into rows of the table as last looked at."""
        known = self._looked_at()
        if (fitted := self._last_fitted.get(records, known.table)) is not None:
            return fitted
        try:
            required = [name for name in known.facts.required if name not in self.key]
            fitted = fit(records, table=known.table, key=self.key, required=required)
        except DataError:
            # Rejects are checked against the locked table; a refusal must be checked here.
            if self._survey() == known.facts:
                raise
            raise ChangedError from None
        return self._last_fitted.keep(records, fitted)

    def begin(self, batch: LoadBatch) -> None:
        """Begin, and lock the table; it must be what was looked at."""
        known = self._looked_at()
        if self._is_new:
            # Whoever was taken over may be asleep in its transaction, and we would wait for it.
            sessions.end_predecessors(self._open(), batch, epoch_max=batch.epoch - 1)
            self._is_new = False
        sql = _BEGIN.format(busy_ms=self._busy_ms, idle_ms=IDLE_MS, session=sessions.name_of(batch))
        if known.is_there:
            # Two who first have the weaker lock would wait for each other to add columns.
            mode = SQL("ACCESS EXCLUSIVE" if known.lacks else "ROW EXCLUSIVE")
            lock = SQL("LOCK TABLE {} IN {} MODE").format(known.place.sql, mode)
            sql = f"{sql};\n{lock.as_string(None)}"
        try:
            self._open().execute(sql)
        except errors.UndefinedTable:
            raise ChangedError from None
        if self._survey() != known.facts:
            raise ChangedError
        self._last_fitted.forget()  # what the table refuses is added to it

    def put(self, batch: LoadBatch, fitted: Fitted[Column]) -> None:
        """Write the rows, into a new table if there was none; add to `fitted.rejects`."""
        known = self._looked_at()
        if not known.is_there:
            self._make(batch, fitted)
        self._add(known.place, known.lacks)
        writer = Writer(
            self._open(),
            place=known.place,
            table=fitted.table,
            key=self.key,
            all_new=self._all_new,
        )
        try:
            for run in fitted.runs:
                fitted.rejects.update(writer.put(run))
        except errors.InvalidColumnReference:
            raise ChangedError from None  # the unique index of the key is gone
        except errors.ObjectNotInPrerequisiteState:
            # A deferrable one is no help, which only a row finds out.
            self._fail_key(
                f"has no unique index on {', '.join(self.key)} that is not deferrable", self.key
            )
        self._all_new = writer.all_new

    def swap(self, batch: LoadBatch) -> None:
        """Put the draft's rows in the place of the table's; without a draft there are none."""
        known = self._looked_at()
        if not known.is_there:
            drafts.refuse_lost(self.execute, batch, table=self.table)
        self._made = True
        place = Place(self._schema, self._place.name)
        if self._declared is not None and known.is_there and known.facts.table:
            there = known.facts.names
            self._add(place, self._declared.lacking(there, make=make))
        put_in_place(
            self._open(),
            place,
            draft=known.place if known.is_there else None,
            columns=list(known.table or ()),
        )

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
            self._is_new = True
        return self._connection

    def _looked_at(self) -> Known:
        assert self._known is not None, "look() comes first"
        return self._known

    def _survey(self) -> Facts:
        facts = catalog.survey(self._open(), self._place, draft=self._draft)
        if facts.problem:
            self._fail(*facts.problem)
        self._schema = facts.schema
        return facts

    def _make(self, batch: LoadBatch, fitted: Fitted[Column]) -> None:
        """Make what is to be written: the table, or a draft like it."""
        known = self._looked_at()
        try:
            if self._replace:
                drafts.refuse_lost(self.execute, batch, table=self.table)
            else:
                ledger.refuse_dropped(self.execute, batch, table=self.table, key=self.key)
        except LedgerMismatch:
            if self._survey() != known.facts:
                raise ChangedError from None  # another batch has just made it, and told the ledger
            raise
        if self._replace:
            drop_drafts(self._open(), self._schema, prefix=drafts.prefix_of(batch, self.table))
        if known.table is None:
            refuse_unkeyed(batch.records, self.key, is_any_fit=bool(fitted.runs))
        self._making()
        if self._replace and known.facts.table:
            make_like(self._open(), Place(self._schema, self._place.name), draft=known.place)
        elif fitted.runs or self._declared is not None:
            with _others_may_be_first():
                self._open().execute(tables.create(known.place, fitted.table, key=self.key))

    def _add(self, place: Place, columns: Table) -> None:
        if columns:
            self._made = True
            self._open().execute(tables.add(place, columns))

    def _making(self) -> None:
        self._made = True
        self._open().execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING,))

    def _fail_key(self, problem: str, columns: Collection[str]) -> NoReturn:
        self._fail(f"table {self.table!r} {problem}", no_index(self.table, self.key, columns))

    def _try_twice(self, step: Callable[[Self, LoadBatch], Result], batch: LoadBatch) -> Result:
        """Do `step`, and again on a new connection if that may do better."""
        try:
            return step(self, batch)
        except psycopg.Error as error:
            again = False
            with suppress(psycopg.Error):
                again = self._is_worth_another(error, batch)
            if not again:
                self._refuse(error)
        self.close()
        try:
            return step(self, batch)
        except psycopg.Error as error:
            self._refuse(error)

    def _is_worth_another(self, error: psycopg.Error, batch: LoadBatch) -> bool:
        """Return True if a new connection may do better, once."""
        if isinstance(error, errors.LockNotAvailable):
            return sessions.end_predecessors(self._open(), batch, epoch_max=batch.epoch) > 0
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
