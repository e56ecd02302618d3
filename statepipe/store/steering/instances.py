"""
What people do to instances: create and rewind; one transaction each.

Every intervention is journaled with its reason. What is asked of one that may be driven,
its end or a pause, is `asking.py`'s.
"""

import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from statepipe.errors import Refused
from statepipe.model import Plan, Status, Stay
from statepipe.store.file.connection import Store
from statepipe.store.lookups import groups
from statepipe.store.lookups.groups import NewGroup
from statepipe.store.lookups.lookup import definition_of
from statepipe.store.metrics.counters import Counters
from statepipe.store.stage.rows import has_batches, insert_plan
from statepipe.store.walk import children, datasets
from statepipe.store.walk.admission import admit, judged
from statepipe.store.walk.asking import being_cancelled, make_way
from statepipe.store.walk.claims import (
    dead_workers,
    load_checkpoint,
    not_found,
    refuse_if_driven,
)
from statepipe.store.walk.interventions import JOURNAL_OF_STEERING, TAKE_OVER
from statepipe.store.walk.making import New, insert
from statepipe.store.walk.replays import refuse_replaced, refuse_replayed
from statepipe.terms import ANY, Terms

_DEFINE = """
INSERT INTO definition (machine, version, digest, body, created_at_ms)
VALUES (:machine, :version, :digest, :body, :now_ms)
    ON CONFLICT DO NOTHING
"""

_FIND = "SELECT n, status, state, failed_state, worker FROM instance WHERE id = ?"

_REWIND = f"""
UPDATE instance
   SET {TAKE_OVER},
       generation     = generation + 1,
       definition     = coalesce(:definition, definition),
       status         = 'ready',
       awaits_turn    = concurrency_key IS NOT NULL,
       state          = :state,
       attempt        = 0,
       lost           = 0,
       batches        = 0,
       picture        = :picture,
       worker         = NULL,
       failed_state   = NULL,
       error_class    = NULL,
       error          = NULL,
       entered_at_ms  = :now_ms,
       finished_at_ms = NULL,
       change         = 'rewind'
 WHERE n = :n
   AND seq = :seq
"""  # noqa: S608  (made of constants)


class NewInstance(NamedTuple):
    """What `create` needs of one instance; `params` are encoded by the codec."""

    id: str
    params: bytes
    partition: str | None = None  # its key, if it is one of a group
    priority: int = 0
    key: str | None = None  # of `concurrency`


class Made(NamedTuple):
    """
    What became of instances that were to be made.

    Attributes:
        numbers: Theirs; empty if their key is taken, and they are not to be made then.
        cancelled: Ids of those that were cancelled for them, and whether that is done.
    """

    numbers: Sequence[int]
    cancelled: Mapping[str, bool]


def define(store: Store, *, machine: str, version: int, digest: str, body: str) -> int:
    """Return the number of the definition, writing it down if it is new."""
    found = definition_of(store.connection, machine, digest)
    if found is None:
        facts = {
            "machine": machine,
            "version": version,
            "digest": digest,
            "body": body,
            "now_ms": store.clock.now_ms(),
        }
        with store.write() as connection:
            connection.execute(_DEFINE, facts)
        found = definition_of(store.connection, machine, digest)
        assert found is not None, "it was just written"
    return found


def create(
    store: Store,
    *,
    machine: str,
    definition: int,
    initial: str,
    instances: Sequence[NewInstance],
    group: NewGroup | None = None,
    reason: str | None = None,
    terms: Terms = ANY,
) -> Made:
    """
    Create instances at rest in `initial`, all of them or none.

    Args:
        store: The open store.
        machine: Name of their machine.
        definition: Number of its definition.
        initial: The state they begin in.
        instances: Who they are.
        group: The group whose partitions they are; None for instances of their own.
        reason: Why, for the journal.
        terms: Whether they may be made, and what becomes of others that have their key.

    Raises:
        Busy: There is no room for them; nothing was created.
        InstanceExists: One of the ids is taken; nothing was created.
        InstancePruned: One of the ids was taken, and its instance pruned; nothing was created.
        BadParameter: An id is empty or too long; nothing was created.
    """
    now_ms = store.clock.now_ms()
    dead = judged(store, terms)
    with store.write() as connection:
        admitted = admit(connection, machine, [each.key for each in instances], terms)
        if admitted.taken_by is not None:
            return Made((), {})
        whose: dict[str, Any] = {"machine": machine, "definition": definition, "now_ms": now_ms}
        member_of = group and groups.insert(connection, group, total=len(instances), **whose)
        numbers = []
        for each in instances:
            new = New(
                id=each.id,
                definition=definition,
                params=each.params,
                state=initial,
                now_ms=now_ms,
                note=reason,
                member_of=member_of,
                partition=each.partition,
                priority=each.priority,
                key=each.key,
            )
            numbers.append(insert(connection, new))
        by = instances[0].id
        cancelled = make_way(connection, admitted.cancels, by=by, dead=dead, at_ms=now_ms)
        counters = Counters()
        counters.transition(machine, "", "create", initial, times=len(instances))
        counters.write(connection)
    return Made(numbers, cancelled)


def rewind(  # noqa: PLR0913  (what was worked out of it before)
    store: Store,
    *,
    instance_id: str,
    seq: int,
    state: str,
    picture: bytes | None,
    reason: str | None,
    visit: int = 1,
    loads: Stay | None = None,
    needs: Stay | None = None,
    appends: Collection[str] = (),
    definition: int | None = None,
) -> None:
    """
    Put an instance back to rest in an earlier state, in a new generation.

    Args:
        store: The open store.
        instance_id: Which one.
        seq: As it was when `picture` was worked out; the row must still have it.
        state: Where to.
        picture: What was known when it entered `state`, encoded.
        reason: Why, for the journal.
        visit: Which visit to `state` that is.
        loads: The stay whose batches `state` loads; None if it loads nothing.
        needs: The stay whose batches must still be there; None if they cannot be gone.
        appends: The states that it does again, if what they yield is appended without a key.
        definition: Number of the definition to adopt, or None to keep its own.

    Raises:
        NotFound: No such instance.
        Busy: A live process drives it.
        Refused: It moved on since `seq`, or the batches it needs were given back meanwhile; or
            others replay what `appends` have rejected.
    """
    dead = dead_workers(store, me=None)
    with store.write() as connection:
        row = connection.execute(_FIND, (instance_id,)).fetchone()
        if row is None:
            raise not_found(connection, instance_id)
        n, status, source, failed_state, holder = row
        if status == Status.READY and failed_state is not None:
            raise being_cancelled(instance_id)
        children.refuse_part(connection, n, instance_id, verb="rewind")
        children.refuse_at_work(connection, n, instance_id)
        refuse_replaced(connection, n, instance_id)
        refuse_replayed(connection, n, instance_id, states=appends)
        if holder is not None:
            refuse_if_driven(connection, instance_id, holder=holder, dead=dead)
        facts = {
            "n": n,
            "seq": seq,
            "state": state,
            "picture": picture,
            "definition": definition,
            "now_ms": store.clock.now_ms(),
        }
        gone = needs is not None and not has_batches(connection, n, needs)
        if gone or connection.execute(_REWIND, facts).rowcount == 0:
            raise Refused(
                f"instance {instance_id!r} moved while the rewind was prepared",
                meaning="nothing was changed",
                next_step=f"statepipe inspect {shlex.quote(instance_id)}   # then rewind again",
            )
        connection.execute(
            JOURNAL_OF_STEERING, {"n": n, "event": "rewind", "source": source, "note": reason}
        )
        datasets.withdraw(connection, instance_id)
        now = load_checkpoint(connection, n)
        if loads is not None:  # what is loaded is fixed on entering, and this is entering
            insert_plan(connection, n, Plan(Stay(now.generation, state, visit), loads))
        counters = Counters()
        counters.transition(now.machine, source, "rewind", state)
        counters.write(connection)
