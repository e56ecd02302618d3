"""
Back to work: one instance by name, finished or not, with a fresh budget of attempts.

    claim_resume    for the worker that will drive it
    refuse_resume   why it cannot be; nothing is changed
    take_back       the same in a transaction of the caller's
"""

import shlex
from collections.abc import Sequence

from statepipe.errors import Refused
from statepipe.model import Checkpoint, Status
from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.liveness import Worker
from statepipe.store.metrics.counters import Counters
from statepipe.store.walk import children, workers
from statepipe.store.walk.children import Adoption
from statepipe.store.walk.claims import (
    dead_workers,
    load_checkpoint,
    not_found,
    refuse_if_driven,
)
from statepipe.store.walk.interventions import JOURNAL_OF_STEERING, TAKE_OVER
from statepipe.store.walk.ready import others_hold
from statepipe.store.walk.replays import refuse_replaced

_RESUME = f"""
UPDATE instance
   SET {TAKE_OVER},
       status         = 'ready',
       definition     = coalesce(:definition, definition),
       params         = coalesce(:params, params),
       state          = :state,
       attempt        = 0,
       lost           = 0,
       worker         = :worker,
       awaits_turn    = concurrency_key IS NOT NULL AND :worker IS NULL,
       -- one that is being cancelled goes on with that, and then rests where it was cancelled
       failed_state   = CASE status WHEN 'ready' THEN failed_state END,
       error_class    = NULL,
       error          = NULL,
       finished_at_ms = NULL,
       entered_at_ms  = CASE WHEN state = :state THEN entered_at_ms ELSE :now_ms END,
       change         = 'resume'
 WHERE n = :n
"""  # noqa: S608  (made of constants)


def claim_resume(  # noqa: PLR0913  (what a resume may change)
    store: Store,
    worker: Worker,
    *,
    instance_id: str,
    reason: str | None,
    definition: int | None,
    params: tuple[bytes, bytes] | None = None,
    adopts: Sequence[Adoption] = (),
    alone: bool = False,
    limit: int | None = None,
) -> Checkpoint | None:
    """
    Take one unfinished instance back to the state it rests in, or failed in, with a fresh budget.

    Returns None if as many others as may be have its key: it is ready again, and waits for its
    turn.

    Args:
        store: The open store.
        worker: Who will drive it.
        instance_id: Which one.
        reason: Why, for the journal.
        definition: Number of the definition to adopt, or None to keep its own.
        params: Its parameters as they were read, and what they become; None to keep them.
        adopts: Those below it that go on by other definitions.
        alone: True to leave its children as they are.
        limit: How many may have its key at a time; None for any number.

    Raises:
        NotFound: No such instance.
        Refused: It is done, did part of a stay that was left, has other parameters than were
            read, or one of `adopts` has moved.
        Busy: A live process drives it; the message names it.
    """
    dead = dead_workers(store, me=worker)
    with store.write() as connection:
        rests, has = _rests(connection, instance_id, me=worker, dead=dead)
        if params is not None and params[0] != has:
            raise Refused(
                f"somebody else gave {instance_id!r} other parameters meanwhile",
                meaning="nothing was changed",
                next_step=f"statepipe inspect {shlex.quote(instance_id)}"
                "   # then the same command again",
            )
        if children.have_moved(connection, adopts):
            raise Refused(
                f"what does part of the work of {instance_id!r} has moved meanwhile",
                meaning="nothing was changed",
                next_step=f"statepipe inspect {shlex.quote(instance_id)}"
                "   # then the same command again",
            )
        workers.keep(connection, worker, clock=store.clock)
        waits = limit is not None and others_hold(connection, rests[0]) >= limit
        checkpoint = take_back(
            store,
            connection,
            rests,
            worker=None if waits else worker.n,
            reason=reason,
            definition=definition,
            params=params and params[1],
            adopts=adopts,
            alone=alone,
        )
        return None if waits else checkpoint


def refuse_resume(store: Store, worker: Worker | None, instance_id: str) -> None:
    """
    Refuse what cannot be taken back to work as it stands now; change nothing.

    Raises as `claim_resume`, whose transaction looks once more.
    """
    dead = dead_workers(store, me=worker)
    with store.translating():
        _rests(store.connection, instance_id, me=worker, dead=dead)


def _rests(
    connection: sqlite3.Connection,
    instance_id: str,
    *,
    me: Worker | None,
    dead: dict[tuple[int, int], str],
) -> tuple[tuple[int, str, str, str | None, int], bytes]:
    """Return one that can be taken back: as `rests` of `take_back`, and its parameters."""
    row = connection.execute(
        "SELECT n, status, state, failed_state, definition, params, worker"
        " FROM instance WHERE id = ?",
        (instance_id,),
    ).fetchone()
    if row is None:
        raise not_found(connection, instance_id)
    n, status, state, failed_state, began_with, params, holder = row
    refuse_replaced(connection, n, instance_id)
    children.refuse_unawaited(connection, n, instance_id)
    if status == Status.DONE:
        raise Refused(
            f"instance {instance_id!r} is done",
            meaning="nothing was changed; its data is loaded",
            next_step=f"statepipe rewind {shlex.quote(instance_id)} --to STATE"
            "   # to do part of it again",
        )
    if holder is not None and (me is None or holder != me.n):
        refuse_if_driven(connection, instance_id, holder=holder, dead=dead)
    return (n, status, state, failed_state, began_with), params


def take_back(  # noqa: PLR0913  (likewise)
    store: Store,
    connection: sqlite3.Connection,
    rests: tuple[int, str, str, str | None, int],
    *,
    worker: int | None,
    reason: str | None,
    definition: int | None,
    params: bytes | None = None,
    adopts: Sequence[Adoption] = (),
    alone: bool = False,
) -> Checkpoint:
    """
    Resume an instance inside the caller's transaction, for `worker`, or for whoever claims it.

    So are its children that have not done their work, for whoever claims them, unless it is
    taken back `alone`; those of them in `adopts` by other definitions. `rests` is its number,
    status, state and failed state, and the number of its definition.
    """
    n, status, state, failed_state, began_with = rests
    target = failed_state if status in (Status.FAILED, Status.CANCELLED) else state
    facts = {
        "n": n,
        "state": target,
        "worker": worker,
        "definition": definition,
        "params": params,
        "now_ms": store.clock.now_ms(),
    }
    connection.execute(_RESUME, facts)
    event = "resume" if definition in (None, began_with) else "adopt"
    connection.execute(
        JOURNAL_OF_STEERING, {"n": n, "event": event, "source": state, "note": reason}
    )
    checkpoint = load_checkpoint(connection, n)
    counters = Counters()
    cause = "manual" if event == "resume" else "migration"
    counters.count("resumes", checkpoint.machine, label=cause)
    if state != target:
        counters.transition(checkpoint.machine, state, event, checkpoint.state)
    counters.write(connection)
    if alone:
        return checkpoint
    stay = (n, checkpoint.generation, checkpoint.state)
    children.let_go_on(connection, *stay, at_ms=store.clock.now_ms())
    numbers = {each.n: each.definition for each in adopts}
    for child in children.to_take_back(connection, *stay):
        now = numbers.get(child[0])
        take_back(
            store, connection, child, worker=None, reason=reason, definition=now, adopts=adopts
        )
    children.adopt(connection, adopts, at_ms=store.clock.now_ms())
    return checkpoint
