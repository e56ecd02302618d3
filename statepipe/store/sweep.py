"""
Staged files that no row names: what a death between staging and committing leaves behind.

    sweep   delete them, for one instance that the caller drives
"""

from statepipe.sqlite import sqlite3
from statepipe.store import staged
from statepipe.store.stage import Stage


def sweep(stage: Stage, connection: sqlite3.Connection, *, n: int, instance_id: str) -> None:
    """
    Delete the staged files of instance `n` that no row names.

    The caller holds the instance under a new epoch: what is in no row now never comes
    into one. The files are listed before the rows are read, or a batch that is just
    being committed would be taken for an orphan.

    Raises:
        StoreUnusable: If the disk fails.
    """
    names = stage.names(instance_key=instance_id)
    if names:
        kept = staged.files_of(connection, n)
        stage.remove([name for name in names if name not in kept])
