"""
The schema: made by sqlite-utils migrations, raised to this release's version on opening.

    ensure_schema   a fresh file, or one of an older release, becomes one of ours

`checkpoints/README.md` documents it column by column; `migrations/` has the statements. A
release never edits a migration that shipped; it adds one and raises `SCHEMA_VERSION`.
"""

from pathlib import Path
from typing import Final

from statepipe.clock import Clock
from statepipe.sqlite import APPLICATION_ID, sqlite3
from statepipe.store.file import older
from statepipe.store.file.migrations import (
    children,
    copies,
    datasets,
    figures,
    first_release,
    groups,
    jobs,
    limits,
    replays,
    shapes,
    signals,
    steering,
    triggers,
    turns,
)
from statepipe.store.metrics.recount import fill

SCHEMA_VERSION: Final = 2


def ensure_schema(
    connection: sqlite3.Connection, path: Path, *, store_id: str, clock: Clock
) -> None:
    """
    Bring the schema to this release's version, in one transaction; do nothing if it is there.

    The caller has set the pragmas, made sure that the file is ours or empty, and kept a
    copy of one that has something to lose.

    Raises:
        Busy: A process of the older release has begun to drive it; nothing was changed.
    """
    version = version_of(connection)
    if version == SCHEMA_VERSION:
        return
    dead: older.Dead = older.dead_ones(connection, clock=clock) if version else frozenset()
    # sqlite-utils costs 60 ms of import, and only a first open or an upgrade needs it.
    from sqlite_utils import Database, Migrations  # noqa: PLC0415  (imported when used)

    migrations = Migrations("statepipe")

    @migrations(name="0001_first_release")
    def make(db: Database) -> None:
        for statement in first_release.STATEMENTS:
            db.execute(statement)
        db.execute(
            "INSERT INTO store (only_row, store_id, created_at_ms) VALUES (1, ?, ?)",
            (store_id, clock.now_ms()),
        )

    @migrations(name="0002_figures")
    def watch(db: Database) -> None:
        later = (
            *(figures, shapes, groups, replays, copies, limits, signals, children, triggers),
            datasets,
            steering,
            jobs,
            turns,
        )
        for statement in (each for module in later for each in module.STATEMENTS):
            db.execute(statement)
        fill(connection)

    # IMMEDIATE around everything, because Migrations.apply begins deferred and
    # then several first opens at once end in "database is locked".
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Looked at before, but not locked since: another process may have raised it, or begun.
        if version_of(connection) not in (0, SCHEMA_VERSION):
            older.refuse_at_work(connection, path, dead=dead)
        migrations.apply(Database(connection, execute_plugins=False))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION:d}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema version of the open file; 0 if it is new."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version
