"""
Instances that were made of another one: which, and of which.

    of_origin       those that were made of an instance
    origin_of       what an instance was made of

They are made by `copying.py`.
"""

from typing import NamedTuple

from statepipe.sqlite import sqlite3

_OF_ORIGIN = """
SELECT i.id, c.event, i.status
  FROM copy c
  JOIN instance i ON i.n = c.instance
 WHERE c.origin = ?
 ORDER BY c.instance
"""

_ORIGIN_OF = """
SELECT c.origin, c.event, j.target
  FROM copy c
  JOIN journal j ON j.instance = c.instance AND j.seq = 1
 WHERE c.instance = ?
"""


class Copy(NamedTuple):
    """One instance that was made of another; `event` is "fork" or "restart"."""

    id: str
    event: str
    status: str


class Origin(NamedTuple):
    """What an instance was made of, how, and in which state it began."""

    id: str
    event: str
    state: str


def of_origin(connection: sqlite3.Connection, origin_id: str) -> list[Copy]:
    """Return the instances that were made of this one, the oldest first."""
    return [Copy(*row) for row in connection.execute(_OF_ORIGIN, (origin_id,))]


def origin_of(connection: sqlite3.Connection, instance: int) -> Origin | None:
    """Return what an instance was made of; None if it was made of none."""
    row = connection.execute(_ORIGIN_OF, (instance,)).fetchone()
    return None if row is None else Origin(*row)
