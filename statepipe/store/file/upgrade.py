"""
A copy of a store of an older release, kept before its schema is raised.

    keep_a_copy     `statepipe.db.v1`, whole and on the disk, before anything is changed

Nothing is locked meanwhile, so another process may raise the schema while the copy is made: then
the copy is of the newer version, and the one that the other has kept stays.
"""

import os
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from statepipe.clock import Clock
from statepipe.errors import StoreUnusable
from statepipe.sqlite import sqlite3
from statepipe.store.file import older
from statepipe.store.file.files import Files
from statepipe.store.file.schema import SCHEMA_VERSION, version_of


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
    older.refuse_at_work(connection, path, dead=older.dead_ones(connection, clock=clock))
    try:
        _copy(connection, path, version=version)
    except OSError as error:
        raise StoreUnusable(
            f"no copy of {path} can be kept before its schema is raised: {error.strerror}",
            meaning="nothing was changed; without the copy there would be no way back",
            next_step=f"df -h {path.parent}; ls -ld {path.parent}   # then repeat the command",
        ) from error


def _copy(connection: sqlite3.Connection, path: Path, *, version: int) -> None:
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
            if _version_in(path.with_name(partial)) == version:
                files.rename(partial, f"{path.name}.v{version}", at=folder)
            else:
                files.unlink(partial, at=folder)
        except BaseException:
            files.unlink(partial, at=folder)
            raise
        finally:
            files.close(made)
        files.fsync(folder)
    finally:
        os.close(folder)


def _version_in(copy: Path) -> int:
    uri = f"file:{quote(str(copy.absolute()))}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        return version_of(connection)
