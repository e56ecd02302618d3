"""
Tables in the making, for loads that replace what a table has.

    name_of     the draft of one load
    prefix_of   what the names of all drafts of an instance for a table begin with
    refuse_lost a load whose draft is gone cannot go on
    made_again  the statement that makes a table or its unique index, for a draft
    put_in_place   the draft's rows for those of the table, or the draft in its place

In the mode `replace` batches go into a draft, exactly once like any other, under the ledger
of the table that is to be. When all of them are there, `publish` puts the draft in its
place in one transaction, which has a ledger row of its own: the one behind the last batch.
Readers see what was, and then what is.
"""

import re
import shlex
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Final

from statepipe.errors import DataError, LedgerMismatch
from statepipe.io import ledger
from statepipe.io.loads import LoadBatch
from statepipe.io.table import quote

_NAME: Final = r"""("(?:[^"]|"")*"|\[[^\]]*\]|`(?:[^`]|``)*`|'(?:[^']|'')*'|[^\s(]+)"""

#: SQLite and DuckDB keep the text of both from the name on, behind words of their own.
_TABLE: Final = re.compile(rf"CREATE TABLE\s+{_NAME}(.*)", re.DOTALL)
_INDEX: Final = re.compile(rf"CREATE UNIQUE INDEX\s+{_NAME}\s+ON\s+{_NAME}(.*)", re.DOTALL)

Execute = Callable[[str, Sequence[Any]], Any]


def name_of(batch: LoadBatch, table: str) -> str:
    """Return the name of the draft that `batch` belongs into."""
    stay = f"{batch.generation} {batch.state} {batch.visit}"
    return prefix_of(batch, table) + _short(stay, chars=8)


def prefix_of(batch: LoadBatch, table: str) -> str:
    """Return what the names of the drafts begin with that this instance makes for `table`."""
    whose = _short(f"{batch.store_id} {batch.instance} {table}", chars=16)
    return f"_statepipe_draft_{whose}_"


def refuse_lost(execute: Execute, batch: LoadBatch, *, table: str) -> None:
    """
    Refuse to begin a draft if batches of the same load are in the ledger already.

    Raises:
        LedgerMismatch: If the draft that these were loaded into is not there any more.
    """
    if ledger.has_loaded(execute, batch, table=table):
        where = f"{shlex.quote(batch.instance)} --to {shlex.quote(batch.state)}"
        raise LedgerMismatch(
            f"batches of instance {batch.instance!r} were loaded into a draft of table {table!r}"
            " that is not there any more",
            meaning=f"nothing was loaded, and {table!r} has what it had",
            next_step=f"statepipe rewind {where}   # all of it is loaded again",
        )


def made_again(sql: str, *, table: str, draft: str, number: int) -> str:
    """
    Return the statement `sql`, of which the database made `table` or an index of it, for `draft`.

    Args:
        sql: As the database keeps it.
        table: The table, for the error.
        draft: The name of what is to be like it.
        number: Of the statement, for the name of an index.

    Raises:
        DataError: If it cannot be said again.
    """
    if made := _TABLE.fullmatch(sql):
        return f"CREATE TABLE {quote(draft)} {made[2]}"
    if indexed := _INDEX.fullmatch(sql):
        index = quote(f"{draft}_{number}")
        return f"CREATE UNIQUE INDEX {index} ON {quote(draft)} {indexed[3]}"
    raise DataError(
        f"no table can be made like {table!r}: {sql[:80]!a}",
        meaning="nothing was loaded",
        next_step="make it again with a plain CREATE TABLE, or load in another mode",
    )


def put_in_place(
    execute: Execute, table: str, *, draft: str, columns: Sequence[str], is_there: bool
) -> None:
    """
    Put the rows of `draft` in the place of those of `table`, or the draft in its place.

    The table stays the same one, with its indexes, triggers and views.

    Args:
        execute: Runs a statement in the caller's transaction.
        table: The table.
        draft: What was loaded.
        columns: Of the draft.
        is_there: True if the table is there.

    Raises:
        DataError: If a trigger of the table keeps rows back.
    """
    if not is_there:
        execute(f"ALTER TABLE {quote(draft)} RENAME TO {quote(table)}", ())
        return
    names = ", ".join(map(quote, columns))
    execute(f"DELETE FROM {quote(table)}", ())  # noqa: S608  (quoted)
    (expected,) = execute(f"SELECT count(*) FROM {quote(draft)}", ()).fetchone()  # noqa: S608  (quoted)
    moved = execute(
        f"INSERT INTO {quote(table)} ({names}) SELECT {names} FROM {quote(draft)}",  # noqa: S608  (quoted)
        (),
    ).rowcount
    if moved != expected:
        raise DataError(
            f"a trigger of {table!r} kept {expected - moved} rows of {expected} back",
            meaning=f"nothing was replaced; {table!r} has what it had",
            next_step="let the trigger refuse rows while they are loaded, or drop it; then resume",
        )
    execute(f"DROP TABLE {quote(draft)}", ())


def _short(text: str, *, chars: int) -> str:
    return sha256(text.encode()).hexdigest()[:chars]
