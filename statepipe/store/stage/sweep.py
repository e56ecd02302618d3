"""
Staged files that no row names: what a death between staging and committing leaves behind.

    sweep             of one instance, which the caller drives
    sweep_family      of one that is done, and of its children
    sweep_finished    of instances that are done, and of which nothing is driven any more

A file is listed before the rows are read, or a batch that is just being committed would
be taken for an orphan.
"""

from statepipe.sqlite import sqlite3
from statepipe.store.stage import rows as staged
from statepipe.store.stage.directory import Stage, epoch_of, folder_of
from statepipe.store.stage.lock import sweeping


def sweep(
    stage: Stage, connection: sqlite3.Connection, *, n: int, instance_id: str, epoch: int
) -> None:
    """
    Delete the staged files of instance `n`, of `epoch` or before, that no row names.

    The caller holds, or has just ended, the instance under `epoch`: what is in no row now
    never comes into one. Should it have slept meanwhile, others may be staging for a
    later epoch; theirs is not ours to judge.

    Raises:
        StoreUnusable: If the disk fails.
    """
    names = stage.names(instance_key=instance_id)
    if names:
        kept = staged.files_of(connection, n)
        stage.remove([name for name in names if name not in kept and epoch_of(name) <= epoch])


def sweep_family(
    stage: Stage, connection: sqlite3.Connection, *, n: int, instance_id: str, epoch: int
) -> None:
    """Do as `sweep`, for an instance that is done and its children that have ended."""
    sweep(stage, connection, n=n, instance_id=instance_id, epoch=epoch)
    for number, name, newest in staged.ended_children(connection, n):
        sweep(stage, connection, n=number, instance_id=name, epoch=newest)


def sweep_finished(stage: Stage, connection: sqlite3.Connection) -> None:
    """
    Delete the staged files that no row names in folders of instances that are done.

    Such a file is left if a process dies after it has committed `done` and before it has
    tidied up; nobody drives the instance again, so nobody else would find it.

    Raises:
        StoreUnusable: If the disk fails.
    """
    with sweeping(stage.directory) as alone:
        if alone:  # else a copy is being made, whose files come before its row
            _sweep_finished(stage, connection)


def _sweep_finished(stage: Stage, connection: sqlite3.Connection) -> None:
    listed = stage.all_names()
    if not listed:
        return
    unfinished = "SELECT id FROM instance WHERE status <> 'done'"
    open_folders = {folder_of(name) for (name,) in connection.execute(unfinished)}
    kept = staged.all_files(connection)
    stage.remove(
        [name for name in listed if name.partition("/")[0] not in open_folders and name not in kept]
    )
