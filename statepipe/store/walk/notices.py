"""
The outbox: what people are to be told, from the commit that causes it until somebody told them.

    insert      in the caller's transaction; a key that is there already makes no second row
    due         the targets that something is due for
    take        the oldest notice that is due for a target, if its rate allows another
    sent, failed, give_up   how the try ended
    sweep       what is too old to be of use
    pending     how many wait, by target
    listed      the newest, for people

Taking a notice sets when it is due again, so that no second process takes it meanwhile, and
one whose process dies is taken once more: the same key goes out twice then, and only then.
`next_at_ms` is by the wall clock, since whoever comes next may come after a reboot; nothing
is ever put off for longer than `AHEAD_MS_MAX`, and what seems to be is due: the clock was
set back.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from statepipe.model import Notice
from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.metrics.counters import Counters

#: The longest that a notice is ever put off, by a rate of so many a day.
AHEAD_MS_MAX: Final = 86_400_000

#: How long a notice is kept, and how long it may wait for somebody who can send it.
KEPT_MS: Final = 30 * 86_400_000

#: The event of a notice that stands for others; the outbox makes it itself.
DROPPED: Final = "dropped"

_SWEPT_MAX: Final = 10_000

_INSERT = """
INSERT INTO notice (key, event, target, machine, instance, body, at_ms, next_at_ms)
VALUES (:key, :event, :target, :machine, :instance, :body, :at_ms, :next_at_ms)
    ON CONFLICT (key) DO NOTHING
"""

# By the first and the last of the index alone, however many wait.
_DUE = """
SELECT coalesce((SELECT min(next_at_ms) FROM notice WHERE target = :target AND done_at_ms IS NULL)
                <= :now_ms, 0)
    OR coalesce((SELECT max(next_at_ms) FROM notice WHERE target = :target AND done_at_ms IS NULL)
                > :now_ms + :ahead_ms, 0)
"""

_NEXT = """
SELECT n, key, event, target, machine, instance, body, at_ms, tries + 1
  FROM notice
 WHERE target = :target AND done_at_ms IS NULL
   AND (next_at_ms <= :now_ms OR next_at_ms > :now_ms + :ahead_ms)
 ORDER BY next_at_ms, n
 LIMIT 1
"""

# A try that has begun and has not ended has no error.
_TAKE = """
UPDATE notice
   SET tries      = :tries,
       error      = NULL,
       next_at_ms = :next_at_ms
 WHERE n = :n
"""

_SENT = """
UPDATE notice
   SET done_at_ms = :now_ms,
       outcome    = 'sent',
       error      = NULL
 WHERE n = :n AND done_at_ms IS NULL
"""

_FAILED = """
UPDATE notice
   SET next_at_ms = :next_at_ms,
       error      = :error
 WHERE n = :n AND tries = :tries AND done_at_ms IS NULL
"""

_GIVE_UP = """
UPDATE notice
   SET done_at_ms = :now_ms,
       outcome    = 'given up',
       error      = :error
 WHERE n = :n AND tries = :tries AND done_at_ms IS NULL
"""

_SENT_LATELY = """
SELECT done_at_ms
  FROM notice
 WHERE target = :target AND outcome = 'sent' AND done_at_ms > :since_ms AND done_at_ms <= :now_ms
 ORDER BY done_at_ms
"""

_IN_FLIGHT = """
SELECT count(*)
  FROM notice
 WHERE target = :target AND done_at_ms IS NULL AND tries > 0 AND error IS NULL
   AND NOT (next_at_ms <= :now_ms OR next_at_ms > :now_ms + :ahead_ms)
"""

_DROP = """
UPDATE notice
   SET done_at_ms = :now_ms,
       outcome    = 'dropped',
       error      = :error
 WHERE target = :target AND done_at_ms IS NULL AND event <> 'dropped'
   AND (next_at_ms <= :now_ms OR next_at_ms > :now_ms + :ahead_ms)
RETURNING n
"""

_SUMMARY = """
SELECT key, body
  FROM notice
 WHERE target = :target AND done_at_ms IS NULL AND event = 'dropped' AND tries = 0
"""

_RETELL = "UPDATE notice SET body = :body WHERE key = :key"

_POSTPONE = """
UPDATE notice
   SET next_at_ms = :next_at_ms
 WHERE target = :target AND done_at_ms IS NULL AND event = 'dropped'
   AND (next_at_ms <= :now_ms OR next_at_ms > :now_ms + :ahead_ms)
"""

# Never the highest number, which the next notice would be given again while a process that took
# this one, and slept, still believes that it is its own to send.
_OLD = """
SELECT n FROM notice WHERE done_at_ms < :before_ms AND n < (SELECT max(n) FROM notice)
"""

_FORGET = f"DELETE FROM notice WHERE n IN ({_OLD} LIMIT :limit)"  # noqa: S608  (our own words)

_TOO_OLD = f"""
SELECT 1 WHERE EXISTS ({_OLD})
    OR EXISTS (SELECT 1 FROM notice WHERE done_at_ms IS NULL AND at_ms < :before_ms)
"""  # noqa: S608  (our own words)

_OUTDATED = "SELECT target, count(*) FROM notice WHERE done_at_ms IS NULL AND at_ms < ? GROUP BY 1"

_OUTDATE = """
UPDATE notice
   SET done_at_ms = :now_ms,
       outcome    = 'given up',
       error      = coalesce(error, 'nobody could send it in time')
 WHERE done_at_ms IS NULL AND at_ms < :before_ms
"""

_PENDING = """
SELECT target, count(*), min(next_at_ms)
  FROM notice
 WHERE done_at_ms IS NULL
 GROUP BY target
"""


_LISTED = """
SELECT at_ms, event, machine, instance, target, tries, next_at_ms, done_at_ms, outcome, error, key,
       body
  FROM notice
 WHERE :pending = 0 OR done_at_ms IS NULL
 ORDER BY n DESC
 LIMIT :limit
"""


class Taken(NamedTuple):
    """A notice that this process is about to send."""

    n: int
    key: str
    event: str
    target: str
    machine: str
    instance: str | None
    body: str
    at_ms: int
    tries: int  # with this one


class Listed(NamedTuple):
    """One row of the outbox; see checkpoints/README.md."""

    at_ms: int
    event: str
    machine: str
    instance: str | None
    target: str
    tries: int
    next_at_ms: int
    done_at_ms: int | None
    outcome: str | None
    error: str | None
    key: str
    body: str


class Pending(NamedTuple):
    """What waits to be sent to one target."""

    target: str
    notices: int
    next_at_ms: int


def insert(connection: sqlite3.Connection, notices: Iterable[Notice]) -> None:
    """Put notices into the outbox, due at once, inside the caller's transaction."""
    rows = [{**notice._asdict(), "next_at_ms": notice.at_ms} for notice in notices]
    connection.executemany(_INSERT, rows)


def due(store: Store, targets: Iterable[str]) -> list[str]:
    """Return those of `targets` that something is due for."""
    facts, ask = _moment(store), store.connection.execute
    return [each for each in targets if ask(_DUE, {**facts, "target": each}).fetchone()[0]]


def take(
    store: Store,
    target: str,
    *,
    lease_ms: int,
    rate: tuple[int, int] | None,
    retell: Callable[[str, int], str],
) -> Taken | None:
    """
    Take the oldest notice that is due for `target`; None if there is none, or none is allowed.

    What is due beyond the rate is dropped, and one notice that says how many follows as soon
    as the rate has room for it.

    Args:
        store: The open store.
        target: Whose.
        lease_ms: For how long no other process may take it.
        rate: At most so many notices in so many milliseconds; None for no limit.
        retell: Given its key and how many were dropped, the body of that one notice.

    Raises:
        As `Store.write`.
    """
    with store.write() as connection:
        facts = {**_moment(store), "target": target}
        if rate is not None:
            room_at_ms = _room_at_ms(connection, facts, rate, lease_ms=lease_ms)
            if room_at_ms > facts["now_ms"]:
                _drop(store, connection, facts, rate, room_at_ms=room_at_ms, retell=retell)
                return None
        row = connection.execute(_NEXT, facts).fetchone()
        if row is None:
            return None
        taken = Taken(*row)
        again_ms = store.clock.now_ms() + lease_ms
        connection.execute(_TAKE, {"n": taken.n, "tries": taken.tries, "next_at_ms": again_ms})
        return taken


def sent(store: Store, taken: Taken) -> None:
    """Take note that it was sent, also if another process has taken it meanwhile."""
    with store.write() as connection:
        ended = connection.execute(_SENT, {"n": taken.n, "now_ms": store.clock.now_ms()})
        _count(store, connection, taken.target, "sent", by=ended.rowcount)


def failed(store: Store, taken: Taken, *, error: str, next_at_ms: int) -> None:
    """Take note that it was not sent, and why, and when it is tried again."""
    with store.write() as connection:
        facts = {"n": taken.n, "tries": taken.tries, "error": error, "next_at_ms": next_at_ms}
        connection.execute(_FAILED, facts)


def give_up(store: Store, taken: Taken, *, error: str) -> None:
    """Take note that it was not sent, and why, and is not tried again."""
    now_ms = store.clock.now_ms()
    with store.write() as connection:
        facts = {"n": taken.n, "tries": taken.tries, "error": error, "now_ms": now_ms}
        ended = connection.execute(_GIVE_UP, facts)
        _count(store, connection, taken.target, "given up", by=ended.rowcount)


def sweep(store: Store) -> None:
    """Delete what was done with long ago, but the newest; give up what waits for nobody."""
    now_ms = store.clock.now_ms()
    facts = {"now_ms": now_ms, "before_ms": now_ms - KEPT_MS, "limit": _SWEPT_MAX}
    if not store.connection.execute(_TOO_OLD, facts).fetchone():
        return
    with store.write() as connection:
        outdated = connection.execute(_OUTDATED, (facts["before_ms"],)).fetchall()
        connection.execute(_OUTDATE, facts)
        for target, count in outdated:
            _count(store, connection, target, "given up", by=count)
        connection.execute(_FORGET, facts)


def pending(connection: sqlite3.Connection) -> list[Pending]:
    """Return how many notices wait for each target, and when the first of them is due."""
    return [Pending(*row) for row in connection.execute(_PENDING)]


def listed(connection: sqlite3.Connection, *, pending: bool, limit: int) -> list[Listed]:
    """Return up to `limit` rows, newest first; if `pending`, only those that wait."""
    facts = {"pending": pending, "limit": limit}
    return [Listed(*row) for row in connection.execute(_LISTED, facts)]


def _room_at_ms(
    connection: sqlite3.Connection, facts: dict[str, Any], rate: tuple[int, int], *, lease_ms: int
) -> int:
    """Return when the rate has room for another one: now, or later."""
    most, per_ms = rate
    now_ms: int = facts["now_ms"]
    window = {**facts, "since_ms": now_ms - per_ms}
    lately = [at_ms for (at_ms,) in connection.execute(_SENT_LATELY, window)]
    too_many = len(lately) + connection.execute(_IN_FLIGHT, facts).fetchone()[0] - most
    if too_many < 0:
        return now_ms
    return lately[too_many] + per_ms if too_many < len(lately) else now_ms + lease_ms


def _drop(
    store: Store,
    connection: sqlite3.Connection,
    facts: dict[str, Any],
    rate: tuple[int, int],
    *,
    room_at_ms: int,
    retell: Callable[[str, int], str],
) -> None:
    most, per_ms = rate
    error = f"more than {most} in {per_ms // 1_000} s"
    numbers = [n for (n,) in connection.execute(_DROP, {**facts, "error": error})]
    target, now_ms = facts["target"], facts["now_ms"]
    if numbers:
        _count(store, connection, target, DROPPED, by=len(numbers))
        summary = connection.execute(_SUMMARY, facts).fetchone()
        if summary is not None:
            key, body = summary
            count = json.loads(body)[DROPPED] + len(numbers)
            connection.execute(_RETELL, {"key": key, "body": retell(key, count)})
        else:
            key = f"{store.store_id}:{DROPPED}:{min(numbers)}:{target}"
            body = retell(key, len(numbers))
            insert(connection, [Notice(key, DROPPED, target, "", None, body, now_ms)])
    connection.execute(_POSTPONE, {**facts, "next_at_ms": room_at_ms})


def _count(
    store: Store, connection: sqlite3.Connection, target: str, outcome: str, *, by: int
) -> None:
    counters = Counters()
    if by:
        counters.count("notices", state=target, label=outcome, by=by)
    store.timings.hand_over(counters)
    counters.write(connection)


def _moment(store: Store) -> dict[str, Any]:
    return {"now_ms": store.clock.now_ms(), "ahead_ms": AHEAD_MS_MAX}
