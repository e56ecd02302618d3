"""
Who drives instances: every worker that the store knows of, and what it is doing.

    roster      all of them, the newest first
    Post        one of them

Whether one lives is read from the kernel and the boot clock (`liveness.py`), never from how long
ago it was heard of alone: a process that exists and whose lease has passed is silent, not dead.
"""

import json
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from statepipe.clock import Clock
from statepipe.sqlite import sqlite3
from statepipe.store import liveness
from statepipe.store.liveness import Death, Worker
from statepipe.store.questions.outdated import outdated
from statepipe.store.reading import Reader
from statepipe.store.walk.presence import RollCall

#: So many of the instances that one drives are named.
NAMED_MAX: Final = 20

Life = Literal["alive", "silent", "dead"]

_DRIVES = "SELECT count(*) FROM instance WHERE worker = ?"
_NAMES = "SELECT id FROM instance WHERE worker = ? ORDER BY n LIMIT ?"
_SLOTS = """
SELECT resource, count(*)
  FROM slot
 WHERE worker = ? AND held_at_ms IS NOT NULL
 GROUP BY resource
"""


class Post(NamedTuple):
    """
    One process that drives instances, or did.

    Attributes:
        name: Of its row.
        host: Where it runs.
        pid: Its process number there.
        life: Whether it lives.
        death: By what it is known to be dead, or silent; None if it lives.
        is_here: True if we can see its process; else only its lease says that it lives.
        since_ms: When it began (UTC).
        machines: Of which it drives whatever is ready; None if only what it was given.
        queues: The same by queue.
        concurrency: How many instances it drives at most; 0 if it does not say.
        drives: How many it drives now.
        instances: Ids of some of them, the oldest first.
        slots: How many slots of each resource it holds.
        outdated: Machines that it drives as they were before they changed.
    """

    name: str
    host: str
    pid: int
    life: Life
    death: Death | None
    is_here: bool
    since_ms: int
    machines: tuple[str, ...] | None
    queues: tuple[str, ...] | None
    concurrency: int
    drives: int
    instances: tuple[str, ...]
    slots: dict[str, int]
    outdated: tuple[str, ...]


def roster(reader: Reader) -> list[Post]:
    """Return every worker that the store knows of, the newest first."""
    with reader.moment() as connection:
        known = liveness.workers(connection)
        rows = [_rows(connection, worker) for worker in known]
    silent = RollCall(reader.clock, orphan_ms=0).absent(known).silent  # after the transaction
    posts = [
        _post(worker, *row, is_silent=(worker.n, worker.beat) in silent, clock=reader.clock)
        for worker, row in zip(known, rows, strict=True)
    ]
    return sorted(posts, key=lambda post: (-post.since_ms, post.name))


def served(posts: Iterable[Post]) -> set[str]:
    """Return the queues that a live one of `posts` works on."""
    return {queue for post in posts if post.life == "alive" for queue in post.queues or ()}


def serves_of(worker: Worker) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Return the machines and the queues that a worker drives; None if only what it was given."""
    if worker.serves is None:
        return None, None
    said = json.loads(worker.serves)
    return tuple(said["machines"]), tuple(said["queues"])


def _rows(
    connection: sqlite3.Connection, worker: Worker
) -> tuple[int, tuple[str, ...], dict[str, int], tuple[str, ...]]:
    (drives,) = connection.execute(_DRIVES, (worker.n,)).fetchone()
    names = connection.execute(_NAMES, (worker.n, NAMED_MAX))
    slots = connection.execute(_SLOTS, (worker.n,))
    return (
        drives,
        tuple(id_ for (id_,) in names),
        dict(slots.fetchall()),
        outdated(connection, worker),
    )


def _post(
    worker: Worker,
    drives: int,
    instances: tuple[str, ...],
    slots: dict[str, int],
    old: tuple[str, ...],
    *,
    is_silent: bool,
    clock: Clock,
) -> Post:
    death = liveness.death(worker, clock=clock)
    machines, queues = serves_of(worker)
    return Post(
        name=worker.name,
        host=worker.host,
        pid=worker.pid,
        life="alive" if death is None else "silent" if is_silent else "dead",
        death=death,
        is_here=worker.pid_space == liveness.pid_space(),
        since_ms=worker.started_at_ms,
        machines=machines,
        queues=queues,
        concurrency=worker.slots,
        drives=drives,
        instances=instances,
        slots=slots,
        outdated=old,
    )
