"""
Who of the workers lives: read from their rows, the kernel and the boot clock.

    is_dead, death  how it is with one, and why
    living          which of them, inside a transaction

A worker is dead if its process is gone, was born at another moment than it said,
belonged to another boot, or let its lease pass by the boot clock. The wall clock is
never asked, so a resume right after kill -9 takes over at once.
"""

from collections.abc import Container
from pathlib import Path
from typing import Final, Literal, NamedTuple

from statepipe.clock import Clock
from statepipe.sqlite import sqlite3

_WORKERS = """
SELECT n, name, host, pid, pid_started, pid_space, boot_id, lease_ms, beat, deadline_boot_ms,
       stopped_at_ms, slots, serves, started_at_ms
  FROM worker
"""

# Of the second there is none before Linux 5.6, or where the kernel was built without.
_NAMESPACES: Final = ("pid", "time")

#: It said so; its machine was switched off; its process is gone; its lease has passed.
Death = Literal["stopped", "rebooted", "gone", "overdue"]


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
    slots: int  # how many instances it drives at most
    serves: str | None  # what it drives, as JSON; None if only what it was given
    started_at_ms: int


def workers(connection: sqlite3.Connection) -> list[Worker]:
    """Return every worker row."""
    return [Worker(*row) for row in connection.execute(_WORKERS)]


def living(connection: sqlite3.Connection, *, dead: Container[tuple[int, int]]) -> set[int]:
    """
    Return the numbers of the workers that live, inside the caller's transaction.

    Death was judged before it, since no file may be read inside. It is for good, except that a
    worker whose lease had passed may have renewed it since, which its beat tells.

    Args:
        connection: The store.
        dead: Numbers of those that were found dead, each with its beat then.
    """
    rows = connection.execute("SELECT n, beat FROM worker")
    return {n for n, beat in rows if (n, beat) not in dead}


def is_dead(worker: Worker, *, clock: Clock) -> bool:
    """
    Return whether `worker` can never again have a right to its instances.

    A worker whose lease passed while it slept counts as dead: should it wake, the
    epoch refuses whatever it writes.
    """
    return death(worker, clock=clock) is not None


def death(worker: Worker, *, clock: Clock) -> Death | None:
    """Return by what `worker` is known to be dead, None if it lives."""
    if worker.stopped_at_ms is not None:
        return "stopped"
    if worker.boot_id != clock.boot_id:
        return "rebooted"
    if worker.pid_space == pid_space() and pid_started(worker.pid) != worker.pid_started:
        return "gone"
    return "overdue" if clock.boot_ms() >= worker.deadline_boot_ms else None


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


def pid_space() -> str:
    """Return the names of our pid and time namespaces; pids of others mean nothing to us."""
    links = (Path(f"/proc/self/ns/{name}") for name in _NAMESPACES)
    return " ".join(str(each.readlink()) for each in links if each.is_symlink())
