"""
The name of a session says whose batch it carries, so that a successor can end it.

    name_of            as its `application_name`: ours, whose instance, which epoch
    end_predecessors   end the sessions of those who were taken over
"""

from hashlib import sha256
from typing import Final

import psycopg

from statepipe.io.loads import LoadBatch

_END: Final = """
SELECT pg_terminate_backend(pid)
  FROM pg_stat_activity
 WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
   AND CASE WHEN application_name ~ '^statepipe [0-9a-f]{16} [0-9]+$'
            THEN split_part(application_name, ' ', 2) = %s
             AND split_part(application_name, ' ', 3)::bigint <= %s
       END
"""


def name_of(batch: LoadBatch) -> str:
    """Return the name of the session that loads `batch`; no character of it is special."""
    return f"statepipe {_whose(batch)} {batch.epoch}"


def end_predecessors(connection: psycopg.Connection, batch: LoadBatch, *, epoch_max: int) -> int:
    """
    End the sessions of our role with the batch's instance; return how many.

    Args:
        connection: One of our role.
        batch: Whose instance it is.
        epoch_max: The highest epoch that is ended. A lower one than the batch's can do
            nothing any more that counts, because the batch's was committed before anybody
            acted under it. The same one was our own, before its connection was lost. One
            that commits just now has committed or not: the ledger tells.
    """
    return len(connection.execute(_END, (_whose(batch), epoch_max)).fetchall())


def _whose(batch: LoadBatch) -> str:
    return sha256(f"{batch.store_id}/{batch.instance}".encode()).hexdigest()[:16]
