"""
Who drives: the rows of worker processes, and their leases.

One lease a process, not one an instance: renewing it is one row, whatever the number
of instances (docs/decisions/0005). Whether a worker still lives is `liveness.py`'s.
"""

import os
import socket
from dataclasses import dataclass
from uuid import uuid4

from statepipe.store.connection import Store
from statepipe.store.liveness import Worker, is_dead, pid_space, pid_started, workers

LEASE_MS = 30_000

_REGISTER = """
INSERT INTO worker (name, host, pid, pid_started, pid_space, boot_id, lease_ms, deadline_boot_ms,
                    started_at_ms)
VALUES (:name, :host, :pid, :pid_started, :pid_space, :boot_id, :lease_ms, :deadline_boot_ms,
        :now_ms)
"""

_FORGET = """
DELETE FROM worker
 WHERE n = ?
   AND NOT EXISTS (SELECT 1 FROM instance WHERE instance.worker = worker.n)
"""

_RENEW = "UPDATE worker SET beat = beat + 1, deadline_boot_ms = ? WHERE n = ?"

_STOP = "UPDATE worker SET stopped_at_ms = ? WHERE n = ?"


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


def register(store: Store, identity: Identity, *, lease_ms: int = LEASE_MS) -> Worker:
    """Write this process's row, clear away those that no instance needs, and return it."""
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
    }
    gone = [(worker.n,) for worker in workers(store.connection) if is_dead(worker, clock=clock)]
    with store.write() as connection:
        connection.executemany(_FORGET, gone)
        n = connection.execute(_REGISTER, facts).lastrowid
    return next(worker for worker in workers(store.connection) if worker.n == n)


def renew(store: Store, worker: Worker) -> None:
    """Push the lease's end a whole lease away from now, and raise the beat."""
    with store.write() as connection:
        connection.execute(_RENEW, (store.clock.boot_ms() + worker.lease_ms, worker.n))


def stop(store: Store, worker: Worker) -> None:
    """Say that this process has ended in order; what it holds may be taken at once."""
    with store.write() as connection:
        connection.execute(_STOP, (store.clock.now_ms(), worker.n))
