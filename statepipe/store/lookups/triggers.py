"""
How triggers stand, and what they started; looked up, never changed.

    listed      all that the store knows
    origin_of   which trigger started an instance, and for what
    id_of       the id of an instance, by its number
    taken       which of some keys have an occasion that started an instance
"""

import json
from collections.abc import Collection
from typing import Final, NamedTuple

from statepipe.sqlite import sqlite3

#: What is noted of one that can look again at what it listens to.
MENDED: Final = "it can look again"

_LISTED: Final = """
SELECT t.n, t.machine, t.name, t.kind, t.listens, t.position, t.paused_at_ms,
       (SELECT note FROM trigger_journal j
         WHERE j.trigger = t.n AND j.kind = 'pause' AND t.paused_at_ms IS NOT NULL
         ORDER BY j.n DESC LIMIT 1),
       (SELECT coalesce(sum(count), 0) FROM trigger_journal j
         WHERE j.trigger = t.n AND j.kind = 'passed'),
       (SELECT nullif(note, ?) FROM trigger_journal j
         WHERE j.trigger = t.n AND j.kind = 'error'
         ORDER BY j.n DESC LIMIT 1),
       coalesce(r.count, 0), r.key, r.decided_at_ms, r.refusal,
       o.key, o.decided_at_ms, o.instance, o.refusal, o.skipped
  FROM machine_trigger t
  LEFT JOIN occasion o ON o.n = (SELECT max(n) FROM occasion WHERE trigger = t.n)
  LEFT JOIN (SELECT trigger, series, count(*) AS count, max(n), key, decided_at_ms, refusal
               FROM occasion
              WHERE refusal IS NOT NULL
              GROUP BY trigger, series) r
         ON r.trigger = t.n AND r.series = t.series
 ORDER BY t.machine, t.name
"""

_ORIGIN: Final = """
SELECT t.machine || '.' || t.name, o.key
  FROM occasion o
  JOIN machine_trigger t ON t.n = o.trigger
 WHERE o.instance = ?
"""

_TAKEN: Final = """
SELECT o.key
  FROM machine_trigger t
  JOIN occasion o ON o.trigger = t.n AND o.series = t.series
 WHERE t.machine = ? AND t.name = ? AND (t.listens = ? OR t.series = 0) AND o.instance IS NOT NULL
   AND o.key IN (SELECT value FROM json_each(?))
"""


class Last(NamedTuple):
    """
    The occasion that a trigger decided upon last.

    It has an instance, or a reason why its parameters make none, or why it was skipped.
    """

    key: str
    decided_at_ms: int
    instance: str | None
    refusal: str | None
    skipped: str | None


class Refusal(NamedTuple):
    """An occasion that started nothing, and why its parameters make no instance."""

    key: str
    decided_at_ms: int
    refusal: str


class Listed(NamedTuple):
    """How a trigger stands."""

    n: int
    machine: str
    name: str
    kind: str
    listens: str  # JSON
    position: str  # JSON
    paused_at_ms: int | None
    paused_reason: str | None
    passed: int  # how many occasions were passed over, ever
    error: str | None  # why it could not look, when that was tried last
    refused: int  # how many occasions of what it listens to now started nothing so far
    last_refused: Refusal | None
    last: Last | None

    @property
    def said(self) -> str:
        """What it listens to in a few words, as far as it was written down."""
        listens = json.loads(self.listens)
        values = [str(value) for key, value in listens.items() if key != "kind" and value]
        return " ".join([self.kind, *values])


class Origin(NamedTuple):
    """What started an instance: the trigger's name, with its machine, and the occasion's key."""

    trigger: str
    key: str


def listed(connection: sqlite3.Connection) -> list[Listed]:
    """Return all triggers that were ever seen, by machine and name."""
    return [
        Listed._make(
            [
                *row[:11],
                None if row[11] is None else Refusal(*row[11:14]),
                None if row[14] is None else Last(*row[14:]),
            ]
        )
        for row in connection.execute(_LISTED, (MENDED,))
    ]


def origin_of(connection: sqlite3.Connection, instance_id: str) -> Origin | None:
    """Return what started an instance; None if no trigger did."""
    row = connection.execute(_ORIGIN, (instance_id,)).fetchone()
    return None if row is None else Origin(*row)


def id_of(connection: sqlite3.Connection, n: int) -> str:
    """Return the id of instance number `n`."""
    id_: str = connection.execute("SELECT id FROM instance WHERE n = ?", (n,)).fetchone()[0]
    return id_


def taken(
    connection: sqlite3.Connection, machine: str, name: str, keys: Collection[str], *, listens: str
) -> set[str]:
    """Return those of `keys` for which a trigger that listens to this has started an instance."""
    values = (machine, name, listens, json.dumps(list(keys)))
    return {key for (key,) in connection.execute(_TAKEN, values)}
