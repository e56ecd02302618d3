"""
Instances that do part of another one's work: the tasks of a graph, elements of a fan-out.

    Standing        one child, as its parent looks at it; of_stay: all of one stay
    learned, failure    what one of them has learned, or failed by
    unfinished      the children that have not ended, whatever stay they are of
    failed          those of the stay in which their parent failed that have something to clean
    to_take_back    those of the newest stay that have not done their work
    going_on        those that a resume takes back with their parent, and theirs
    machines        those of them that are of machines of their own, and theirs
    Adoption, adopt     one goes on by another definition
    let_go_on       those of it that have yet to pause, or to end, need not
    parent_of       whose child an instance is
    above           the instances of whose work one does part, and the key of each
    refuse_part, refuse_unawaited, refuse_at_work
                    what cannot be done to a child, or to its parent meanwhile

How they come to be, and what becomes of them when their parent moves, is `families.py`.
"""

import shlex
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from statepipe.errors import Busy, Refused
from statepipe.model import Stay
from statepipe.sqlite import sqlite3
from statepipe.store.walk.interventions import ASKED_FOR, JOURNAL_OF_STEERING, NO_TIMER

#: Why a child that was at rest goes on by another definition, for the journal.
ADOPTED: Final = "as its machine is now, with its parent"

_OF_STAY = """
SELECT i.n, c.task, c.element, i.status, i.definition, i.worker
  FROM child c
  JOIN instance i ON i.n = c.instance
 WHERE c.parent = ? AND c.generation = ? AND c.state = ? AND c.visit = ?
 ORDER BY i.n
"""

_UNFINISHED = f"""
SELECT i.n, i.id, i.status, i.state, {ASKED_FOR},
       i.status = 'ready' AND i.failed_state IS NOT NULL, i.awaits_turn
  FROM child c
  JOIN instance i ON i.n = c.instance
 WHERE c.parent = ? AND i.status IN ('ready', 'paused')
 ORDER BY i.n
"""  # noqa: S608  (made of constants)

_LEFT = """
SELECT p.id, c.state
  FROM child c
  JOIN instance p ON p.n = c.parent
 WHERE c.instance = ?
   AND (c.generation, c.state) <> (p.generation, coalesce(p.failed_state, p.state))
"""

# Of the stay that the parent is in: they were made since it entered the state. It may have begun
# none yet, and those of an earlier visit are nobody's work any more.
_NEWEST = """
SELECT i.n, i.status, i.state, i.failed_state, i.definition
  FROM child c
  JOIN instance i ON i.n = c.instance
 WHERE c.parent = :parent AND c.generation = :generation AND c.state = :state
   AND (SELECT n FROM journal WHERE instance = c.instance AND seq = 1)
       > (SELECT max(n) FROM journal
           WHERE instance = :parent AND target = :state AND kind IN ('create', 'move', 'rewind'))
"""

_TO_CLEAN = f"""{_NEWEST}
   AND i.status = 'failed'
   AND (SELECT json_extract(body, '$.on_cancel') FROM definition WHERE n = i.definition) IS NOT NULL
 ORDER BY i.n
"""  # noqa: S608  (made of constants)
_RESTING = f"{_NEWEST}   AND i.status IN ('failed', 'cancelled', 'paused')\n ORDER BY i.n\n"
# What a process drives may have heard of a cancel already, and have left work out because of it.
_ASKED = f"""{_NEWEST}
   AND i.status = 'ready'
   AND (i.request = 'pause' OR i.request = 'cancel' AND i.worker IS NULL)
 ORDER BY i.n
"""

#: What begins a query of `below`: what does part of the work of `{parents}`, and of theirs.
BELOW: Final = """
WITH RECURSIVE below (n) AS (
  SELECT instance FROM child WHERE parent IN ({parents})
   UNION ALL
  SELECT c.instance FROM child c JOIN below b ON c.parent = b.n
)
"""

_PLACE = "SELECT generation, coalesce(failed_state, state) FROM instance WHERE n = ?"

_NAMED = """
SELECT i.n, i.id, d.machine, i.created_at_ms
  FROM instance i
  JOIN definition d ON d.n = i.definition
 WHERE i.n = ?
"""

# Of a machine that an author wrote: a task's name has a "/" (`tasknames`).
_MACHINES = f"""{_NEWEST}
   AND iif(:cancels, i.status = 'ready', i.status <> 'done')
   AND (SELECT instr(machine, '/') FROM definition WHERE n = i.definition) = 0
 ORDER BY i.n
"""  # noqa: S608  (made of constants)

_STANDS = """
SELECT generation, coalesce(failed_state, state), status = 'ready' AND failed_state IS NOT NULL
  FROM instance
 WHERE n = ?
"""

# It is looked at anew: what its timer was for may be no part of its machine any more.
_ADOPT = f"""
UPDATE instance
   SET seq           = seq + 1,
       definition    = :definition,
       {NO_TIMER},
       updated_at_ms = :now_ms,
       change        = 'request'
 WHERE n = :n AND status = 'ready' AND definition <> :definition
RETURNING state
"""  # noqa: S608  (made of constants)

_ABOVE = """
WITH RECURSIVE above (n) AS (
  SELECT parent FROM child WHERE instance = :n
   UNION ALL
  SELECT c.parent FROM child c JOIN above a ON c.instance = a.n
)
SELECT i.id, i.concurrency_key FROM instance i WHERE i.n = :n OR i.n IN above
"""

_LET_GO_ON = """
UPDATE instance
   SET seq           = seq + 1,
       request       = NULL,
       updated_at_ms = :now_ms,
       change        = 'request'
 WHERE n = :n
"""


class Standing(NamedTuple):
    """One child, as its parent looks at it."""

    n: int
    task: str
    element: int | None
    status: str
    definition: int
    worker: int | None


class Adoption(NamedTuple):
    """A child that goes on by another definition, if its `seq` is still that."""

    n: int
    seq: int
    definition: int


class Unfinished(NamedTuple):
    """A child that has not ended."""

    n: int
    id: str
    status: str
    state: str
    request: str | None
    is_being_cancelled: bool
    awaits_turn: bool


def of_stay(connection: sqlite3.Connection, parent: int, stay: Stay) -> list[Standing]:
    """Return the children of one stay, in the order in which they were made."""
    return [Standing(*row) for row in connection.execute(_OF_STAY, (parent, *stay))]


def learned(connection: sqlite3.Connection, n: int) -> bytes | None:
    """Return what a child has learned, as the runtime encodes it."""
    sql = "SELECT picture FROM instance WHERE n = ?"
    picture: bytes | None = connection.execute(sql, (n,)).fetchone()[0]
    return picture


def failure(connection: sqlite3.Connection, n: int) -> tuple[str | None, str | None]:
    """Return class and text of the last error of a child."""
    sql = "SELECT error_class, error FROM instance WHERE n = ?"
    row: tuple[str | None, str | None] = connection.execute(sql, (n,)).fetchone()
    return row


def unfinished(connection: sqlite3.Connection, parent: int) -> list[Unfinished]:
    """Return the children that have not ended."""
    return [Unfinished(*row) for row in connection.execute(_UNFINISHED, (parent,))]


def failed(connection: sqlite3.Connection, parent: int) -> list[int]:
    """Return the children by which their parent failed, if their machines have an `on_cancel`."""
    sql = "SELECT generation, failed_state FROM instance WHERE n = ?"
    generation, state = connection.execute(sql, (parent,)).fetchone()
    facts = {"parent": parent, "generation": generation, "state": state}
    return [n for n, *_ in connection.execute(_TO_CLEAN, facts)]


def to_take_back(
    connection: sqlite3.Connection, parent: int, generation: int, state: str
) -> list[tuple[int, str, str, str | None, int]]:
    """
    Return the children of the newest stay in `state` that rest and have not done their work.

    Of each its number, status, state, failed state, and the number of its definition.
    """
    facts = {"parent": parent, "generation": generation, "state": state}
    rows: list[tuple[int, str, str, str | None, int]]
    rows = connection.execute(_RESTING, facts).fetchall()
    return rows


class GoingOn(NamedTuple):
    """A child that a resume takes back with its parent."""

    n: int
    id: str
    machine: str
    created_at_ms: int


def going_on(connection: sqlite3.Connection, parent: int) -> Iterator[GoingOn]:
    """Yield the children that a resume takes back with instance number `parent`, and theirs."""
    place = connection.execute(_PLACE, (parent,)).fetchone()
    if place is None:  # pruned since it was found, and its children with it
        return
    for n, *_ in to_take_back(connection, parent, *place):
        yield GoingOn(*connection.execute(_NAMED, (n,)).fetchone())
        yield from going_on(connection, n)


def machines(connection: sqlite3.Connection, parent: int) -> Iterator[int]:
    """
    Yield those that do part of an instance's work and are of machines of their own, and theirs.

    Those that it waits for: of the newest stay, and not done; while it is being cancelled, those
    that are yet to end.
    """
    place = connection.execute(_STANDS, (parent,)).fetchone()
    if place is None:  # pruned since it was found, and its children with it
        return
    generation, state, cancels = place
    facts = {"parent": parent, "generation": generation, "state": state, "cancels": cancels}
    for n, *_ in connection.execute(_MACHINES, facts).fetchall():
        yield n
        yield from machines(connection, n)


def have_moved(connection: sqlite3.Connection, adoptions: Iterable[Adoption]) -> bool:
    """Return True if one of them is not what it was when that was decided."""
    sql = "SELECT 1 FROM instance WHERE n = ? AND seq = ?"
    return any(connection.execute(sql, (each.n, each.seq)).fetchone() is None for each in adoptions)


def adopt(connection: sqlite3.Connection, adoptions: Iterable[Adoption], *, at_ms: int) -> None:
    """Let those that are ready go on by other definitions; taken back, they do so already."""
    for each in adoptions:
        facts = {"n": each.n, "definition": each.definition, "now_ms": at_ms}
        for (state,) in connection.execute(_ADOPT, facts).fetchall():
            _journal(connection, each.n, "adopt", state=state, note=ADOPTED)


def let_go_on(
    connection: sqlite3.Connection, parent: int, generation: int, state: str, *, at_ms: int
) -> None:
    """
    Take back what the children of the newest stay in `state` were asked and have yet to obey.

    Their parent goes on, and would wait for ever for one that paused after it was taken back, or
    fail by one that was cancelled. A cancel stays with those that a process drives.
    """
    facts = {"parent": parent, "generation": generation, "state": state}
    for n, _, now, *_ in connection.execute(_ASKED, facts).fetchall():
        connection.execute(_LET_GO_ON, {"n": n, "now_ms": at_ms})
        _journal(connection, n, "resume", state=now, note="its parent goes on")


def above(connection: sqlite3.Connection, n: int) -> list[tuple[str, str | None]]:
    """Return id and key of instance number `n`, and of all of whose work it does part."""
    return list(connection.execute(_ABOVE, {"n": n}))


def parent_of(connection: sqlite3.Connection, n: int) -> str | None:
    """Return the id of the instance that number `n` is a child of; None if it is none."""
    sql = "SELECT i.id FROM child c JOIN instance i ON i.n = c.parent WHERE c.instance = ?"
    row = connection.execute(sql, (n,)).fetchone()
    return None if row is None else row[0]


def refuse_part(connection: sqlite3.Connection, n: int, instance_id: str, *, verb: str) -> None:
    """
    Refuse to do to a child what would part it from its parent.

    Raises:
        Refused: Instance number `n` is part of another one's work.
    """
    parent = parent_of(connection, n)
    if parent is not None:
        state = connection.execute("SELECT state FROM child WHERE instance = ?", (n,)).fetchone()
        to = {"rewind": f" --to {state[0]}", "fork": f" --at {state[0]} --reason …"}.get(verb, "")
        raise Refused(
            f"{instance_id!r} does part of the work of {parent!r}, which waits for it",
            meaning="nothing was changed",
            next_step=f"statepipe {verb} {shlex.quote(parent)}{to}",
        )


def refuse_unawaited(connection: sqlite3.Connection, n: int, instance_id: str) -> None:
    """
    Refuse to take back a child of a stay that its parent has left.

    Raises:
        Refused: Instance number `n` is one.
    """
    left = connection.execute(_LEFT, (n,)).fetchone()
    if left is not None:
        raise Refused(
            f"{instance_id!r} did part of an earlier stay of {left[0]!r} in {left[1]}",
            meaning="nothing was changed: nobody waits for it any more",
            next_step=f"statepipe inspect {shlex.quote(left[0])}",
        )


def refuse_at_work(connection: sqlite3.Connection, n: int, instance_id: str) -> None:
    """
    Refuse to put an instance elsewhere while others do part of its work.

    Raises:
        Busy: They have not ended.
    """
    if found := unfinished(connection, n):
        raise Busy(
            f"{found[0].id!r} does part of the work of {instance_id!r} and has not ended",
            meaning="nothing was changed",
            next_step=f"statepipe cancel {shlex.quote(instance_id)}"
            "   # ends it and all that work for it",
        )


def _journal(connection: sqlite3.Connection, n: int, event: str, *, state: str, note: str) -> None:
    said = {"n": n, "event": event, "source": state, "note": note}
    connection.execute(JOURNAL_OF_STEERING, said)
