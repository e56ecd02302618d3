"""
Staged files that no row names: what a death between staging and committing leaves behind.

    sweep             of one instance, which the caller drives
    tidy              the same; it is for the caller to say what could not be removed
    sweep_family      of one that is done, and of its children
    sweep_finished    of instances that are done, and of which nothing is driven any more

A file is listed before the rows are read, or a batch that is just being committed would
be taken for an orphan.

What cannot be removed costs room only, and whatever the sweep comes after is committed: so a
disk that fails here is logged, and stops nothing.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from statepipe.errors import StoreUnusable
from statepipe.sqlite import sqlite3
from statepipe.store.stage import rows as staged
from statepipe.store.stage.directory import Stage, epoch_of, folder_of
from statepipe.store.stage.lock import sweeping

_log: Final = logging.getLogger(__name__)


def sweep(
    stage: Stage, connection: sqlite3.Connection, *, n: int, instance_id: str, epoch: int
) -> None:
    """Do as `tidy`, and log it if the disk fails."""
    with _going_on(f"of {instance_id!r}"):
        tidy(stage, connection, n=n, instance_id=instance_id, epoch=epoch)


def tidy(
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
    """
    with _going_on("of instances that are done"), sweeping(stage.directory) as alone:
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


@contextmanager
def _going_on(whose: str) -> Iterator[None]:
    try:
        yield
    except StoreUnusable as error:
        _log.warning(
            "staged files %s that nobody needs any more may be left: %s   next: %s",
            whose,
            error.message,
            error.next_step,
        )
