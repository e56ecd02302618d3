"""
Small real stores for tests: opened, with workers and instances in them, and what to commit there.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

from statepipe.model import Attachment, Change, Checkpoint, Detail, Rejects, Staged, Stay
from statepipe.sqlite import sqlite3
from statepipe.store.codec import encode
from statepipe.store.file.connection import Store
from statepipe.store.file.opening import open_store
from statepipe.store.liveness import Worker
from statepipe.store.metrics.counters import Counters
from statepipe.store.steering import instances as steering
from statepipe.store.steering.instances import NewInstance
from statepipe.store.walk import claims, resuming, workers
from statepipe.store.walk.ready import Scope
from statepipe.store.walk.workers import Identity
from statepipe.testing import ManualClock

ALL = Scope()

_opened: list[Store] = []


def opened(folder: Path, clock: ManualClock | None = None) -> Store:
    """Open the store of `folder`, making it if it is missing; closed when the test ends."""
    store = open_store(folder / "statepipe.db", create=True, clock=clock or ManualClock())
    _opened.append(store)
    return store


def close_all() -> None:
    """Close what tests have opened and left, as a process that dies would: no checkpoint."""
    while _opened:
        store = _opened.pop()
        try:
            store.connection.execute("SELECT 1")
        except sqlite3.ProgrammingError:
            continue  # closed by the test
        store.connection.close()
        if store._guard is not None:
            store._guard.close()


def registered(store: Store, *, lease_ms: int = 30_000) -> Worker:
    """Register this process as a worker; each call makes another one."""
    return workers.register(store, Identity.of_this_process(), lease_ms=lease_ms)


def dead(store: Store, *, pid_started: int = 1) -> Worker:
    """Register a worker with our process number, born at another moment: it cannot live."""
    me = Identity.of_this_process()
    other = Identity(host=me.host, pid=os.getpid(), pid_started=pid_started, pid_space=me.pid_space)
    return workers.register(store, other)


def created(store: Store, *ids: str) -> list[int]:
    """Create instances of a machine `m`, at rest in `s0`; return their numbers."""
    definition = steering.define(store, machine="m", version=1, digest="d1", body="{}")
    new = [NewInstance(each, encode({})) for each in ids]
    made = steering.create(store, machine="m", definition=definition, initial="s0", instances=new)
    return [*made.numbers]


def claimed(store: Store, worker: Worker, *, scope: Scope = ALL) -> list[Checkpoint]:
    """Claim whatever is ready."""
    return claims.claim_ready(store, worker, scope=scope, limit=1_000)


def resumed(store: Store, worker: Worker, instance: str = "a") -> Checkpoint:
    """Claim one instance by name."""
    checkpoint = resuming.claim_resume(
        store, worker, instance_id=instance, reason="a test", definition=None
    )
    assert checkpoint is not None
    return checkpoint


def plain(at: Checkpoint, target: str, *, status: str = "ready", at_ms: int = 1) -> Change:
    """Return the move that says nothing but where to."""
    kept = (status, at.state, "m", 0, 0, None)
    return Change(at.n, at.epoch, at.seq, target, at_ms, "ok", 3, None, *kept)


def stolen(store: Store, instance: str, *, state: str = "s0", by: Worker | None = None) -> None:
    """Take an instance in `state` over, as another process would: `by`, or whoever it was."""
    with store.write() as connection:
        connection.execute(
            "UPDATE instance SET epoch = epoch + 1, seq = seq + 1, change = 'claim',"
            " worker = coalesce(?, worker) WHERE id = ?",
            (by and by.n, instance),
        )
        connection.execute(
            "INSERT INTO journal (instance, seq, epoch, generation, at_ms, kind, event, source,"
            " target) SELECT n, seq, epoch, generation, 1, 'claim', 'takeover', state, state"
            " FROM instance WHERE id = ?",
            (instance,),
        )
        counters = Counters()
        counters.count("attempts", "m", state, "lost")
        counters.count("resumes", "m", label="crash")
        counters.write(connection)


def detail(at: Checkpoint, **facts: object) -> Detail:
    """Return a detail that changes nothing and lets the instance go, but for `facts`."""
    unchanged: dict[str, Any] = dict.fromkeys(Detail._fields)
    unchanged |= {"kind": "move", "attempt": at.attempt, "lost": at.lost, "batches": at.batches}
    unchanged |= {"entered_at_ms": at.entered_at_ms, "picture": at.picture, "drifts": ()}
    return Detail(**{**unchanged, **facts})


def detailed(at: Checkpoint, target: str, *, status: str = "ready", **facts: object) -> Change:
    """Return a change with a detail."""
    return plain(at, target, status=status)._replace(detail=detail(at, **facts))


def failing(at: Checkpoint) -> Change:
    """Return the move to `failed`."""
    return detailed(
        at,
        "failed",
        status="failed",
        failed_state=at.state,
        error_class="E",
        error="broken",
        finished_at_ms=1,
    )


def waiting(at: Checkpoint, *, clock: ManualClock, delay_ms: int) -> Change:
    """Return the change that parks an instance for `delay_ms`."""
    return detailed(
        at,
        at.state,
        kind="retry",
        attempt=at.attempt + 1,
        wake_at_ms=clock.now_ms() + delay_ms,
        wake_delay_ms=delay_ms,
        wake_boot_ms=clock.boot_ms() + delay_ms,
        wake_boot_id=clock.boot_id,
    )


def batch(number: int, *, file: str | None = None, rejects: Rejects | None = None) -> Staged:
    """Return a small staged batch whose body is its number."""
    body = str(number).encode()
    return Staged(
        number=number,
        records=1,
        bytes=len(body),
        sha256=hashlib.sha256(body).digest(),
        format="msgpack",
        file=file,
        body=None if file else body,
        cursor=encode(number),
        read=1,
        rejects=rejects,
    )


def batched(at: Checkpoint, worker: Worker, staged: Staged) -> tuple[Change, Attachment]:
    """Return the change that commits a batch."""
    change = detailed(at, at.state, kind="batch", worker=worker.n, batches=at.batches + 1)
    return change, Attachment(stay_of(at), at.state, staged=staged)


def stay_of(at: Checkpoint) -> Stay:
    """Return the first stay of this generation in the state."""
    return Stay(at.generation, at.state, 1)


def row(store: Store, instance: str = "a") -> dict[str, Any]:
    """Return an instance's row, by column."""
    cursor = store.connection.execute("SELECT * FROM instance WHERE id = ?", (instance,))
    return dict(zip((each[0] for each in cursor.description), cursor.fetchone(), strict=True))


def count(store: Store, table: str) -> int:
    """Return how many rows a table has."""
    found: int = store.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return found


def dump(connection: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table."""
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    return {
        name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)
        for (name,) in names
    }


def count_batches(connection: sqlite3.Connection, instance: int, stay: Stay) -> int:
    """Return how many batches a stay has committed."""
    sql = (
        "SELECT count(*) FROM batch"
        " WHERE instance = ? AND generation = ? AND state = ? AND visit = ?"
    )
    count: int = connection.execute(sql, (instance, *stay)).fetchone()[0]
    return count
