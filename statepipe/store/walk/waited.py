"""
Who waits for an event with a key, or has waited, and wants to hear nothing of it too late.

    keep        what a rest, or the end of a wait, says of it, in the transaction of that change
    judge       for whom an emit comes too late, in the transaction of the emit

A row says that a wait for the event and key has begun, since the last rewind, and in which
states the instance waits for just that. While it is in one of them, an emit is in time, be it
driven, paused or at rest; in any other the wait has ended, however that came to be. So nothing
need be written when an instance is cancelled or its deadline passes, and the order of commits
alone decides. What was emitted is asked for no more: no row is kept of it.
"""

from collections.abc import Mapping
from typing import Any, Final

from statepipe.model import Attachment, Change
from statepipe.sqlite import sqlite3

# What the state has said before: it may wait for something else by now, or by another rule.
_FORGET: Final = """
DELETE FROM waited
 WHERE instance = ? AND EXISTS (SELECT 1 FROM json_each(states) WHERE value = ?)
"""

_KEEP: Final = """
INSERT OR REPLACE INTO waited (event, key, instance, generation, states, late)
SELECT :event, :key, :n, :generation, :states, :late
 WHERE NOT EXISTS (SELECT 1 FROM emitted WHERE event = :event AND key = :key)
"""

JUDGE: Final = """
INSERT INTO late_event (instance, generation, event, key, params, reason, sent_at_ms, became)
SELECT w.instance, w.generation, w.event, w.key, iif(w.late = 'quarantine', :params, NULL),
       :reason, :now_ms, w.late
  FROM waited w
  JOIN instance i ON i.n = w.instance AND i.generation = w.generation
 WHERE w.event = :event AND w.key = :key
   AND NOT EXISTS (SELECT 1 FROM json_each(w.states) WHERE value = i.state)
RETURNING instance, became
"""

_SETTLED: Final = "DELETE FROM waited WHERE event = :event AND key = :key"


def keep(connection: sqlite3.Connection, change: Change, key: str, attachment: Attachment) -> None:
    """Write down which events of `key` a wait is for that may come too late for it."""
    connection.execute(_FORGET, (change.n, change.source))
    facts = {"key": key, "n": change.n, "generation": attachment.stay.generation}
    for event, states, late in attachment.asks:
        connection.execute(_KEEP, {**facts, "event": event, "states": states, "late": late})


def judge(connection: sqlite3.Connection, facts: Mapping[str, Any]) -> tuple[tuple[int, str], ...]:
    """
    Write down for whom what is emitted just now comes too late; return them, and what it became.

    `facts` are the `event`, `key`, encoded `params`, `reason` and `now_ms` of its first emit.
    """
    late = connection.execute(JUDGE, facts).fetchall()
    connection.execute(_SETTLED, facts)
    return tuple(sorted(late))
