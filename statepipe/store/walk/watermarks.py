"""
How far each machine has loaded: one row each time a watermark moved, the newest counts.

    current     where the next instance starts
    advance     what an instance that is done has reached; inside the commit that ends it
    put         a person's word, with a reason
    moves       the history, newest first
    newest      where the sources of one machine stand
    moments     where all sources stand, of those that count in time
    has_reached whether a watermark is at what a text says, or above

An instance only ever raises a watermark, and not one that a person has put since the
instance began: they want it where they put it.
"""

import datetime as dt
from typing import Any, NamedTuple

from statepipe.model import Reached
from statepipe.sqlite import sqlite3
from statepipe.store.codec import decode, encode
from statepipe.store.file.connection import Store

_CURRENT = """
SELECT n, value
  FROM watermark
 WHERE machine = ? AND state = ?
 ORDER BY n DESC
 LIMIT 1
"""

_PUT_SINCE = """
SELECT 1
  FROM watermark
 WHERE machine = ? AND state = ? AND n > ? AND instance IS NULL
"""

_INSERT = """
INSERT INTO watermark (machine, state, value, at_ms, instance, reason)
VALUES (?, ?, ?, ?, ?, ?)
"""

_MOVES = """
SELECT n, machine, state, value, at_ms, instance, reason
  FROM watermark
 WHERE (:machine IS NULL OR machine = :machine)
 ORDER BY n DESC
 LIMIT :limit
"""


# From one source to the next by the index: the history of each may be long.
_NEWEST = """
WITH RECURSIVE source(machine, state) AS (
  SELECT machine, state
    FROM (SELECT machine, state FROM watermark ORDER BY machine, state LIMIT 1)
   UNION ALL
  SELECT next.machine, next.state
    FROM source
    JOIN watermark next ON next.n = (SELECT n
                                       FROM watermark
                                      WHERE (machine, state) > (source.machine, source.state)
                                      ORDER BY machine, state
                                      LIMIT 1)
)
SELECT machine, state, (SELECT value
                          FROM watermark
                         WHERE machine = source.machine AND state = source.state
                         ORDER BY n DESC
                         LIMIT 1)
  FROM source
"""

_NEWEST_OF = """
WITH RECURSIVE source(state) AS (
  SELECT min(state) FROM watermark WHERE machine = :machine
   UNION ALL
  SELECT (SELECT min(state) FROM watermark WHERE machine = :machine AND state > source.state)
    FROM source
   WHERE state IS NOT NULL
)
SELECT (SELECT value
          FROM watermark
         WHERE machine = :machine AND state = source.state
         ORDER BY n DESC
         LIMIT 1)
  FROM source
 WHERE state IS NOT NULL
"""


class Watermark(NamedTuple):
    """
    Where a machine stands.

    Attributes:
        n: Number of the row that says so; 0 if there is none.
        value: How far it has loaded, plain data; None if it never has.
    """

    n: int
    value: Any


class Move(NamedTuple):
    """One move of a watermark; `instance` is the id of who reached it, or None for a person."""

    n: int
    machine: str
    state: str
    value: Any
    at_ms: int
    instance: str | None
    reason: str | None


def current(connection: sqlite3.Connection, machine: str, state: str) -> Watermark:
    """Return where the source in `state` of `machine` stands."""
    row = connection.execute(_CURRENT, (machine, state)).fetchone()
    return Watermark(0, None) if row is None else Watermark(row[0], decode(row[1]))


def advance(
    connection: sqlite3.Connection, machine: str, reached: Reached, *, instance: str, at_ms: int
) -> bool:
    """
    Raise a watermark to what `instance` has reached; False if it stays where it is.

    Inside the transaction that ends the instance: the destination has the rows by then, so
    no crash parts the two.
    """
    now = current(connection, machine, reached.state)
    if now.value is not None and not is_higher(reached.value, now.value):
        return False
    put_since = (machine, reached.state, reached.since)
    if connection.execute(_PUT_SINCE, put_since).fetchone() is not None:
        return False
    value = encode(reached.value)
    connection.execute(_INSERT, (machine, reached.state, value, at_ms, instance, None))
    return True


def put(store: Store, machine: str, state: str, value: object, *, reason: str) -> None:
    """
    Put a watermark where a person wants it, higher or lower; the next instance starts there.

    Raises:
        ValueRefused: `value` is not plain data.
        Busy, StoreFull, StoreUnusable: As `Store.write`.
    """
    encoded = encode(value)
    with store.write() as connection:
        row = (machine, state, encoded, store.clock.now_ms(), None, reason)
        connection.execute(_INSERT, row)


def moves(connection: sqlite3.Connection, *, machine: str | None, limit: int) -> list[Move]:
    """Return the last moves, newest first, of one machine or of all."""
    rows = connection.execute(_MOVES, {"machine": machine, "limit": limit})
    return [Move(n, name, state, decode(value), *rest) for n, name, state, value, *rest in rows]


def newest(connection: sqlite3.Connection, machine: str) -> list[Any]:
    """Return where each source of a machine stands, plain data, in the order of their states."""
    rows = connection.execute(_NEWEST_OF, {"machine": machine})
    return [decode(value) for (value,) in rows]


def moments(connection: sqlite3.Connection) -> dict[tuple[str, str], float]:
    """
    Return where each source stands, in seconds since 1970, by machine and state.

    A date stands for its beginning, in UTC. Left out is what counts in no time: numbers,
    and text that is no moment with an offset as ISO 8601 writes it.
    """
    found = {}
    for machine, state, value in connection.execute(_NEWEST):
        at = seconds(decode(value))
        if at is not None:
            found[machine, state] = at
    return found


def seconds(value: object) -> float | None:
    """Return where a watermark stands in seconds since 1970; None if it counts in no time."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, dt.datetime):
        return None if value.utcoffset() is None else value.timestamp()
    if isinstance(value, dt.date):
        return dt.datetime.combine(value, dt.time(), dt.UTC).timestamp()
    return None


def is_higher(value: object, than: object) -> bool:
    """
    Return whether `value` lies above `than`; False for two that cannot be compared.

    A date and a datetime cannot, nor text and a number: whoever changes the type of a
    watermark says so with `put`.
    """
    if type(value) is not type(than) and not (_is_number(value) and _is_number(than)):
        return False
    higher: bool = value > than  # type: ignore[operator]  # of one type that has an order
    return higher


def has_reached(value: object, text: str) -> bool:
    """Return whether a watermark is at or above what `text` says; False if they do not compare."""
    if _is_number(value):
        try:
            number = int(text) if text.lstrip("-").isdecimal() else float(text)
        except ValueError:
            return False
        return not is_higher(number, value)
    now, wanted = seconds(_dated(value)), seconds(_dated(text))
    if now is None or wanted is None:
        return isinstance(value, str) and value >= text
    return now >= wanted


def _dated(value: object) -> object:
    """Return text that is a date as that date; a date stands for its beginning, in UTC."""
    try:
        return dt.date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
