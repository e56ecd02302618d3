"""
The nouns every floor shares; plain values, no behaviour that needs a disk or a clock.

What authors touch      Outcome, Task, and Batch of statepipe.batch
What is remembered      Status, Checkpoint (one instance as last committed)
What a commit carries   Change (one move), Staged, Rejects, Plan, Notice, Family, Attachment
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from statepipe.batch import Batch
from statepipe.drift import Drift, Seen
from statepipe.jobfacts import JobFact
from statepipe.terms import Terms
from statepipe.wishes import Wish

Record = dict[str, Any]

Blob = bytes  # where a field of that name, a size, hides it

#: The states the engine itself knows, whatever the machine says.
CANCELLED_STATE: Final = "cancelled"

#: Events with a meaning of their own; authors may add any other name.
OK: Final = "ok"
ERROR: Final = "error"
TIMEOUT: Final = "timeout"
SKIPPED: Final = "skipped"  # of a child machine whose key is taken
CANCEL: Final = "cancel"
#: What a contract raises if more records broke it than `max_rejects` lets pass.
INVALID: Final = "invalid"


class Status:
    """
    Where an instance is in its life; what the store may know about its state.

    READY       wants to be driven, now or at its wake-up time. A worker moves it.
    PAUSED      rests until `resume`. A person moves it.
    DONE        ended in a final state of kind success. Only `rewind` moves it.
    FAILED      ended in a final state of kind failure. `resume`, `rewind` or a cancel moves it.
    CANCELLED   ended by a cancel. `resume` or `rewind` moves it.
    """

    READY: Final = "ready"
    PAUSED: Final = "paused"
    DONE: Final = "done"
    FAILED: Final = "failed"
    CANCELLED: Final = "cancelled"

    FINISHED: Final = frozenset({DONE, FAILED, CANCELLED})


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What a task that is called once reports: an event and a result.

    Attributes:
        event: The event to raise, for example "ok" or "invalid".
        value: Plain data, kept in the checkpoint under the task's name.
    """

    event: str = OK
    value: Any = None


@dataclass(slots=True, kw_only=True)
class Task:
    """
    What a task function is given: who it is, where it stands, and a way to speak.

    Attributes:
        instance: Id of the instance.
        machine: Name of the machine.
        state: Name of the state the task runs in.
        name: Name of the task; the state's own name if the state has one task.
        attempt: Which try this is, from 1.
        params: The instance's parameters, typed.
        cursor: The cursor of the last committed batch of this task, or None at the start.
        watermark: How far earlier instances of the machine have loaded, or None.
        results: Results of tasks that ended before, by state name.
        batch_size: How many records a batch should hold, at least 1; where the policy lets it
            adapt, it may change with each batch.
        log: A logger named after machine and state.
        idempotency_key: `instance:generation:state:task:batch`, for effects outside.
        callback_token: Lets an outside system tell the state that waits next that it is done: by
            `statepipe callback`, over HTTP, or by `Engine.callback`. None if no such state follows.
        item: Of a task that is done for each element of a list (`foreach`), the element.
        skipped: Of a task in a graph, the names of those it needs that have no result, because
            they were skipped or failed.
    """

    instance: str
    machine: str
    state: str
    name: str
    attempt: int
    params: Mapping[str, Any]
    cursor: Any
    watermark: Any
    results: Mapping[str, Any]
    batch_size: int
    log: logging.Logger
    idempotency_key: str
    callback_token: str | None = field(default=None, repr=False)
    item: Any = None
    skipped: tuple[str, ...] = ()
    _beat: Callable[[], None] = field(repr=False)
    _is_cancelled: Callable[[], bool] = field(repr=False)
    _rejects: list[tuple[Record, str]] = field(default_factory=list, repr=False)
    _acquire: Callable[[str], None] = field(default=lambda _: None, repr=False)
    _read: Callable[[str], Iterator[Batch]] = field(default=lambda _: iter(()), repr=False)

    @property
    def cancelled(self) -> bool:
        """True once somebody asked the attempt to stop; return or raise soon after."""
        return self._is_cancelled()

    def heartbeat(self) -> None:
        """
        Say that the attempt is alive, for policies with a `heartbeat` limit.

        Raises:
            TaskCancelled: If somebody asked the attempt to stop.
        """
        self._beat()

    def acquire(self, resource: str) -> None:
        """Wait for a permit of a resource that the state uses; TaskCancelled as `heartbeat`."""
        self._acquire(resource)

    def batches(self, task: str) -> Iterator[Batch]:
        """
        Yield the batches of a task that this one needs, in order; none if it made none.

        Raises:
            Fatal: It is none of those that this one needs.
            StagedDataDamaged: One is not what was committed.
        """
        return self._read(task)

    def reject(self, record: Record, reason: str) -> None:
        """Put `record` into quarantine with the batch that is being made; go on with the rest."""
        self._rejects.append((record, reason))


class Rejects(NamedTuple):
    """
    The rejected records of one batch, staged like a batch.

    `body` is a framed msgpack stream of records `{"record": …, "rule": str, "path": str,
    "message": str, "position": int}`; `position` is its place in the input batch, from 0.
    """

    records: int
    bytes: int
    sha256: Blob
    file: str | None
    body: Blob | None
    reasons: Mapping[str, int]  # how many records by reason, e.g. "/dep_time: required"
    arrow_schema: Blob | None = None  # of the table they are rows of; None: they came as dicts


class Staged(NamedTuple):
    """
    A reference to one staged batch: enough to find it, check it and go on after it.

    Exactly one of `file` (a name inside the stage directory) and `body` is set,
    or neither when `records` is 0 (a mapped batch of which nothing was left).
    """

    number: int  # from 0, within instance, generation, state, visit and task
    records: int
    bytes: int
    sha256: Blob
    format: Literal["msgpack", "arrow"]
    file: str | None
    body: Blob | None
    cursor: Blob | None  # encoded by the codec
    read: int  # records this batch was made from; records + rejected = read in a contract
    rejects: Rejects | None
    seen: Seen | None = None  # of a source that is watched for drift


class Loaded(NamedTuple):
    """What the destination said of one planned batch."""

    number: int
    records: int  # rows the ledger has for this batch
    rejects: Rejects | None


class Stay(NamedTuple):
    """One stay of an instance in one state: what batches and plans belong to."""

    generation: int  # rises at each rewind, from 1
    state: str
    visit: int  # from 1; rises when a cycle comes back


class Checkpoint(NamedTuple):
    """One instance as last committed. The driver's memory is a copy of this row."""

    n: int  # the row's own number
    id: str
    machine: str
    definition: int  # number of the definition it began with
    params: bytes
    created_at_ms: int
    epoch: int
    seq: int
    generation: int
    status: str
    state: str
    attempt: int  # attempts used up in this state
    lost: int  # times in a row its driver died without progress
    batches: int  # batches committed in this stay
    picture: bytes | None  # results, visits and the input stay; the runtime encodes it
    failed_state: str | None
    error_class: str | None
    error: str | None
    entered_at_ms: int
    request: str | None  # one of `statepipe.wishes`, asked for
    priority: int = 0
    due_at_ms: int | None = None  # when its timer was to ring, if that is why it was claimed


class Change(NamedTuple):
    """
    One move of one instance, refused unless its row still has `epoch` and `seq`.

    Binding a value to SQL costs as much as the work SQLite then does with it, so what every
    change says comes first and is bound as it is, and the rest is a `Detail`. Most have none:
    the task is done, another state is entered, nothing was learned.
    """

    n: int
    epoch: int
    seq: int  # as decided at; the row's becomes seq + 1
    state: str  # where it is then
    at_ms: int
    event: str
    took_ms: int | None  # of the attempt this ends
    policy: str | None  # digest of the merged policy that governed the attempt
    # not bound
    status: str
    source: str
    machine: str
    stayed_ms: int  # in `source`, if this leaves it; from 0
    lived_ms: int  # since it was created; from 0
    detail: "Detail | None"


class Detail(NamedTuple):
    """What a change says beyond a plain move: the rest of the row, and of the journal's."""

    kind: str
    # what the row becomes
    attempt: int
    lost: int
    batches: int
    picture: Blob | None
    worker: int | None  # None releases the instance
    wake_at_ms: int | None
    wake_delay_ms: int | None
    wake_boot_ms: int | None
    wake_boot_id: str | None
    failed_state: str | None
    error_class: str | None
    error: str | None
    entered_at_ms: int
    finished_at_ms: int | None
    # what the journal says besides
    task: str | None
    tried: int | None  # which attempt this ends, from 1
    records: int | None
    bytes: int | None
    rejected: int | None
    learned: Blob | None  # the picture after the move, if the move changed it
    note: str | None
    error_kind: str | None  # what the error counts as: a class that is declared, or "other"
    read: int | None  # records the batch was made from
    drifts: tuple[Drift, ...] = ()  # found in this batch, or what halted the attempt
    waited_ms: int | None = None  # for resources, before or within the attempt this ends


class Plan(NamedTuple):
    """On entering loading: fix which batches will be loaded, for ever."""

    stay: Stay  # the stay in the loading state
    source: Stay  # whose batches


class Reached(NamedTuple):
    """
    How far the source in a state has come, once its instance is done.

    Attributes:
        state: The state.
        since: Number of the watermark's row it started from; 0 if there was none.
        value: The highest value it has read, plain data.
    """

    state: str
    since: int
    value: Any


class Notice(NamedTuple):
    """
    Something that somebody is to be told: a row of the outbox, in the commit that causes it.

    Attributes:
        key: Names the occasion and the target; the same occasion never makes two.
        event: What happened, one of `statepipe.notify.EVENTS`; or "dropped".
        target: Whom to tell.
        machine: Whose instance it is about; "" for none.
        instance: The instance's id, or None.
        body: What to say, JSON.
        at_ms: When it happened.
    """

    key: str
    event: str
    target: str
    machine: str
    instance: str | None
    body: str
    at_ms: int


class Attachment(NamedTuple):
    """What some changes carry besides: rows of other tables, in the same transaction."""

    stay: Stay
    task: str
    staged: Staged | None = None
    loaded: Loaded | None = None
    plan: Plan | None = None
    releases: bool = False  # the instance is done: its staged batches are given back
    keeps: tuple[str, ...] = ()  # but for those of these states
    reached: tuple[Reached, ...] = ()  # and the watermarks of its machine move
    notices: tuple[Notice, ...] = ()  # who is to be told of the change
    wait: tuple[int | None, str | None, tuple[str, ...]] | None = None  # see `emissions`
    asks: tuple[tuple[str, str, str], ...] = ()  # and of its key: see `waited`
    family: "Family | None" = None  # and what becomes of its children
    delivers: tuple[str, str] | None = None  # a partition that is done with it: see `datasets`
    job: JobFact | None = None


class Taken(NamedTuple):
    """Batches of a child that become its parent's: rows of its own that name the same files."""

    child: int  # its number
    stay: Stay  # the stay that staged them


class NewChild(NamedTuple):
    """An instance that is to be made for a task of a stay of another one."""

    task: str
    element: int | None  # which one of a fan-out, from 0
    definition: int
    machine: str
    state: str  # where it begins
    params: Blob
    picture: Blob | None
    key: str | None  # what only so many of its machine may have at a time
    terms: Terms  # on which it is made
    dead: Mapping[tuple[int, int], str]  # workers, with their beat; none if it matters not


class Family(NamedTuple):
    """What a change does to the children of a stay."""

    stay: Stay
    begins: tuple[NewChild, ...] = ()
    takes: tuple[Taken, ...] = ()  # the batches that become the stay's own, in this order
    skips: tuple[str, ...] = ()  # the tasks that the stay has ended without
    adopts: tuple[tuple[int, int], ...] = ()  # children at rest, and the definitions they go on by
    stops: Wish | None = None  # what is asked of those that have not ended
