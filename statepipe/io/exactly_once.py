"""
One batch into one table, exactly once: step 4 of the protocol in docs/reliability.md.

    load, publish              what every database with transactions does with a batch
        look, fit              values are judged before anything is locked
        turn                   batches before it are loaded by now
        begin                  a bounded wait, then Busy
        the ledger             made if it is not there, but not once it had batches of the stay
        the fence row          our epoch, where the stored one is not higher; else Fenced
        the ledger row         there already: the same batch is answered from it, another
                               one is a LedgerMismatch; so is one that appends where an
                               earlier generation of the stay has
        put, swap              what a constraint of the table refuses is rejected
        commit                 in doubt: a new connection, the same again, and the ledger
                               says whether it had landed
    Database                   what it asks of one

What constraints refuse depends on what else is in the table, so a second call could
judge otherwise. Therefore the ledger row keeps the verdict (position, rule, path and
message of each reject), and an already loaded batch is answered from it alone.
"""

import shlex
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from statepipe.errors import DataError
from statepipe.io import ledger
from statepipe.io.fitting import Fitted
from statepipe.io.loads import Landed, LoadBatch
from statepipe.io.rows import Records

#: How often one batch is begun again: after a COMMIT in doubt, or when the table changed
#: between judging the values and locking it.
TRIES_MAX: Final = 5


#: What is done between the ledger row and COMMIT.
Write = Callable[[Fitted[Any]], None]


class InDoubtError(Exception):
    """COMMIT failed in a way that tells neither yes nor no; raised from what it said."""


class ChangedError(Exception):
    """The table or the ledger changed after it was looked at; nothing was written."""


class Database(Protocol):
    """
    One table of one database, on one connection.

    Every method may raise errors of its library, which pass through `load`.

    Attributes:
        name: The database, for errors.
        table: The table, as the machine spells it; ledger rows are kept under it.
    """

    @property
    def name(self) -> str:
        """The database, for errors."""

    @property
    def table(self) -> str:
        """The table, as the machine spells it; ledger rows are kept under it."""

    def look(self, batch: LoadBatch) -> None:
        """Connect if need be, and learn which columns the table for `batch` has."""

    def has_ledger(self) -> bool:
        """Return True if the database has a ledger for this table."""

    def create_ledger(self) -> None:
        """Make the ledger's tables if they are not there."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:  # noqa: ANN401  (a cursor)
        """Run a statement of `io.ledger`, whose placeholders are question marks."""

    def fit(self, records: Records) -> Fitted[Any]:
        """Turn `records` into rows of the table as last looked at."""

    def begin(self, batch: LoadBatch) -> None:
        """
        Begin the transaction of `batch`.

        Raises:
            ChangedError: If the table is not what was last looked at.
        """

    def put(self, batch: LoadBatch, fitted: Fitted[Any]) -> None:
        """Write the rows, into a new table if there was none; add to `fitted.rejects`."""

    def swap(self, batch: LoadBatch) -> None:
        """Put what was loaded before `batch` in the place of what the table has."""

    def commit(self) -> None:
        """
        Make all of it durable.

        Raises:
            InDoubtError: If nobody can say whether it is.
        """

    def rollback(self) -> None:
        """End the transaction if there is one; never fails."""

    def forget(self) -> None:
        """Look at the table again before the next try."""

    def close(self) -> None:
        """Let go of the connection; the next call opens another one."""


def load(database: Database, batch: LoadBatch) -> Landed:
    """
    Load `batch` unless the ledger has it.

    Raises:
        Fenced: If the database has seen a higher epoch of this instance.
        LedgerMismatch: If the ledger has another batch under this identity, or this one would
            append again what an earlier generation has; or if it is gone, and had batches of
            the same stay.
        DataError: If the batch cannot be loaded as a whole; nothing of it was.
    """

    def write(fitted: Fitted[Any]) -> None:
        database.put(batch, fitted)

    return _certainly(database, batch, write)


def publish(database: Database, batch: LoadBatch) -> None:
    """
    Put what was loaded in the place of what the table had, unless the ledger has that.

    Args:
        database: Where the batches were loaded.
        batch: Without records, numbered behind the last one; its digest stands for all.

    Raises:
        Fenced, LedgerMismatch, DataError: As `load`.
    """

    def write(_fitted: Fitted[Any]) -> None:
        database.swap(batch)

    _certainly(database, batch, write)


def _certainly(database: Database, batch: LoadBatch, write: Write) -> Landed:
    cause: BaseException | None = None
    for _ in range(TRIES_MAX):
        try:
            return _once(database, batch, write)
        except ChangedError:
            database.forget()
        except InDoubtError as doubt:
            cause = doubt.__cause__
            database.close()
    # What a full or failing disk says at COMMIT is said nowhere else.
    said = f": {' '.join(str(cause).split())}" if cause else ""
    raise DataError(
        f"batch {batch.number} could not be loaded into {database.name} in {TRIES_MAX} tries{said}",
        meaning="nobody can say yet whether it landed; the ledger will, when it is tried again",
        next_step=f"statepipe resume {shlex.quote(batch.instance)}"
        "   # when the destination works again",
    ) from cause


def _once(database: Database, batch: LoadBatch, write: Write) -> Landed:
    # Values are judged before anything is locked. A batch that is there already is not
    # judged at all: the ledger has the verdict.
    database.look(batch)
    there = database.has_ledger() and ledger.find(database.execute, batch, table=database.table)
    fitted = None if there else database.fit(batch.records)
    batch.turn()
    try:
        database.begin(batch)
        # Behind the lock: nobody removes it between this look and the making of a new one.
        is_removed = batch.begun and not database.has_ledger()
        landed = None if is_removed else _inside(database, batch, fitted, write)
    except BaseException:
        database.rollback()
        raise
    if is_removed:
        database.rollback()
        _refuse_removed(database, batch)
    if landed is not None:
        database.rollback()
        return landed
    database.commit()
    rejects = fitted.rejects if fitted else {}
    count = ledger.count_records(batch.records) - len(rejects)
    return Landed(count, ledger.entries_of(batch.records, rejects), already=False)


def _refuse_removed(database: Database, batch: LoadBatch) -> None:
    # Whoever loaded the batches before this one may have made it since it was looked at.
    database.forget()
    database.look(batch)
    if database.has_ledger():
        raise ChangedError
    ledger.refuse_removed(batch, table=database.table, name=database.name)


def _inside(
    database: Database, batch: LoadBatch, fitted: Fitted[Any] | None, write: Write
) -> Landed | None:
    """Do everything between BEGIN and COMMIT; a batch that was there is returned."""
    execute, table = database.execute, database.table
    database.create_ledger()
    ledger.fence(execute, batch)
    count = ledger.count_records(batch.records)
    if not ledger.enter(execute, batch, table=table, records=count):
        return ledger.find(execute, batch, table=table)
    if batch.appends and batch.generation > 1:
        ledger.refuse_appended(execute, batch, table=table)
    if fitted is None:
        raise ChangedError
    write(fitted)
    if fitted.rejects:
        loaded = count - len(fitted.rejects)
        ledger.settle(execute, batch, table=table, records=loaded, rejects=fitted.rejects)
    return None
