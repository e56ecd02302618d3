"""
What `statepipe doctor` finds: the store's file, its content, its stage, who holds it.

    examine     every check, in the order people want to read them
    Check       one of them: what was found, and what to do about it

It looks and changes nothing. Nothing is wrong with an orphan: a file that no row names
is what a crash between two steps leaves, and costs room only.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

from statepipe.clock import Clock
from statepipe.errors import DataError, StatepipeError, StoreUnusable, is_full
from statepipe.model import Rejects, Staged
from statepipe.sharing import DEFAULT_QUEUE
from statepipe.sqlite import WAL_RESET_FIXED, sqlite3
from statepipe.store import liveness
from statepipe.store.care.checks import violations
from statepipe.store.care.owners import locked_away
from statepipe.store.file import disk
from statepipe.store.file.connection import translated
from statepipe.store.file.opening import open_reader
from statepipe.store.file.owner import name_of, whose
from statepipe.store.file.place import file_system
from statepipe.store.file.stamp import stamp_of
from statepipe.store.questions.outdated import outdated_ones
from statepipe.store.questions.roster import serves_of
from statepipe.store.questions.turns import unattended
from statepipe.store.stage.directory import Stage, stage_directory
from statepipe.units import plural

#: "error": a promise is broken. "unusable": the store cannot be used at all.
Severity = Literal["ok", "warning", "error", "unusable"]

_MODE: Final = 0o600
_FREE_BYTES_MIN: Final = 100 * 1024 * 1024
_WAL_BYTES_LARGE: Final = 64 * 1024 * 1024
_NAMED_MAX: Final = 5
#: Notices that may wait before somebody should ask why.
_WAITING_MAX: Final = 100

_BATCHES = """
SELECT i.id, b.number, b.records, b.bytes, b.sha256, b.format, b.file, b.body, b.cursor, b.read
  FROM batch b
  JOIN instance i ON i.n = b.instance
 ORDER BY b.instance
"""
_REJECTS = """
SELECT i.id, r.records, r.bytes, r.sha256, r.file, r.body
  FROM reject r
  JOIN instance i ON i.n = r.instance
 ORDER BY r.instance
"""

# Of an instance that is done nothing else is left in the stage.
_RAW = """
SELECT count(DISTINCT b.instance), count(*), coalesce(sum(b.bytes), 0)
  FROM batch b
  JOIN instance i ON i.n = b.instance
 WHERE i.status = 'done'
"""

_NOTICES = """
SELECT count(*) FILTER (WHERE done_at_ms IS NULL), count(*) FILTER (WHERE outcome = 'given up')
  FROM notice
"""

_HELD = "SELECT count(*) FROM instance WHERE worker = ?"


class Check(NamedTuple):
    """One thing that was looked at."""

    subject: str
    severity: Severity
    found: str
    fix: str = ""


def examine(path: Path, *, clock: Clock, env: str | None = None) -> Iterator[Check]:
    """Give each check of the store at `path` as soon as it is made; `env` is the one given."""
    yield _library()
    try:
        connection = open_reader(path)
    except StatepipeError as error:
        yield Check("store", "unusable", error.message, _next(error))
        return
    try:
        yield from _file(path, connection)
        yield _environment(stamp_of(connection), env)
        yield from _content(connection)
        store_id = connection.execute("SELECT store_id FROM store").fetchone()[0]
        stage = Stage(stage_directory(path, store_id=store_id))
        yield from _usable_stage(connection, stage, store=path)
        yield _raw(connection)
        yield from _drivers(connection, clock=clock)
        yield _outbox(connection)
    except sqlite3.Error as error:
        wrong = translated(error, path=path)
        severity: Severity = "unusable" if isinstance(wrong, StoreUnusable) else "error"
        yield Check("store", severity, wrong.message, _next(wrong))
        return
    finally:
        connection.close()
    yield _lock(path)
    yield from _disk(path)


def _environment(owner: str | None, given: str | None) -> Check:
    if owner is None:
        return Check("environment", "ok", "none: the store belongs to no environment")
    if owner == given:
        return Check("environment", "ok", owner)
    found = f"the store belongs to {owner}; every command but this one refuses it"
    return Check("environment", "warning", found, f"statepipe --env {owner} …")


def _library() -> Check:
    version = f"SQLite {sqlite3.sqlite_version}"
    if WAL_RESET_FIXED:
        return Check("library", "ok", version)
    return Check(
        "library",
        "warning",
        f"{version} has the WAL-reset bug; a lock of ours keeps it from happening, as long as"
        " only statepipe writes to the store",
        "pip install 'statepipe[sqlite]'",
    )


def _file(path: Path, connection: sqlite3.Connection) -> Iterator[Check]:
    kind = file_system(path) or "unknown"
    size = path.stat().st_size
    yield Check("store", "ok", f"{path}, {size:,} bytes, on {kind}")
    mode = disk.permissions(path)
    if mode & ~_MODE:
        yield Check("permissions", "warning", f"{mode:04o}", f"chmod {_MODE:o} {path}")
    else:
        yield Check("permissions", "ok", f"{mode:04o}")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    yield Check("format", "ok", f"version {version}, application id {application:#x}")
    wal = path.with_name(path.name + "-wal")
    wal_bytes = wal.stat().st_size if wal.exists() else 0
    if wal_bytes > _WAL_BYTES_LARGE:
        fix = f"fuser -v {path}   # a reader that does not end keeps it from being emptied"
        yield Check("wal", "warning", f"{wal_bytes:,} bytes", fix)
    else:
        yield Check("wal", "ok", f"{wal_bytes:,} bytes")


def _content(connection: sqlite3.Connection) -> Iterator[Check]:
    verdicts = [row[0] for row in connection.execute("PRAGMA quick_check(5)")]
    if verdicts != ["ok"]:
        fix = "stop every statepipe, copy the store and its -wal away, then restore a backup"
        yield Check("quick_check", "unusable", "; ".join(verdicts), fix)
        return
    yield Check("quick_check", "ok", "ok")
    instances = connection.execute("SELECT count(*) FROM instance").fetchone()[0]
    broken = violations(connection)
    if broken:
        fix = "restore a backup; something else than statepipe has changed the store"
        yield Check("journal", "error", _named(broken), fix)
    else:
        yield Check("journal", "ok", f"of {instances:,} instances, without a break")


def _outbox(connection: sqlite3.Connection) -> Check:
    waiting, given_up = connection.execute(_NOTICES).fetchone()
    found = f"{waiting:,} wait, {given_up:,} of the last 30 days were given up"
    if given_up or waiting > _WAITING_MAX:
        fix = "statepipe notify ls   # says why; statepipe notify test TARGET tries one"
        return Check("notices", "warning", found, fix)
    return Check("notices", "ok", found)


def _usable_stage(connection: sqlite3.Connection, stage: Stage, *, store: Path) -> Iterator[Check]:
    folder = stage.directory.parent
    owner = name_of(store.stat().st_uid)
    try:
        locked = list(locked_away(stage.directory, store=store))
        if locked:
            first = f"{locked[0]} {whose(locked[0])}"
            left = f", and {len(locked) - 1:,} more below {folder}" if len(locked) > 1 else ""
            said = f"{first}{left}: {owner}, whose the store is, cannot stage or read there"
            yield Check("stage", "error", said, f"chown -R {owner}: {folder}   # as root")
        else:
            yield from _stage(connection, stage)
    except (OSError, StoreUnusable) as error:
        reason = error.message if isinstance(error, StoreUnusable) else error.strerror
        said = f"{folder} cannot be looked into: {reason}; it {whose(folder)}"
        yield Check("stage", "error", said, f"sudo -u {owner} statepipe doctor")


def _stage(connection: sqlite3.Connection, stage: Stage) -> Iterator[Check]:
    # Before the rows are read, or a batch that is just being committed were an orphan.
    there = _files(connection, stage)
    bad: list[str] = []
    count = 0
    for id_, reference in _references(connection):
        count += 1
        if reference.file is not None:
            there.discard(reference.file)
        try:
            stage.read(reference)
        except DataError as error:
            bad.append(f"{error.message} ({id_})")
    if bad:
        fix = "statepipe rewind ID --to the state that staged it"
        yield Check("stage", "error", _named(bad), fix)
    else:
        yield Check("stage", "ok", f"{count:,} batches and rejects, as they were committed")
    if there:
        said = f"{len(there):,} files that no row names; they cost room only: {_named(list(there))}"
        yield Check("orphans", "warning", said, "harmless; a resume of the instance removes them")


def _raw(connection: sqlite3.Connection) -> Check:
    instances, batches, size = connection.execute(_RAW).fetchone()
    lying = f"{plural(batches, 'batch')}, {plural(size, 'byte')}"
    of = "instance that is" if instances == 1 else "instances that are"
    return Check("raw", "ok", f"{lying}, kept of {instances:,} {of} done")


def _references(connection: sqlite3.Connection) -> Iterator[tuple[str, Staged | Rejects]]:
    for id_, *facts in connection.execute(_BATCHES):
        yield id_, Staged(*facts, None)  # type: ignore[call-arg]  # nine columns, nine fields
    for id_, records, size, sha256, file, body in connection.execute(_REJECTS):
        yield id_, Rejects(records, size, sha256, file, body, {})


def _files(connection: sqlite3.Connection, stage: Stage) -> set[str]:
    if not stage.directory.is_dir():
        return set()
    ids = connection.execute("SELECT id FROM instance").fetchall()
    return {name for (id_,) in ids for name in stage.names(instance_key=id_)}


def _drivers(connection: sqlite3.Connection, *, clock: Clock) -> Iterator[Check]:
    alive = 0
    for worker in liveness.workers(connection):
        held = connection.execute(_HELD, (worker.n,)).fetchone()[0]
        if not liveness.is_dead(worker, clock=clock):
            alive += 1
            yield Check(
                "driver",
                "ok",
                f"process {worker.pid} on {worker.host} drives {plural(held, 'instance')}",
            )
        elif held:
            left = plural(held, "instance")
            said = f"process {worker.pid} on {worker.host} is dead and left {left}"
            fix = "statepipe resume --all   # or: statepipe worker"
            yield Check("driver", "warning", said, fix)
    if not alive:
        yield Check("driver", "ok", "no process drives instances right now")
    for old in outdated_ones(connection, liveness.workers(connection), clock=clock):
        yield Check("driver", "warning", old.said, old.fix)
    yield from _queues(connection, clock=clock)


def _queues(connection: sqlite3.Connection, *, clock: Clock) -> Iterator[Check]:
    alive = [w for w in liveness.workers(connection) if not liveness.is_dead(w, clock=clock)]
    served = {queue for worker in alive for queue in serves_of(worker)[1] or ()}
    # Whoever has no worker at all, and only queues that nobody named, drives by `run`.
    ours = served | ({DEFAULT_QUEUE} if not served else set())
    for queue, count in unattended(connection, ours).items():
        are = "is" if count == 1 else "are"
        said = f"{plural(count, 'instance')} {are} ready in queue {queue}, and nobody works on it"
        yield Check("queue", "warning", said, f"statepipe worker --queue {queue}")


def _lock(path: Path) -> Check:
    holder = disk.lock_holder(path)
    if holder is None:
        return Check("lock", "ok", "nobody holds the write lock")
    who = f"process {holder.pid} ({holder.name}) holds the write lock"
    if holder.stopped:
        return Check("lock", "error", f"{who}, and it is stopped", f"kill -CONT {holder.pid}")
    return Check("lock", "ok", who)


def _disk(path: Path) -> Iterator[Check]:
    free = disk.free_bytes(path)
    severity: Severity = "warning" if free < _FREE_BYTES_MIN else "ok"
    fix = "free some space" if severity == "warning" else ""
    yield Check("room", severity, f"{free:,} bytes free", fix)
    try:
        took_us = disk.fsync_us(path.parent)
    except OSError as error:
        said = f"no file can be made in {path.parent}: {error.strerror}"
        look = "ls -ld {}   # who may write here?"
        fix = "df -h {}   # free some space" if is_full(error) else look
        yield Check("fsync", "unusable", said, fix.format(path.parent))
        return
    if file_system(path) == "tmpfs":
        said = "the store is in memory: it does not outlive the machine"
        yield Check("fsync", "warning", said, "--store PATH on a disk")
    else:
        yield Check("fsync", "ok", f"{took_us / 1_000:.2f} ms, the least a commit can take")


def _next(error: StatepipeError) -> str:
    """Return what to do about an error that would send people to where they are."""
    if error.next_step.startswith("statepipe doctor"):
        return "stop every statepipe, copy the store and its -wal away, then restore a backup"
    return error.next_step


def _named(things: list[str]) -> str:
    shown = ", ".join(things[:_NAMED_MAX])
    left = len(things) - _NAMED_MAX
    return shown if left <= 0 else f"{shown} and {left:,} more"
