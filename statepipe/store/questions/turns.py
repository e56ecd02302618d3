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
from statepipe.store.walk.lines import lines
from statepipe.store.walk.ready import AWAITS_KEY, FREE

#: So many of those that hold a key are named.
NAMED_MAX: Final = 5
#: So many that are ready are counted, of one priority, machine and state.
COUNTED_MAX: Final = 10_000

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

_ROUTES = "SELECT definition, state, queue FROM route"


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
    routes = {(n, state): queue for n, state, queue in connection.execute(_ROUTES)}
    known = frozenset(served)
    found: Counter[str] = Counter()
    for kind in (FREE, AWAITS_KEY):
        for line in lines(connection, kind, {}):
            queue = routes.get((line.definition, line.state), DEFAULT_QUEUE)
            if queue not in known:  # of the others not one is read, however many there are
                most = {**line._asdict(), "most": COUNTED_MAX}
                (count,) = connection.execute(kind.how_many, most).fetchone()
                found[queue] += count
    return dict(sorted(found.items()))
