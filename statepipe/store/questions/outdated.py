"""
Which workers drive a machine as it was before it changed: they read it when they began.

    Outdated    one machine of one worker
    outdated    what of that a worker has
    outdated_ones   the same of all that live
"""

import json
from collections.abc import Iterable
from typing import Final, NamedTuple

from statepipe.clock import Clock
from statepipe.sqlite import sqlite3
from statepipe.store import liveness
from statepipe.store.liveness import Worker

# A task changes with its machine, and is not named: its name has a "/" (`tasknames`).
_OUTDATED: Final = """
SELECT machine
  FROM definition
 WHERE machine IN (SELECT machine FROM definition
                    WHERE n IN (SELECT value FROM json_each(:known)))
   AND instr(machine, '/') = 0
 GROUP BY machine
HAVING max(n) NOT IN (SELECT value FROM json_each(:known))
 ORDER BY machine
"""


class Outdated(NamedTuple):
    """A machine that a worker drives as it was before it changed."""

    machine: str
    host: str
    pid: int

    @property
    def said(self) -> str:
        """For people, without a next step."""
        return (
            f"process {self.pid} on {self.host} began before {self.machine} changed, and leaves"
            " alone what began since"
        )

    @property
    def fix(self) -> str:
        """What to do about it."""
        return f"stop process {self.pid} and start it again: statepipe worker"


def outdated(connection: sqlite3.Connection, worker: Worker) -> tuple[str, ...]:
    """Return the machines that a worker drives as they were; none if it does not say what."""
    said = {} if worker.serves is None else json.loads(worker.serves)
    known = json.dumps(said.get("definitions", []))
    return tuple(name for (name,) in connection.execute(_OUTDATED, {"known": known}))


def outdated_ones(
    connection: sqlite3.Connection, workers: Iterable[Worker], *, clock: Clock
) -> list[Outdated]:
    """Return what the living ones of some workers drive as it was."""
    return [
        Outdated(machine, worker.host, worker.pid)
        for worker in workers
        if not liveness.is_dead(worker, clock=clock)
        for machine in outdated(connection, worker)
    ]
