"""
Instances that do part of another one's work, as people see them.

    Part        one of them
    of          those of the stay that an instance is in, or was in last; the first thousand
    asking      what of them, or of theirs, rests for events
    shared      whether the work of a state is theirs
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from statepipe.clock import Clock
from statepipe.sqlite import sqlite3
from statepipe.store import liveness
from statepipe.store.walk import emissions, signals
from statepipe.store.walk.signals import Asking

PARTS_MAX: Final = 1_000

_OF = f"""
SELECT i.worker, i.id, c.task || coalesce('[' || c.element || ']', ''), c.state,
       CASE WHEN i.status <> 'ready' THEN i.status
            WHEN i.worker IS NOT NULL THEN 'running'
            WHEN i.wake_at_ms IS NOT NULL THEN 'waiting'
            ELSE 'ready' END,
       i.attempt, i.error_class, i.error, c.generation, c.visit
  FROM child c
  JOIN instance i ON i.n = c.instance
 WHERE c.parent = :n
   AND (c.generation, c.state, c.visit) = (SELECT generation, state, visit FROM child
                                            WHERE parent = :n ORDER BY instance DESC LIMIT 1)
 ORDER BY c.instance
 LIMIT {PARTS_MAX}
"""  # noqa: S608  (made of constants)


class Part(NamedTuple):
    """One instance that does part of another one's work."""

    id: str
    task: str  # and which element, as in "read[3]"
    state: str  # of the parent
    status: str  # as in `ls`
    attempt: int  # attempts used up
    error_class: str | None
    error: str | None
    generation: int  # of the parent's stay
    visit: int


def of(connection: sqlite3.Connection, n: int, *, clock: Clock) -> list[Part]:
    """Return what does part of the work of an instance, in the order in which it began."""
    found = connection.execute(_OF, {"n": n}).fetchall()
    holders = {worker for worker, *_ in found}
    dead = {
        each.n
        for each in liveness.workers(connection)
        if each.n in holders and liveness.is_dead(each, clock=clock)
    }
    parts = ((worker, Part(*part)) for worker, *part in found)
    return [part._replace(status="stalled") if by in dead else part for by, part in parts]


def asking(
    connection: sqlite3.Connection, n: int, among: Iterable[Part]
) -> tuple[tuple[Asking, str | None], ...]:
    """Return what of them, or of theirs, rests for events, each with the key of these."""
    if all(each.status != "waiting" for each in among):
        return ()
    found = signals.asking(connection, n)
    return tuple((each, emissions.key_of(connection, each.n)) for each in found)


def shared(form: Mapping[str, Any], state: str) -> bool:
    """Return whether the work of a state of a definition in canonical form is done by others."""
    task = form["states"].get(state, {}).get("task", {})
    return "tasks" in task or "machine" in task
