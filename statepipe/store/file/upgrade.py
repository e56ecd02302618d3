"""
A copy of a store of an older release, kept before its schema is raised.

    keep_a_copy     `statepipe.db.v1`, whole and on the disk, before anything is changed
"""

import os
from pathlib import Path

from statepipe.clock import Clock
from statepipe.errors import Busy, StoreUnusable
from statepipe.sqlite import sqlite3
from statepipe.store.file.files import Files
from statepipe.store.file.schema import SCHEMA_VERSION, version_of
from statepipe.store.liveness import Worker, is_dead

# As version 1 has them: every later version can answer it, too.
_WORKERS = """
SELECT n, name, host, pid, pid_started, pid_space, boot_id, lease_ms, beat, deadline_boot_ms,
       stopped_at_ms, 0, NULL, started_at_ms
  FROM worker
"""


def keep_a_copy(connection: sqlite3.Connection, path: Path, *, clock: Clock) -> None:
    """
    Copy a store of an older schema beside itself; do nothing for one that is new or current.

    Raises:
        Busy: A live process of the older release drives it; nothing was changed.
        StoreUnusable: The copy cannot be made; nothing was changed.
    """
    version = version_of(connection)
    if version in (0, SCHEMA_VERSION):
        return
    for worker in (Worker(*row) for row in connection.execute(_WORKERS)):
        if not is_dead(worker, clock=clock):
            raise Busy(
                f"process {worker.pid} on {worker.host} drives {path} with an older release",
                meaning="nothing was changed; this release has to change the store's schema first",
                next_step=f"stop process {worker.pid}, then repeat the command",
            )
    try:
        _copy(connection, path, name=f"{path.name}.v{version}")
    except OSError as error:
        raise StoreUnusable(
            f"no copy of {path} can be kept before its schema is raised: {error.strerror}",
            meaning="nothing was changed; without the copy there would be no way back",
            next_step=f"df -h {path.parent}; ls -ld {path.parent}   # then repeat the command",
        ) from error


def _copy(connection: sqlite3.Connection, path: Path, *, name: str) -> None:
    # VACUUM INTO takes an empty file, so that it is its owner's only from the start. SQLite
    # writes it, by the connection that is open: no descriptor of the store is opened (F4).
    files = Files()
    partial = f"{path.name}.{files.token()}"
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        made = files.create(partial, at=folder)
        try:
            connection.execute("VACUUM INTO ?", (str(path.with_name(partial)),))
            files.fsync(made)
            files.rename(partial, name, at=folder)
        except BaseException:
            files.unlink(partial, at=folder)
            raise
        finally:
            files.close(made)
        files.fsync(folder)
    finally:
        os.close(folder)
