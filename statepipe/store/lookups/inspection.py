"""
Everything about one instance, as of one moment.

    Inspection      the instance, and what belongs to it
    Holder          the process that drives it, or did
    Failure         its last error, and which attempt that was
    Good            its last good checkpoint
    Tally           what was done in one state, by generation

What a resume would do with it is worked out from these facts by `runtime.outlook`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from statepipe.clock import Clock
from statepipe.errors import NotFound
from statepipe.model import Stay
from statepipe.sqlite import sqlite3
from statepipe.store import liveness
from statepipe.store.codec import decode
from statepipe.store.lookups import copies, output, parts, triggers
from statepipe.store.lookups.elsewhere import Elsewhere, elsewhere
from statepipe.store.lookups.lookup import steps_of
from statepipe.store.lookups.parts import Part, shared
from statepipe.store.stage import rows as staged
from statepipe.store.walk import children, datasets, emissions, signals
from statepipe.store.walk.children import GoingOn
from statepipe.store.walk.claims import not_found
from statepipe.store.walk.interventions import ASKED_FOR
from statepipe.store.walk.replays import Replay, of_origin, origin_of
from statepipe.store.walk.signals import Asking, Late

_INSTANCE = f"""
SELECT i.n, i.id, d.machine, d.version, d.digest, d.body, i.params, i.created_at_ms, i.epoch, i.seq,
       i.generation, i.status, i.state, i.attempt, i.lost, i.batches, i.picture, i.worker,
       i.wake_at_ms, i.failed_state, i.error_class, i.error, i.entered_at_ms, i.updated_at_ms,
       i.finished_at_ms,
       {ASKED_FOR} AS request
  FROM instance i
  JOIN definition d ON d.n = i.definition
 WHERE i.id = ?
"""  # noqa: S608  (made of constants)

_LAST_FAILURE = """
SELECT seq, at_ms, source, attempt, error_class, error, policy
  FROM journal
 WHERE instance = ? AND error_class IS NOT NULL
 ORDER BY seq DESC
 LIMIT 1
"""

# A failed attempt and a person's wish are moves, too, but nothing was achieved by them.
_LAST_GOOD = """
SELECT seq, at_ms, kind, target, note
  FROM journal
 WHERE instance = ? AND error_class IS NULL AND kind IN ('create', 'move', 'batch', 'rewind')
 ORDER BY seq DESC
 LIMIT 1
"""

_TALLIES = """
SELECT generation, source,
       sum(kind = 'batch'),
       coalesce(sum(records)  FILTER (WHERE kind = 'batch'), 0),
       coalesce(sum(rejected) FILTER (WHERE kind = 'batch'), 0),
       sum(kind IN ('move', 'retry', 'pause') AND attempt IS NOT NULL),
       coalesce(sum(took_ms)  FILTER (WHERE kind IN ('move', 'retry', 'pause')), 0)
  FROM journal
 WHERE instance = ? AND source <> ''
 GROUP BY generation, source
"""

_PLANNED = """
SELECT state, generation, visit, count(*), count(loaded)
  FROM plan
 WHERE instance = ?
 GROUP BY state, generation, visit
"""

_STAGED = """
SELECT state, generation, visit, count(*), sum(bytes)
  FROM batch
 WHERE instance = ?
 GROUP BY state, generation, visit
"""


class Holder(NamedTuple):
    """The process that drives an instance, or drove it when it died."""

    name: str
    host: str
    pid: int
    alive: bool


class Failure(NamedTuple):
    """The last error of an instance."""

    at_ms: int
    state: str
    attempt: int | None  # which attempt it ended, from 1
    max_attempts: int | None  # how many that state's policy allowed
    error_class: str
    error: str | None


class Good(NamedTuple):
    """The last checkpoint at which something had been achieved."""

    seq: int
    at_ms: int
    kind: str
    state: str
    note: str | None  # "batch 3"


class Tally(NamedTuple):
    """What was done in one state in one generation."""

    batches: int
    records: int
    rejected: int
    attempts: int
    took_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """
    One instance as last committed, and what the store knows besides.

    Attributes:
        n: The row's own number.
        id: Its id.
        machine: Name of its machine.
        version: The version it began with, or has adopted.
        digest: Of that definition.
        form: The definition in canonical form (see `machine.digest`).
        params: Its parameters.
        created_at_ms: When it was created (UTC).
        epoch: Number of the right to drive it.
        seq: Number of its last journal row.
        generation: From 1; rises at each rewind.
        status: One of `model.Status`.
        state: Where it is.
        attempt: Attempts used up in this state.
        lost: How many times in a row its driver died without progress.
        batches: Batches committed in this stay.
        picture: What it has learned, encoded by the runtime.
        holder: Who drives it, or did; None if nobody.
        wake_at_ms: When it is tried again, or None.
        failed_state: Where it failed or was cancelled, or None.
        failure: Its last error, or None if it never had one since it moved on.
        good: Its last good checkpoint.
        entered_at_ms: When it entered the state.
        updated_at_ms: When it last changed.
        finished_at_ms: When it ended, or None.
        request: "cancel", "kill" or "pause" if asked for and not yet honoured.
        steps: The journal rows that tell where it went, oldest first.
        tallies: What was done, by generation and state.
        planned: Batches to load and loaded, by state, generation and visit.
        staged: Batches staged, by state, generation and visit.
        staged_bytes: How much room they take, compressed as they are.
        cursor: Where the source it is in goes on, or None.
        has_output: True if something is kept of what its tasks printed and logged.
        origin: Whose rejected records it replays, and how many; None if it replays none.
        replays: The instances that replay what it rejected, the oldest first.
        copy_of: What it was forked or restarted from; None if it was made of none.
        copies: The instances that were made of it, the oldest first.
        started_by: The trigger that started it, and for what; None if none did.
        signals: The events that it was sent and has not taken, the oldest first.
        key: The key of the events that it rests for, or rested for last; None without one.
        part_of: The instance of which it does part of the work; None if it is one of its own.
        parts: What does part of its work, of the state it is in or was in last.
        asking: What does part of its work, at any depth, and rests for events, each with their key.
        going_on: Of these, and of theirs, what a resume takes back with it.
        late: The events that came too late to be kept, the oldest first.
        job: The last job that it had elsewhere; None if it had none.
    """

    n: int
    id: str
    machine: str
    version: int
    digest: str
    form: Mapping[str, Any]
    params: Mapping[str, Any]
    created_at_ms: int
    epoch: int
    seq: int
    generation: int
    status: str
    state: str
    attempt: int
    lost: int
    batches: int
    picture: bytes | None
    holder: Holder | None
    wake_at_ms: int | None
    failed_state: str | None
    failure: Failure | None
    good: Good | None
    entered_at_ms: int
    updated_at_ms: int
    finished_at_ms: int | None
    request: str | None
    steps: tuple[tuple[int, int, str, str, str, bytes | None], ...]
    tallies: Mapping[tuple[int, str], Tally]
    planned: Mapping[tuple[str, int, int], tuple[int, int]]
    staged: Mapping[tuple[str, int, int], int]
    staged_bytes: int
    cursor: Any
    has_output: bool
    origin: tuple[str, int] | None
    replays: tuple[Replay, ...]
    copy_of: copies.Origin | None
    copies: tuple[copies.Copy, ...]
    started_by: triggers.Origin | None
    signals: tuple[str, ...]
    key: str | None
    part_of: str | None
    parts: tuple[Part, ...]
    asking: tuple[tuple[Asking, str | None], ...]
    going_on: tuple[GoingOn, ...]
    late: tuple[Late, ...]
    job: Elsewhere | None

    @property
    def standing(self) -> str:
        """What it is doing: its status, or who a ready one waits for."""
        if self.status != "ready":
            return self.status
        if self.holder is not None:
            return "running" if self.holder.alive else "stalled"
        return "ready" if self.wake_at_ms is None else "waiting"

    @property
    def is_being_cancelled(self) -> bool:
        """True while its `on_cancel` is due or runs."""
        return self.status == "ready" and self.failed_state is not None

    @property
    def resume_state(self) -> str:
        """The state a resume takes it to."""
        return self.failed_state or self.state

    @property
    def missed(self) -> tuple[Late, ...]:
        """What was emitted of what it rests for, and came too late for it."""
        events = self.awaits or ()
        key = (self.generation, self.key)
        return tuple(x for x in self.late if x.event in events and (x.generation, x.key) == key)

    @property
    def is_polling(self) -> bool:
        """True if it rests between two polls of a job elsewhere."""
        job = self.job
        return self.standing == "waiting" and job is not None and job.standing == "going on"

    @property
    def awaits_parts(self) -> bool:
        """True if it rests until what does part of its work has ended."""
        return self.standing == "waiting" and not self.attempt and shared(self.form, self.state)

    @property
    def awaits(self) -> tuple[str, ...] | None:
        """The events or dataset it rests for; () if for its time alone; None if for neither."""
        if self.standing != "waiting":
            return None
        dataset = datasets.awaited(self.form, self.state)
        return (dataset,) if dataset else signals.awaited(self.form).get(self.state)


def inspect(connection: sqlite3.Connection, instance_id: str, *, clock: Clock) -> Inspection:
    """
    Return everything about one instance; the caller holds one transaction around it.

    Raises:
        NotFound: There is no such instance.
    """
    cursor = connection.execute(_INSTANCE, (instance_id,))
    row = cursor.fetchone()
    if row is None:
        raise not_found(connection, instance_id)
    facts = dict(zip((each[0] for each in cursor.description), row, strict=True))
    n = facts["n"]
    body, params, worker = facts.pop("body"), facts.pop("params"), facts.pop("worker")
    del facts["error_class"], facts["error"]
    planned = {
        (state, generation, visit): (total, done)
        for state, generation, visit, total, done in connection.execute(_PLANNED, (n,))
    }
    stays = connection.execute(_STAGED, (n,)).fetchall()
    stages = {tuple(key): count for *key, count, _ in stays}
    target = facts["failed_state"] or facts["state"]
    visits = [visit for state, _, visit in (*stages, *planned) if state == target]
    stay = Stay(facts["generation"], target, max(visits, default=1))
    encoded = staged.last_cursor(connection, n, stay) if facts["batches"] else None
    works = parts.of(connection, n, clock=clock)
    return Inspection(
        **facts,
        form=json.loads(body),
        params=decode(params),
        holder=_holder(connection, worker, clock=clock),
        failure=_failure(connection, n),
        good=_good(connection, n),
        steps=tuple(steps_of(connection, n)),
        tallies={
            (generation, state): Tally(*rest)
            for generation, state, *rest in connection.execute(_TALLIES, (n,))
        },
        planned=planned,
        staged=stages,
        staged_bytes=sum(size for *_, size in stays),
        cursor=None if encoded is None else decode(encoded),
        has_output=output.has_any(connection, n),
        origin=origin_of(connection, n),
        replays=tuple(of_origin(connection, instance_id)),
        copy_of=copies.origin_of(connection, n),
        copies=tuple(copies.of_origin(connection, instance_id)),
        started_by=triggers.origin_of(connection, instance_id),
        signals=signals.kept(connection, n),
        key=emissions.key_of(connection, n),
        part_of=children.parent_of(connection, n),
        parts=tuple(works),
        asking=parts.asking(connection, n, works),
        going_on=tuple(children.going_on(connection, n)),
        late=signals.late_ones(connection, n),
        job=elsewhere(connection, n, status=facts["status"]),
    )


def find_number(connection: sqlite3.Connection, instance_id: str) -> int:
    """
    Return the number of an instance's row.

    Raises:
        NotFound: There is no such instance.
    """
    row = connection.execute("SELECT n FROM instance WHERE id = ?", (instance_id,)).fetchone()
    if row is None:
        raise not_found(connection, instance_id)
    n: int = row[0]
    return n


def scope_of(connection: sqlite3.Connection, subject: str | None) -> str:
    """
    Return what `:subject` means in a WHERE of `instance` i and `definition` d.

    Raises:
        NotFound: It is neither the id of an instance nor the name of a machine.
    """
    if subject is None:
        return ":subject IS NULL"
    if connection.execute("SELECT 1 FROM instance WHERE id = ?", (subject,)).fetchone():
        return "i.id = :subject"
    if connection.execute("SELECT 1 FROM definition WHERE machine = ?", (subject,)).fetchone():
        return "d.machine = :subject"
    raise NotFound(
        f"there is neither an instance nor a machine {subject!r} in this store",
        meaning="nothing was changed",
        next_step="statepipe ls --all   # shows what is there; --store names another store",
    )


def _holder(connection: sqlite3.Connection, worker: int | None, *, clock: Clock) -> Holder | None:
    for each in liveness.workers(connection):
        if each.n == worker:
            alive = not liveness.is_dead(each, clock=clock)
            return Holder(each.name, each.host, each.pid, alive)
    return None


def _failure(connection: sqlite3.Connection, n: int) -> Failure | None:
    """Return the last error, unless the instance has achieved something since."""
    row = connection.execute(_LAST_FAILURE, (n,)).fetchone()
    good = _good(connection, n)
    if row is None or (good is not None and good.seq > row[0]):
        return None
    _, at_ms, state, attempt, error_class, error, digest = row
    policy = connection.execute("SELECT body FROM policy WHERE digest = ?", (digest,)).fetchone()
    most = None if policy is None else json.loads(policy[0]).get("max_attempts")
    return Failure(at_ms, state, attempt, most, error_class, error)


def _good(connection: sqlite3.Connection, n: int) -> Good | None:
    row = connection.execute(_LAST_GOOD, (n,)).fetchone()
    return None if row is None else Good(*row)
