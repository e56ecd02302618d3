"""
Who replays what was rejected: marks on rejects, and where an instance's records come from.

    of_origin           those that an instance's rejects went to
    origin_of           whose records an instance replays
    replaceable         those that failed before anything could have been loaded
    refuse_replaced     one whose records another has is never driven again
    refuse_replayed     what others replay is not to be appended by the original as well
    forget              what a prune takes along

They are made by `replaying.py`.
"""

import json
import shlex
from collections.abc import Collection
from typing import NamedTuple

from statepipe.errors import Refused
from statepipe.sqlite import sqlite3

# One that entered a loading state may have loaded a batch without the store knowing it.
_REPLACEABLE = """
SELECT i.id
  FROM replay r
  JOIN instance i ON i.n = r.instance
 WHERE r.origin = ?
   AND i.status IN ('failed', 'cancelled')
   AND NOT EXISTS (SELECT 1 FROM plan p WHERE p.instance = i.n)
"""

_OF_ORIGIN = """
SELECT i.id, r.records, i.status, r.replaced_by
  FROM replay r
  JOIN instance i ON i.n = r.instance
 WHERE r.origin = ?
 ORDER BY r.instance
"""

_REPLAYED = """
SELECT r.state, p.id
  FROM reject r
  JOIN replayed p ON p.reject = r.n
 WHERE r.instance = ? AND r.state IN (SELECT value FROM json_each(?))
 ORDER BY r.n DESC
 LIMIT 1
"""

# Its records go back to quarantine with one that never came to load any.
_FORGET = (
    """
DELETE FROM replayed
 WHERE id IN (SELECT i.id
                FROM instance i
                JOIN pruning p ON p.instance = i.n
               WHERE i.status IN ('failed', 'cancelled')
                 AND NOT EXISTS (SELECT 1 FROM plan WHERE plan.instance = i.n))
""",
    """
DELETE FROM replayed
 WHERE reject IN (SELECT r.n FROM reject r JOIN pruning p ON p.instance = r.instance)
""",
    "DELETE FROM replay WHERE instance IN (SELECT instance FROM pruning)",
)


class Replay(NamedTuple):
    """One instance that replays; `replaced_by` is the one that has its records now."""

    id: str
    records: int
    status: str
    replaced_by: str | None


def replaceable(connection: sqlite3.Connection, origin_id: str) -> frozenset[str]:
    """Return the replays of an instance whose records may be replayed by another."""
    return frozenset(id_ for (id_,) in connection.execute(_REPLACEABLE, (origin_id,)))


def of_origin(connection: sqlite3.Connection, origin_id: str) -> list[Replay]:
    """Return the instances that replay records of this one, the oldest first."""
    return [Replay(*row) for row in connection.execute(_OF_ORIGIN, (origin_id,))]


def origin_of(connection: sqlite3.Connection, instance: int) -> tuple[str, int] | None:
    """Return whose records an instance replays, and how many; None if it replays none."""
    sql = "SELECT origin, records FROM replay WHERE instance = ?"
    row: tuple[str, int] | None = connection.execute(sql, (instance,)).fetchone()
    return row


def refuse_replaced(connection: sqlite3.Connection, instance: int, instance_id: str) -> None:
    """
    Refuse to take an instance back to work whose records another one replays.

    Raises:
        Refused: It names that one.
    """
    sql = "SELECT replaced_by FROM replay WHERE instance = ? AND replaced_by IS NOT NULL"
    row = connection.execute(sql, (instance,)).fetchone()
    if row is not None:
        raise Refused(
            f"the records that {instance_id!r} was to replay are replayed by {row[0]!r}",
            meaning="nothing was changed; otherwise they would be loaded twice",
            next_step=f"statepipe inspect {shlex.quote(row[0])}",
        )


def refuse_replayed(
    connection: sqlite3.Connection, instance: int, instance_id: str, *, states: Collection[str]
) -> None:
    """
    Refuse to let an instance do `states` again if others replay what these have rejected.

    Raises:
        Refused: It names the state, and who replays.
    """
    row = connection.execute(_REPLAYED, (instance, json.dumps(list(states)))).fetchone()
    if row is not None:
        raise Refused(
            f"what {row[0]!r} of {instance_id!r} rejected is replayed by {row[1]!r}, and what is"
            " loaded after it is appended, without a key: done again, it may be there twice",
            meaning="nothing was changed",
            next_step=f"statepipe inspect {shlex.quote(row[1])}"
            f"   # or: statepipe rewind {shlex.quote(instance_id)}"
            " --to STATE, one after that",
        )


def forget(connection: sqlite3.Connection) -> None:
    """Delete what belongs to the instances in `pruning`, inside the transaction that prunes."""
    for sql in _FORGET:
        connection.execute(sql)
