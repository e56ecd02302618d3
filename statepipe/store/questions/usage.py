"""
How each resource is used now, and who waits for it.

    usage       tells it, of a connection on which nothing changes meanwhile
    read, judged    the same in two steps, so that files are looked at after the transaction
    User        one resource
    Use         one instance that holds a slot, or waits
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

from statepipe.clock import Clock
from statepipe.sqlite import sqlite3
from statepipe.store import liveness
from statepipe.store.liveness import Worker
from statepipe.store.walk.presence import RollCall
from statepipe.store.walk.resources import STAGING

_RESOURCES = """
SELECT name, slots, rate, iif(boot_id = ?, closed_boot_us, 0) FROM resource ORDER BY name
"""
_PLACES = """
SELECT s.resource, i.id, s.worker, s.held_at_ms, s.asked_at_ms
  FROM slot s
  JOIN instance i ON i.n = s.instance
 ORDER BY s.n
"""

_US_A_MS: Final = 1_000


class Use(NamedTuple):
    """One instance that holds a slot, or waits; of a process that counts."""

    instance: str
    worker: str  # the name of its process
    since_ms: int  # when it was given its slot, or asked for it


class User(NamedTuple):
    """
    How a resource is used.

    Attributes:
        name: Its name, or STAGING.
        slots: How many there are; None for any number.
        rate: The rate as people write it, or None.
        held: Who holds a slot, in the order they came.
        waiting: Who waits for one, or for the rate, likewise.
        closed_ms: How long a server has asked to leave it alone; 0 if it does not.
    """

    name: str
    slots: int | None
    rate: str | None
    held: tuple[Use, ...]
    waiting: tuple[Use, ...]
    closed_ms: int


def usage(connection: sqlite3.Connection, *, clock: Clock) -> tuple[User, ...]:
    """Return how each resource is used, by name; STAGING at the end if anybody waits for room."""
    return judged(read(connection, clock=clock), liveness.workers(connection), clock=clock)


class Rows(NamedTuple):
    """What `read` has found: of each resource, and of each place in a queue."""

    resources: list[tuple[str, int | None, str | None, int]]
    places: list[tuple[str, str, int, int | None, int]]


def read(connection: sqlite3.Connection, *, clock: Clock) -> Rows:
    """Read what `judged` needs."""
    return Rows(
        connection.execute(_RESOURCES, (clock.boot_id,)).fetchall(),
        connection.execute(_PLACES).fetchall(),
    )


def judged(rows: Rows, workers: Iterable[Worker], *, clock: Clock) -> tuple[User, ...]:
    """Return what `usage` does; reads files, to see which of all `workers` are there."""
    by_number = {worker.n: worker for worker in workers}
    absent = RollCall(clock, orphan_ms=0).absent(by_number.values())
    held: dict[str, list[Use]] = defaultdict(list)
    waiting: dict[str, list[Use]] = defaultdict(list)
    for name, instance, n, held_at_ms, asked_at_ms in rows.places:
        worker = by_number[n]
        if absent.counts((worker.n, worker.beat), holds=held_at_ms is not None):
            if held_at_ms is None:
                waiting[name].append(Use(instance, worker.name, asked_at_ms))
            else:
                held[name].append(Use(instance, worker.name, held_at_ms))
    known = [*rows.resources, *([(STAGING, None, None, 0)] if waiting[STAGING] else [])]
    now_us = clock.boot_us()
    return tuple(
        User(
            name,
            slots,
            rate,
            tuple(held[name]),
            tuple(waiting[name]),
            max(0, closed_us - now_us) // _US_A_MS,
        )
        for name, slots, rate, closed_us in known
    )
