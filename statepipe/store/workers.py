"""
Who drives: the rows of worker processes, their leases, and who of them is dead.

One lease a process, not one an instance: renewing it is one row, whatever the
number of instances (docs/decisions/0005). A worker is dead if its process is
gone, was born at another moment than it said, belonged to another boot, or let
its lease pass by the boot clock. The wall clock is never asked, so a resume right
after kill -9 takes over at once and nobody waits out a lease.
"""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from statepipe.clock import Clock
from statepipe.sqlite import sqlite3
from statepipe.store.connection import Store

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

_WORKERS = """
SELECT n, name, host, pid, pid_started, pid_space, boot_id, lease_ms, beat, deadline_boot_ms,
       stopped_at_ms
  FROM worker
"""


class Worker(NamedTuple):
    """One row of `worker`."""

    n: int
    name: str
    host: str
    pid: int
    pid_started: int  # clock ticks after boot
    pid_space: str  # pid and time namespace
    boot_id: str
    lease_ms: int
    beat: int
    deadline_boot_ms: int
    stopped_at_ms: int | None


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
        return cls(host=socket.gethostname(), pid=pid, pid_started=started, pid_space=_pid_space())


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


def workers(connection: sqlite3.Connection) -> list[Worker]:
    """Return every worker row."""
    return [Worker(*row) for row in connection.execute(_WORKERS)]


def is_dead(worker: Worker, *, clock: Clock) -> bool:
    """
    Return whether `worker` can never again have a right to its instances.

    A worker whose lease passed while it slept counts as dead: should it wake, the
    epoch refuses whatever it writes.
    """
    if worker.stopped_at_ms is not None or worker.boot_id != clock.boot_id:
        return True
    if clock.boot_ms() >= worker.deadline_boot_ms:
        return True
    return worker.pid_space == _pid_space() and pid_started(worker.pid) != worker.pid_started


def pid_started(pid: int) -> int | None:
    """Return when process `pid` was born, in clock ticks after boot; None if there is none."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field, the program's name, may contain spaces and parentheses.
    fields = status.rpartition(")")[2].split()
    zombie = fields[0] in ("Z", "X")
    return None if zombie else int(fields[19])


def _pid_space() -> str:
    return " ".join(str(Path(f"/proc/self/ns/{name}").readlink()) for name in ("pid", "time"))
