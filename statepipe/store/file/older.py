"""
Processes of an older release that still drive a store whose schema is to be raised.

    dead_ones           those of which it is known that they cannot write any more
    refuse_at_work      nothing is raised while any other is there
"""

from pathlib import Path

from statepipe.clock import Clock
from statepipe.errors import Busy
from statepipe.sqlite import sqlite3
from statepipe.store.liveness import Worker, is_dead

# As version 1 has them: every later version can answer it, too.
_WORKERS = """
SELECT n, name, host, pid, pid_started, pid_space, boot_id, lease_ms, beat, deadline_boot_ms,
       stopped_at_ms, 0, NULL, started_at_ms
  FROM worker
"""

#: Numbers of workers, and the beats at which they were found dead.
Dead = frozenset[tuple[int, int]]


def dead_ones(connection: sqlite3.Connection, *, clock: Clock) -> Dead:
    """Return who is dead of the processes that drove it; reads files, so in no transaction."""
    return frozenset((w.n, w.beat) for w in _workers(connection) if is_dead(w, clock=clock))


def refuse_at_work(connection: sqlite3.Connection, path: Path, *, dead: Dead) -> None:
    """
    Refuse to raise the schema under a process that is not among the `dead`.

    Raises:
        Busy: The message names it.
    """
    for worker in _workers(connection):
        if (worker.n, worker.beat) not in dead:
            raise Busy(
                f"process {worker.pid} on {worker.host} drives {path} with an older release",
                meaning="nothing was changed; this release has to change the store's schema first",
                next_step=f"stop process {worker.pid}, then repeat the command",
            )


def _workers(connection: sqlite3.Connection) -> list[Worker]:
    return [Worker(*row) for row in connection.execute(_WORKERS)]
