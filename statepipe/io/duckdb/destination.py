"""
The DuckDB destination: one table of one file, for the protocol of `io.exactly_once`.

    DuckdbDestination.load     one batch, one transaction
    DuckdbDestination.ledger   what the destination has, for reconciling with the plan

DuckDB lets one process open a file at a time. So the file is let go of between batches, every
`HELD_BATCHES_MAX` of them, for others who wait; and whoever finds it open waits, within bounds.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import duckdb

from statepipe.errors import DataError
from statepipe.io import arrowfit, drafts, exactly_once, ledger
from statepipe.io.arrow import as_table
from statepipe.io.arrowdeclared import holds
from statepipe.io.arrowvalues import Column
from statepipe.io.dbfile import identity, replaced, why_not
from statepipe.io.declared import Declared
from statepipe.io.duckdb import catalog
from statepipe.io.duckdb.catalog import Facts
from statepipe.io.duckdb.columns import (
    add_sql,
    column_of,
    create_sql,
    make_column,
    new_columns,
)
from statepipe.io.duckdb.connection import (
    Connect,
    open_connection,
    opened,
    refusal,
    sync_folder,
    turn,
)
from statepipe.io.duckdb.putting import ROWS, put
from statepipe.io.exactly_once import ChangedError, InDoubtError
from statepipe.io.fitting import Fitted, Why, check_apart, no_index, refuse_unkeyed
from statepipe.io.loads import Landed, LedgerRow, LoadBatch
from statepipe.io.rows import Records, is_table
from statepipe.io.table import check_name, check_table_name, quote

#: Longest wait for another process that has the file open, in milliseconds.
BUSY_MS: Final = 30_000

#: Batches loaded before the file is let go of, so that another process may have it.
HELD_BATCHES_MAX: Final = 16


class _Known(NamedTuple):
    """
    What was learned when the table was looked at.

    Attributes:
        target: The table that is written: the draft, if there is to be one.
        facts: Of the target.
        like: Of the table that a draft is to be like; those of the target without one.
    """

    target: str
    facts: Facts
    like: Facts

    @property
    def columns(self) -> dict[str, str]:
        """The columns of what is written, or will be; none if there is neither."""
        return self.facts.columns or self.like.columns


class DuckdbDestination:
    """
    One table of one DuckDB file.

    Used by one thread. The file is opened by the first call that needs it.

    Args:
        path: The file; made if it is not there, its folder is not.
        table: The table; made if it is not there.
        key: Columns of the key. Records replace rows with the same key, the last one
            in a batch wins. Without a key, records are appended.
        replace: Load into a draft, which `publish` puts in the place of what there was.
        declared: What columns the table has, by contract; None for those of the first batch.
        busy_ms: Longest wait for another process, in milliseconds.
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
        self._lacks: Mapping[str, Column] = {}  # columns that the table is to get
        self._busy_ms = busy_ms
        self._connect = connect or open_connection
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._file: tuple[int, int] | None = None
        self._known: _Known | None = None
        self._turn = ExitStack()
        self._held = 0  # batches since the file was opened
        self._refused: LoadBatch | None = None  # a constraint refused a row of this batch

    @property
    def is_shared(self) -> bool:
        """False: DuckDB lets one process open the file at a time."""
        return False

    def load(self, batch: LoadBatch) -> Landed:
        """Load `batch` unless the ledger has it; see `Destination.load`."""
        try:
            return exactly_once.load(self, batch)
        except duckdb.Error as error:
            self._refuse(error)

    def publish(self, batch: LoadBatch) -> None:
        """Put the draft in the table's place, if there is to be one; see `Destination.publish`."""
        try:
            if self._replace:
                exactly_once.publish(self, batch)
        except duckdb.Error as error:
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
        except duckdb.Error as error:
            self._refuse(error)

    def close(self) -> None:
        """Let go of the file; the next call opens it again."""
        connection, self._connection, self._known = self._connection, None, None
        self._held = 0
        if connection is not None:
            # What was acknowledged is durable by now, in the log if not in the file.
            with suppress(duckdb.Error, OSError):
                connection.close()
                sync_folder(self.path)  # or a log that was done with comes back after a power cut
        self._turn.close()

    @property
    def name(self) -> str:
        """The file, for errors."""
        return str(self.path)

    def look(self, batch: LoadBatch) -> None:
        """Learn which columns the table has."""
        ledger.refuse_missing(self.path, batch, table=self.table, name=self.name)
        if self._held >= HELD_BATCHES_MAX:
            self.close()
        known = self._survey(batch)
        columns = known.columns
        if self.key and columns and known != self._known:
            keyed = known.target if known.facts.sql else self.table
            if problem := catalog.key_problem(self.execute, keyed, columns, self.key):
                remedy = no_index(self.table, self.key, columns)
                self._fail(f"table {self.table!r} {problem}", remedy)
        is_to_be_copied = self._replace and known.like.sql and not known.facts.sql
        if is_to_be_copied and catalog.constraints(self.execute, self.table).refers_to(self.table):
            self._fail(
                f"a foreign key of table {self.table!r} leads to the table itself, and such rows"
                " DuckDB cannot replace in one transaction",
                "make the table again without that key, or load in another mode; then resume",
            )
        self._known = known

    def has_ledger(self) -> bool:
        """Return True if the file has a ledger."""
        return catalog.has_ledger(self.execute)

    def create_ledger(self) -> None:
        """Make the ledger's tables if they are not there."""
        ledger.create(self.execute, ledger.DUCKDB)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> duckdb.DuckDBPyConnection:
        """Run one statement."""
        return self._open().execute(sql, parameters)

    def fit(self, records: Records) -> Fitted[Column]:
        """Turn `records` into columns of the table as last looked at."""
        rejects: dict[int, Why] = {}
        given: dict[str, Any] = {}
        if is_table(records):
            records = as_table(records)
            check_apart(records.column_names)
            given = self._described(records.schema.empty_table())
        runs = arrowfit.split(records, rejects, key=self.key)
        known = {
            name: column_of(sql, given, name) for name, sql in self._looked_at().columns.items()
        }
        columns = known or new_columns(runs, given)
        if self._declared is not None:
            columns, self._lacks = self._declared.meet(
                known or None, name=self.table, make=make_column, holds=holds
            )
        check_apart(columns)
        return arrowfit.fit(runs, columns, rejects, key=self.key)

    def begin(self, batch: LoadBatch) -> None:
        """Begin; the table must be the one that was looked at."""
        self._turn.enter_context(turn(self.path, busy_ms=self._busy_ms))
        self.execute("BEGIN TRANSACTION")
        if self._survey(batch) != self._looked_at():
            raise ChangedError

    def put(self, batch: LoadBatch, fitted: Fitted[Column]) -> None:
        """Write the rows, into a new table if there was none; add to `fitted.rejects`."""
        known = self._looked_at()
        if not known.facts.sql and self._replace:
            drafts.refuse_lost(self.execute, batch, table=self.table)
            catalog.drop_drafts(self.execute, prefix=drafts.prefix_of(batch, self.table))
        elif not known.facts.sql:
            ledger.refuse_dropped(self.execute, batch, table=self.table, key=self.key)
        if not known.columns and self._declared is None:
            refuse_unkeyed(batch.records, self.key, is_any_fit=bool(fitted.runs))
        if not known.facts.sql and known.like.sql:
            catalog.make_like(self.execute, known.like, self.table, draft=known.target)
        elif not known.facts.sql and (fitted.runs or self._declared is not None):
            self.execute(create_sql(known.target, fitted.table, key=self.key))
        self._add(known.target, self._lacks)
        try:
            for run in fitted.runs:
                fitted.rejects.update(
                    put(
                        self._open(),
                        run,
                        table=known.target,
                        columns=fitted.table,
                        key=self.key,
                        is_careful=self._refused is batch,
                    )
                )
        except (duckdb.ConstraintException, duckdb.ConversionException) as error:
            if self._refused is batch:
                raise
            # The transaction is gone with the row. Again, and now the constraints are asked first.
            self._refused = batch
            raise ChangedError from error

    def swap(self, batch: LoadBatch) -> None:
        """Put the draft's rows in the place of the table's; without a draft there are none."""
        known = self._looked_at()
        there = catalog.survey(self.execute, self.table)
        if known.facts.sql:
            if self._declared is not None and there.sql:
                self._add(self.table, self._declared.lacking(there.columns, make=make_column))
            drafts.put_in_place(
                self.execute,
                self.table,
                draft=known.target,
                columns=list(known.columns),
                is_there=bool(there.sql),
            )
            return
        drafts.refuse_lost(self.execute, batch, table=self.table)
        if there.sql:
            self.execute(f"DELETE FROM {quote(self.table)}")  # noqa: S608  (quoted)

    def commit(self) -> None:
        """Commit; only a constraint is a clear no."""
        try:
            self.execute("COMMIT")
            sync_folder(self.path)
        except duckdb.Error as error:
            if "constraint" in str(error).lower():
                raise
            raise InDoubtError from error
        except OSError as error:
            raise InDoubtError from error
        finally:
            self._turn.close()
        self._held += 1
        self._refused = None

    def rollback(self) -> None:
        """End the transaction if there is one."""
        try:
            if self._connection is not None:
                with suppress(duckdb.Error):  # there is none
                    self._connection.execute("ROLLBACK")
        finally:
            self._turn.close()

    def forget(self) -> None:
        """Look at the table again before the next try."""
        self._known = None

    def _add(self, table: str, columns: Mapping[str, Column]) -> None:
        for name, column in columns.items():
            self.execute(add_sql(table, name, column))

    def _open(self) -> duckdb.DuckDBPyConnection:
        """Return the connection, on the file that is under the path now."""
        if self._connection is not None:
            if self._file == identity(self.path):
                return self._connection
            self.close()
            raise replaced(self.path)
        if reason := why_not(self.path):
            self._fail(*reason)
        self._connection = opened(self._connect, self.path, self._busy_ms)
        self._file = identity(self.path)
        return self._connection

    def _looked_at(self) -> _Known:
        assert self._known is not None, "look() comes first"
        return self._known

    def _survey(self, batch: LoadBatch) -> _Known:
        target = drafts.name_of(batch, self.table) if self._replace else self.table
        facts = catalog.survey(self.execute, target)
        like = facts if facts.sql or not self._replace else catalog.survey(self.execute, self.table)
        if not like.sql and catalog.is_view(self.execute, self.table):
            self._fail(f"{self.table!r} is a view", "name a table in the machine")
        return _Known(target, facts, like)

    def _described(self, empty: Any) -> dict[str, Any]:  # noqa: ANN401  (pyarrow.Table)
        """Return what DuckDB calls each column of a table, and its Arrow type."""
        if not empty.column_names:
            return {}
        self._open().register(ROWS, empty)
        described = self.execute(f"DESCRIBE SELECT * FROM {ROWS}").fetchall()  # noqa: S608  (ours)
        return {name: (sql, empty.schema.field(name).type) for name, sql, *_ in described}

    def _refuse(self, error: duckdb.Error) -> NoReturn:
        """Raise what a failing statement means; the transaction is gone by now."""
        self.close()
        raise refusal(error, path=self.path, busy_ms=self._busy_ms) from error

    def _fail(self, reason: str, next_step: str) -> NoReturn:
        raise DataError(
            f"cannot load into {self.path}: {reason}",
            meaning="nothing of this batch was loaded",
            next_step=next_step,
        )
