"""
What decides whose turn it is, for those who look: queues that nobody works on, keys that are held.

    turn_of         of one instance: its queue, and who has its key
    Turn            what that is
    unattended      queues in which something is ready and that no live worker drives
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from statepipe.sharing import DEFAULT_QUEUE
from statepipe.sqlite import sqlite3

#: So many of those that hold a key are named.
NAMED_MAX: Final = 5
#: So many that are ready are looked at.
READY_MAX: Final = 10_000

_INSTANCE = """
SELECT i.priority, i.concurrency_key, i.awaits_turn, coalesce(r.queue, ?)
  FROM instance i
  LEFT JOIN route r ON r.definition = i.definition AND r.state = i.state
 WHERE i.n = ?
"""
_HOLDERS = """
SELECT id
  FROM instance INDEXED BY instance_key_held
 WHERE concurrency_key IS NOT NULL AND status = 'ready' AND awaits_turn = 0
   AND concurrency_key = ?
 ORDER BY n
 LIMIT ?
"""
_BEFORE = """
SELECT count(*)
  FROM instance INDEXED BY instance_key_awaited
 WHERE awaits_turn = 1 AND status = 'ready' AND concurrency_key = :key
   AND (priority > :priority OR priority = :priority AND n < :n)
"""

# The condition of the partial index stands there word for word, as in `listing.py`.
_READY = """
SELECT coalesce(r.queue, :queue), count(*)
  FROM (SELECT definition, state
          FROM instance INDEXED BY instance_free
         WHERE status = 'ready' AND worker IS NULL AND wake_at_ms IS NULL
         LIMIT :most) i
  LEFT JOIN route r ON r.definition = i.definition AND r.state = i.state
 GROUP BY 1
"""


class Turn(NamedTuple):
    """
    What decides when it is an instance's turn.

    Attributes:
        priority: The higher goes first.
        queue: Of the state it is in.
        key: What only so many may have at a time; None if it has none.
        waits: True if it waits for the key.
        holders: Ids of others that have the key, the oldest first; some of them.
        before: How many wait for it whose turn is before this one's.
    """

    priority: int
    queue: str
    key: str | None
    waits: bool
    holders: tuple[str, ...] = ()
    before: int = 0


def turn_of(connection: sqlite3.Connection, n: int) -> Turn:
    """Return what decides when it is the turn of instance number `n`."""
    facts = connection.execute(_INSTANCE, (DEFAULT_QUEUE, n)).fetchone()
    priority, key, waits, queue = facts
    if not waits:
        return Turn(priority, queue, key, waits=False)
    holders = tuple(id_ for (id_,) in connection.execute(_HOLDERS, (key, NAMED_MAX)))
    (before,) = connection.execute(_BEFORE, {"key": key, "priority": priority, "n": n}).fetchone()
    return Turn(priority, queue, key, waits=True, holders=holders, before=before)


def unattended(connection: sqlite3.Connection, served: Iterable[str]) -> dict[str, int]:
    """Return how many are ready in each queue that is none of `served`, as far as was counted."""
    rows = connection.execute(_READY, {"queue": DEFAULT_QUEUE, "most": READY_MAX})
    ready = Counter(dict(rows.fetchall()))
    return {queue: count for queue, count in sorted(ready.items()) if queue not in set(served)}
