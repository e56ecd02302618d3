"""
Instances that are held by a dead driver and that nobody has taken over.

    stalled     all of them, each with how long at least its driver has been gone
    announce    put notices of them into the outbox, unless somebody drives them now
    said        how often that was done already, and when last

Whoever has a worker that may drive them takes them over at its next look, so what is found
here for long has nobody. How long is told by the boot clock: from the last renewal of the
lease, or from the start of this machine if the driver belonged to an earlier one.
"""

from collections.abc import Sequence
from typing import NamedTuple

from statepipe.model import Notice
from statepipe.sqlite import sqlite3
from statepipe.store import liveness
from statepipe.store.file.connection import Store
from statepipe.store.liveness import Worker
from statepipe.store.walk import notices

_HELD = """
SELECT i.n, i.id, d.machine, d.version, i.epoch, i.state, i.attempt + 1
  FROM instance i
  JOIN definition d ON d.n = i.definition
 WHERE i.worker = ?
"""

_STILL = "SELECT 1 FROM instance WHERE n = ? AND epoch = ? AND worker IS NOT NULL"

# ";" is the character after ":": all keys that go on with a number.
_SAID = """
SELECT at_ms
  FROM notice
 WHERE key = :key OR (key > :key || ':' AND key < :key || ';')
 ORDER BY n DESC
"""


class Stalled(NamedTuple):
    """An instance whose driver is dead."""

    silent_ms: int  # for so long at least its driver has been gone
    n: int
    id: str
    machine: str
    version: int
    epoch: int
    state: str
    attempt: int  # the one that was lost, from 1


class Said(NamedTuple):
    """How often something was put into the outbox."""

    times: int
    last_at_ms: int


def stalled(store: Store, *, silent_ms_min: int) -> list[Stalled]:
    """Return the instances whose driver has been gone for at least so long; only reads."""
    found: list[Stalled] = []
    for worker in liveness.workers(store.connection):
        silent_ms = _silent_ms(worker, store)
        if silent_ms >= silent_ms_min and liveness.is_dead(worker, clock=store.clock):
            rows = store.connection.execute(_HELD, (worker.n,))
            found += [Stalled(silent_ms, *row) for row in rows]
    return found


def announce(store: Store, found: Sequence[tuple[Stalled, Notice]]) -> int:
    """Put notices into the outbox in one transaction; return how many were still true."""
    with store.write() as connection:
        still = [
            notice
            for each, notice in found
            if connection.execute(_STILL, (each.n, each.epoch)).fetchone()
        ]
        notices.insert(connection, still)
        return len(still)


def said(connection: sqlite3.Connection, key: str) -> Said:
    """Return how often the outbox has `key`, also with a number behind it."""
    moments = [at_ms for (at_ms,) in connection.execute(_SAID, {"key": key})]
    return Said(len(moments), moments[0] if moments else 0)


def _silent_ms(worker: Worker, store: Store) -> int:
    boot_ms = store.clock.boot_ms()
    if worker.boot_id != store.clock.boot_id:
        return boot_ms
    return boot_ms - (worker.deadline_boot_ms - worker.lease_ms)
