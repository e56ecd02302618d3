"""
The right to drive an instance: epoch + 1, committed before anything is done.

    claim_ready     whatever is ready, of the machines or ids asked for
    wished          what this worker holds and somebody asked something of

One instance by name is claimed by `resuming`.

There is no recovery mode: the statement that claims a new instance also claims
one whose worker is dead. A timer fires by the boot clock on the boot that armed
it; on another boot when the wall clock has passed it, and at most one delay after
start-up (R6 of docs/reliability.md).
"""

import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from statepipe.errors import Busy, NotFound
from statepipe.model import Checkpoint
from statepipe.sqlite import sqlite3
from statepipe.store import liveness
from statepipe.store.file.connection import Store
from statepipe.store.liveness import Worker
from statepipe.store.metrics.counters import Counters
from statepipe.store.walk import workers
from statepipe.store.walk.interventions import ASKED_FOR, NO_TIMER
from statepipe.store.walk.ready import Ready, Scope, find_ready

#: Of each definition nothing is driven yet.
NOTHING: Final[Mapping[int, int]] = MappingProxyType({})

_SELECT = f"""
SELECT i.n, i.id, d.machine, i.definition, i.params, i.created_at_ms, i.epoch, i.seq,
       i.generation, i.status, i.state, i.attempt, i.lost, i.batches, i.picture, i.failed_state,
       i.error_class, i.error, i.entered_at_ms,
       {ASKED_FOR}, i.priority
  FROM instance i
  JOIN definition d ON d.n = i.definition
 WHERE i.n = ?
"""  # noqa: S608  (made of constants)

_TAKE = f"""
UPDATE instance
   SET seq           = seq + 1,
       epoch         = epoch + 1,
       lost          = lost + (worker IS NOT NULL),
       worker        = :worker,
       awaits_turn   = 0,
       {NO_TIMER},
       updated_at_ms = :now_ms,
       change        = 'claim'
 WHERE n = :n
"""  # noqa: S608  (made of constants)

_JOURNAL_OF_CLAIM = """
INSERT INTO journal (instance, seq, epoch, generation, at_ms, kind, event, source, target, note,
                     waited_ms)
SELECT n, seq, epoch, generation, updated_at_ms, 'claim', :event, state, state, :note, :waited_ms
  FROM instance
 WHERE n = :n
"""


def claim_ready(
    store: Store,
    worker: Worker,
    *,
    scope: Scope,
    limit: int,
    under_way: Mapping[int, int] = NOTHING,
    each_max: int | None = None,
) -> list[Checkpoint]:
    """
    Claim up to `limit` instances that are ready, due, or held by a dead worker.

    Whose turn it is, `under_way` and `each_max` are as of `ready.find_ready`. Costs no write if
    there is none. Raises as `Store.write`.
    """
    dead = dead_workers(store, me=worker)
    if not find_ready(store, dead=dead, scope=scope, limit=1):
        return []
    with store.write() as connection:
        workers.keep(connection, worker, clock=store.clock)
        living = liveness.living(connection, dead=dead)
        found = find_ready(
            store,
            dead={each: name for each, name in dead.items() if each[0] not in living},
            scope=scope,
            limit=limit,
            under_way=under_way,
            each_max=each_max,
        )
        counters = Counters()
        taken = [_take(store, connection, worker, each, counters) for each in found]
        counters.write(connection)
        return taken


def wished(connection: sqlite3.Connection, worker: Worker) -> list[int]:
    """Return the instances this worker holds that somebody asked to cancel or pause."""
    sql = "SELECT n FROM instance WHERE worker = ? AND request IS NOT NULL"
    return [n for (n,) in connection.execute(sql, (worker.n,))]


def find_checkpoint(connection: sqlite3.Connection, n: int) -> Checkpoint | None:
    """Read one instance as last committed; None if it was pruned."""
    row = connection.execute(_SELECT, (n,)).fetchone()
    return None if row is None else Checkpoint(*row)


def load_checkpoint(connection: sqlite3.Connection, n: int) -> Checkpoint:
    """Read one that the caller has found in the transaction, or snapshot, that it is in."""
    found = find_checkpoint(connection, n)
    assert found is not None, "nobody prunes it meanwhile"
    return found


def not_found(connection: sqlite3.Connection, instance_id: str) -> NotFound:
    """Return the error for an id that is no instance's in the store; it may be a group's."""
    sql = "SELECT 1 FROM instance_group WHERE id = ?"
    if connection.execute(sql, (instance_id,)).fetchone() is not None:
        group = shlex.quote(instance_id)
        return NotFound(
            f"{instance_id!r} is a group of instances, and no instance",
            meaning="nothing was changed",
            next_step=f"statepipe ls --group {group}   # its instances;"
            f" or: statepipe inspect {group}, resume --group {group}, cancel --group {group}",
        )
    return NotFound(
        f"there is no instance {instance_id!r} in this store",
        meaning="nothing was changed",
        next_step="statepipe ls   # shows what is there; --store names another store",
    )


def refuse_if_driven(
    connection: sqlite3.Connection,
    instance_id: str,
    *,
    holder: int,
    dead: dict[tuple[int, int], str],
) -> None:
    """
    Raise unless worker `holder` is among the dead.

    Raises:
        Busy: It lives; the message names its process.
    """
    if holder not in liveness.living(connection, dead=dead):
        return
    worker = next(w for w in liveness.workers(connection) if w.n == holder)
    raise Busy(
        f"instance {instance_id!r} is driven by process {worker.pid} on {worker.host}",
        meaning="nothing was changed; that process goes on",
        next_step=f"statepipe inspect {shlex.quote(instance_id)}"
        f"   # or stop process {worker.pid} first",
    )


def dead_workers(store: Store, *, me: Worker | None) -> dict[tuple[int, int], str]:
    """Return the names of dead workers by (number, beat at which they were found dead)."""
    return {
        (worker.n, worker.beat): worker.name
        for worker in liveness.workers(store.connection)
        if (me is None or worker.n != me.n) and liveness.is_dead(worker, clock=store.clock)
    }


def _take(
    store: Store, connection: sqlite3.Connection, worker: Worker, ready: Ready, counters: Counters
) -> Checkpoint:
    n, now_ms = ready.n, store.clock.now_ms()
    connection.execute(_TAKE, {"n": n, "worker": worker.n, "now_ms": now_ms})
    checkpoint = load_checkpoint(connection, n)
    machine, state = checkpoint.machine, checkpoint.state
    facts = {"n": n, "event": "claim", "note": worker.name, "waited_ms": None}
    if ready.since_ms is None:
        facts |= {"event": "takeover", "note": f"{worker.name} from {ready.lost_by}"}
        counters.count("attempts", machine, state, "lost")
        counters.count("resumes", machine, label="crash")
    else:
        facts["waited_ms"] = waited_ms = max(0, now_ms - ready.since_ms)
        counters.time("queue", machine, us=waited_ms * 1_000, at_ms=now_ms, instance=n)
    connection.execute(_JOURNAL_OF_CLAIM, facts)
    return checkpoint._replace(due_at_ms=ready.since_ms) if ready.is_due else checkpoint
