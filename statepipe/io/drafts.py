"""
Tables in the making, for loads that replace what a table has.

    name_of     the draft of one load
    prefix_of   what the names of all drafts of an instance for a table begin with
    refuse_lost a load whose draft is gone cannot go on

In the mode `replace` batches go into a draft, exactly once like any other, under the ledger
of the table that is to be. When all of them are there, `publish` puts the draft in its
place in one transaction, which has a ledger row of its own: the one behind the last batch.
Readers see what was, and then what is.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from statepipe.errors import LedgerMismatch
from statepipe.io import ledger
from statepipe.io.loads import LoadBatch


def name_of(batch: LoadBatch, table: str) -> str:
    """Return the name of the draft that `batch` belongs into."""
    stay = f"{batch.generation} {batch.state} {batch.visit}"
    return prefix_of(batch, table) + _short(stay, chars=8)


def prefix_of(batch: LoadBatch, table: str) -> str:
    """Return what the names of the drafts begin with that this instance makes for `table`."""
    whose = _short(f"{batch.store_id} {batch.instance} {table}", chars=16)
    return f"_statepipe_draft_{whose}_"


def refuse_lost(
    execute: Callable[[str, Sequence[Any]], Any], batch: LoadBatch, *, table: str
) -> None:
    """
    Refuse to begin a draft if batches of the same load are in the ledger already.

    Raises:
        LedgerMismatch: If the draft that these were loaded into is not there any more.
    """
    stay = (batch.store_id, batch.instance, batch.generation, batch.state, batch.visit)
    rows = ledger.rows(execute, stay, table=table)
    if any(row.records for row in rows if row.number != batch.number):
        raise LedgerMismatch(
            f"batches of instance {batch.instance!r} were loaded into a draft of table {table!r}"
            " that is not there any more",
            meaning=f"nothing was loaded, and {table!r} has what it had",
            next_step=f"statepipe rewind {batch.instance}   # to the loading state: all of it"
            " is loaded again",
        )


def _short(text: str, *, chars: int) -> str:
    return sha256(text.encode()).hexdigest()[:chars]
