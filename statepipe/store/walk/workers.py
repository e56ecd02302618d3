"""
Who drives: the rows of worker processes, and their leases.

One lease a process, not one an instance: renewing it is one row, whatever the number
of instances (docs/decisions/0005). Whether a worker still lives is `liveness.py`'s.
"""

import json
import os
import socket
from dataclasses import dataclass
from typing import NamedTuple
from uuid import uuid4

from statepipe.clock import Clock
from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.liveness import Worker, is_dead, pid_space, pid_started, workers
from statepipe.store.metrics.counters import Counters

LEASE_MS = 30_000

# Whoever was found dead is known by its number and its beat. A row that comes back after it was
# forgotten must therefore have a beat that it never had: one above all that are there. That is
# enough, because a row goes only with a new one in the same transaction, whose beat is higher.
_NEW_BEAT = "(SELECT coalesce(max(beat), -1) + 1 FROM worker)"

_REGISTER = f"""
INSERT INTO worker (name, host, pid, pid_started, pid_space, boot_id, lease_ms, beat,
                    deadline_boot_ms, started_at_ms, slots, serves)
VALUES (:name, :host, :pid, :pid_started, :pid_space, :boot_id, :lease_ms, {_NEW_BEAT},
        :deadline_boot_ms, :now_ms, :slots, :serves)
"""  # noqa: S608  (our own words)

# Never of one whose slots are still to be judged (`presence.py`). Nor of the highest number,
# which the next worker would be given again while this one, that only slept, still believes
# that what is claimed under it is its own.
_FORGET = """
DELETE FROM worker
 WHERE n = ?
   AND beat = ?
   AND n < (SELECT max(n) FROM worker)
   AND NOT EXISTS (SELECT 1 FROM instance WHERE instance.worker = worker.n)
   AND NOT EXISTS (SELECT 1 FROM slot WHERE slot.worker = worker.n)
"""

# A worker that slept for longer than its lease may have been forgotten meanwhile.
_RENEW = f"""
INSERT INTO worker (n, name, host, pid, pid_started, pid_space, boot_id, lease_ms, beat,
                    deadline_boot_ms, started_at_ms, slots, serves)
VALUES (:n, :name, :host, :pid, :pid_started, :pid_space, :boot_id, :lease_ms, {_NEW_BEAT},
        :deadline_boot_ms, :started_at_ms, :slots, :serves)
    ON CONFLICT (n) DO UPDATE
   SET beat             = worker.beat + 1,
       deadline_boot_ms = excluded.deadline_boot_ms
"""  # noqa: S608  (our own words)

_STOP = "UPDATE worker SET stopped_at_ms = ? WHERE n = ?"


class Serves(NamedTuple):
    """
    What a worker drives: all that is ready of these machines and queues.

    Attributes:
        machines: Their names.
        queues: Theirs.
        definitions: Numbers of those machines, and their parts, as it has read them.
    """

    machines: tuple[str, ...]
    queues: tuple[str, ...]
    definitions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What tells this process from every other, also from a later one with its pid."""

    host: str
    pid: int
    pid_started: int
    pid_space: str

    @classmethod
    def of_this_process(cls) -> "Identity":
        """Read it from the kernel."""
        pid = os.getpid()
        started = pid_started(pid)
        assert started is not None, "we are alive"
        return cls(host=socket.gethostname(), pid=pid, pid_started=started, pid_space=pid_space())


def register(
    store: Store,
    identity: Identity,
    *,
    lease_ms: int = LEASE_MS,
    slots: int = 0,
    serves: Serves | None = None,
) -> Worker:
    """
    Write this process's row, clear away those that no instance needs, and return it.

    Args:
        store: The open store.
        identity: Who this process is.
        lease_ms: How long it may be silent before others take over.
        slots: How many instances it drives at most, for those who watch.
        serves: What it drives, for them as well; None if only what it is given.
    """
    clock = store.clock
    facts = {
        "name": f"{identity.host}:{identity.pid}:{uuid4().hex[:8]}",
        "host": identity.host,
        "pid": identity.pid,
        "pid_started": identity.pid_started,
        "pid_space": identity.pid_space,
        "boot_id": clock.boot_id,
        "lease_ms": lease_ms,
        "deadline_boot_ms": clock.boot_ms() + lease_ms,
        "now_ms": clock.now_ms(),
        "slots": slots,
        "serves": None if serves is None else json.dumps(serves._asdict(), sort_keys=True),
    }
    known = workers(store.connection)
    gone = [(worker.n, worker.beat) for worker in known if is_dead(worker, clock=clock)]
    with store.write() as connection:
        n = connection.execute(_REGISTER, facts).lastrowid
        connection.executemany(_FORGET, gone)
    return next(worker for worker in workers(store.connection) if worker.n == n)


def renew(store: Store, worker: Worker) -> None:
    """Push the lease's end a whole lease away from now, and raise the beat."""
    with store.write() as connection:
        keep(connection, worker, clock=store.clock)


def keep(connection: sqlite3.Connection, worker: Worker, *, clock: Clock) -> None:
    """Do what `renew` does, inside the caller's transaction."""
    facts = {
        **worker._asdict(),
        "deadline_boot_ms": clock.boot_ms() + worker.lease_ms,
    }
    connection.execute(_RENEW, facts)


def stop(store: Store, worker: Worker) -> None:
    """Say that this process has ended in order; what it holds may be taken at once."""
    counters = Counters()
    store.timings.hand_over(counters)
    with store.write() as connection:
        connection.execute(_STOP, (store.clock.now_ms(), worker.n))
        counters.write(connection)
