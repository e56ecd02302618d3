"""
Events that are emitted to whoever waits for them: one row an event and key, for ever.

    emit        write one down, and wake all who rest for it; one transaction
    first       the oldest that was emitted, of some events with one key
    keep_wait   what a change says of a wait, in the transaction of the change
    told        what an instance rests for, in words
    key_of      the key of the events that an instance rests for
    judges      the machines that say what shape an event has
    known       the events that stored definitions wait for with a key, or triggers listen to
    since       what was emitted of one event after another one
    newest      the number of the last emit

The first emit wins: it is a fact, which who comes late finds there, and who repeats it only
counts. For an instance whose wait has ended it may be too late (`waited.py`): then that one
does not find it. The committer asks once more whether it was emitted when it commits a rest, so
that an emit cannot fall between a look and that commit.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from statepipe.errors import BadParameter
from statepipe.model import Attachment, Change
from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.walk import datasets, signals, waited
from statepipe.store.walk.interventions import JOURNAL_OF_STEERING
from statepipe.store.walk.signals import WAKE, encoded

KEY_CHARS_MAX: Final = 1_000

_EMIT = """
INSERT INTO emitted (event, key, params, reason, emitted_at_ms)
VALUES (:event, :key, :params, :reason, :now_ms)
    ON CONFLICT (event, key) DO UPDATE SET repeats = repeats + 1
RETURNING repeats, params IS NOT :params
"""

_RESTING = """
SELECT i.n, i.state
  FROM awaiting a
  JOIN instance i ON i.n = a.instance
 WHERE a.event = ? AND a.key = ? AND i.wake_boot_id IS NOT NULL AND i.attempt = 0
"""

_FIRST = """
SELECT e.event, e.params, e.reason
  FROM emitted e
 WHERE e.key = ? AND e.event IN ({events})
   AND NOT EXISTS (SELECT 1
                     FROM late_event l
                     JOIN instance i ON i.n = l.instance AND i.generation = l.generation
                    WHERE l.instance = ? AND l.event = e.event AND l.key = e.key)
 ORDER BY e.n
 LIMIT 1
"""

_KNOWN = """
SELECT DISTINCT e.value
  FROM definition d, json_each(d.body, '$.states') s, json_each(s.value, '$.task.wait') e
 WHERE json_extract(s.value, '$.task.key') IS NOT NULL
"""

_LISTENED = """
UNION
SELECT json_extract(listens, '$.event') FROM machine_trigger WHERE kind = 'event'
"""

_SINCE = """
SELECT n, event, key, params, emitted_at_ms
  FROM emitted
 WHERE event = ? AND n > ?
 ORDER BY n
 LIMIT ?
"""

_SCHEMAS = """
SELECT DISTINCT d.machine
  FROM definition d, json_each(d.body, '$.events') e
 WHERE e.key = ?
"""

_REST = "INSERT INTO awaiting (event, key, instance) VALUES (?, ?, ?)"


class Fact(NamedTuple):
    """What was emitted; `params` are encoded by the codec."""

    event: str
    params: bytes
    reason: str | None


class Row(NamedTuple):
    """One emit, as it is written down; `params` are encoded by the codec."""

    n: int
    event: str
    key: str
    params: bytes
    at_ms: int


class Emitted(NamedTuple):
    """What an emit did: how often it was emitted before, and the rows that tell who was woken."""

    repeats: int
    woken: tuple[tuple[int, int], ...]  # numbers of instances, and seqs
    starts: tuple[str, ...] = ()  # triggers that start an instance for it, with their machines
    refused: tuple[tuple[str, str], ...] = ()  # triggers that start nothing for it, and why
    differs: bool = False  # something else went with it then, and stays
    late: tuple[tuple[int, str], ...] = ()  # for which instances too late, and what it became


def emit(
    store: Store, event: str, key: str, params: Mapping[str, Any], *, reason: str | None
) -> Emitted:
    """
    Write down that `event` happened for `key`, and wake who rests for that.

    Of who does not wait for it any more it is written down that it came too late.

    Raises:
        ValueRefused: The parameters are no plain data.
        BadParameter: They are too large, or the key is empty or too long.
    """
    if not 0 < len(key) <= KEY_CHARS_MAX:
        raise BadParameter(
            f"a key has 1 to {KEY_CHARS_MAX:,} characters, this one {len(key):,}",
            meaning="nothing was changed",
            next_step=f"statepipe emit {event} --key KEY",
        )
    facts = {
        "event": event,
        "key": key,
        "params": encoded(event, params),
        "reason": reason,
        "now_ms": store.clock.now_ms(),
    }
    with store.write() as connection:
        ((repeats, differs),) = connection.execute(_EMIT, facts).fetchall()
        if repeats:
            return Emitted(repeats, (), differs=bool(differs))
        late = waited.judge(connection, facts)
        resting = connection.execute(_RESTING, (event, key)).fetchall()
        woken = [_wake(connection, n, state, facts) for n, state in resting]
    return Emitted(0, tuple(woken), late=late)


def first(connection: sqlite3.Connection, key: str, events: Collection[str], n: int) -> Fact | None:
    """Return the oldest of `events` that was emitted with `key`, not too late for instance `n`."""
    sql = _FIRST.format(events=", ".join("?" * len(events)))
    row = connection.execute(sql, (key, *events, n)).fetchone()
    return None if row is None else Fact(*row)


def keep_wait(connection: sqlite3.Connection, change: Change, attachment: Attachment) -> bool:
    """
    Write down what a change says of a wait: the signal it takes, a key, the events it lacks.

    The key is None if it says nothing of one; no events are left if it lacks none of a key.
    False if one of those was emitted: then it must neither rest, nor end for lack of it. Inside
    the caller's transaction.
    """
    taken, key, events = attachment.wait or (None, None, ())
    if taken is not None:
        signals.take(connection, taken, seq=change.seq + 1)
    if key is None:
        return True
    waited.keep(connection, change, key, attachment)
    connection.execute("DELETE FROM awaiting WHERE instance = ?", (change.n,))
    if change.state == change.source:
        connection.executemany(_REST, [(event, key, change.n) for event in events])
    if events and datasets.is_name(events[0]):
        return datasets.found(connection, events[0], key) is None
    return not events or first(connection, key, events, change.n) is None


def told(events: Sequence[str], key: str | None) -> str:
    """Return what people call what an instance rests for: events, or a dataset."""
    if datasets.is_name(events[0]):
        return datasets.told(events[0], key or "")
    return f"{' or '.join(events)} of {key}" if key else " or ".join(events)


def key_of(connection: sqlite3.Connection, n: int) -> str | None:
    """Return the key of the events that instance number `n` rested for last, if it had one."""
    row = connection.execute("SELECT key FROM awaiting WHERE instance = ?", (n,)).fetchone()
    return None if row is None else row[0]


def known(connection: sqlite3.Connection) -> set[str]:
    """Return the events that somebody in the store waits for with a key, or listens to."""
    return {event for (event,) in connection.execute(_KNOWN + _LISTENED)}


def since(connection: sqlite3.Connection, event: str, *, after: int, most: int) -> list[Row]:
    """Return the first emits of an event after number `after`, `most` at most."""
    return [Row(*row) for row in connection.execute(_SINCE, (event, after, most))]


def newest(connection: sqlite3.Connection) -> int:
    """Return the number of the last emit; 0 if nothing was ever emitted."""
    n: int = connection.execute("SELECT coalesce(max(n), 0) FROM emitted").fetchone()[0]
    return n


def judges(connection: sqlite3.Connection, event: str) -> list[str]:
    """Return the machines of the store that say what shape `event` has."""
    return [machine for (machine,) in connection.execute(_SCHEMAS, (event,))]


def _wake(
    connection: sqlite3.Connection, n: int, state: str, facts: Mapping[str, Any]
) -> tuple[int, int]:
    ((seq,),) = connection.execute(WAKE, {"n": n, "wakes": True, **facts}).fetchall()
    reason = f": {facts['reason']}" if facts["reason"] else ""
    note = f"{facts['event']} of {facts['key']}{reason}"
    said = {"n": n, "event": "emit", "source": state, "note": note}
    connection.execute(JOURNAL_OF_STEERING, said)
    return n, seq
