"""
Rows about data: staged batches, load plans, and their removal when nobody needs them.

The files themselves are `directory.py`'s; a row here is what makes a file exist.
"""

import json
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from statepipe.model import Plan, Staged, Stay
from statepipe.sqlite import sqlite3

#: Batches of a plan that are read at a time: a plan may be longer than one answer can be.
PLAN_PAGE: Final = 1_000

# A state has one task, of its own name; without it the key would be searched by half.
_ONE = """
SELECT number, records, bytes, sha256, format, file, body, cursor, read
  FROM batch
 WHERE instance = ? AND generation = ? AND state = ? AND visit = ? AND task = ? AND number = ?
"""

_LAST_CURSOR = """
SELECT cursor
  FROM batch
 WHERE instance = ? AND generation = ? AND state = ? AND visit = ? AND task = ?
 ORDER BY number DESC
 LIMIT 1
"""

# A stay either stages batches or loads them, so one of the first two sums is 0.
_HANDLED = """
SELECT (SELECT coalesce(sum(records), 0)
          FROM batch
         WHERE instance = ?1 AND generation = ?2 AND state = ?3 AND visit = ?4)
     + (SELECT coalesce(sum(loaded), 0)
          FROM plan
         WHERE instance = ?1 AND generation = ?2 AND state = ?3 AND visit = ?4),
       (SELECT coalesce(sum(records), 0)
          FROM reject
         WHERE instance = ?1 AND generation = ?2 AND state = ?3 AND visit = ?4)
"""

_PLAN = """
SELECT number, source_generation, source_state, source_visit, records, sha256, loaded
  FROM plan
 WHERE instance = ? AND generation = ? AND state = ? AND visit = ? AND number >= ?
 ORDER BY number
 LIMIT ?
"""

_COUNT = """
SELECT count(*), coalesce(sum(records), 0)
  FROM batch
 WHERE instance = ? AND generation = ? AND state = ? AND visit = ?
"""

_NEWEST_OF_STATE = """
SELECT max(generation)
  FROM batch
 WHERE instance = ? AND state = ?
"""

_IN_FLIGHT = """
SELECT coalesce(sum(bytes), 0)
  FROM batch
 WHERE instance IN (SELECT n
                      FROM instance INDEXED BY instance_held
                     WHERE worker IS NOT NULL
                       AND worker NOT IN (SELECT value FROM json_each(?)))
"""

_FILES = """
SELECT file FROM batch  WHERE instance = :n AND file IS NOT NULL
 UNION ALL
SELECT file FROM reject WHERE instance = :n AND file IS NOT NULL
"""

# What does part of the work of an instance, and what does part of theirs, as far as it has ended.
_ENDED = """
WITH RECURSIVE ended (n) AS (
  SELECT i.n
    FROM child c
    JOIN instance i ON i.n = c.instance
   WHERE c.parent = ? AND i.finished_at_ms IS NOT NULL
   UNION ALL
  SELECT i.n
    FROM ended e
    JOIN child c ON c.parent = e.n
    JOIN instance i ON i.n = c.instance
   WHERE i.finished_at_ms IS NOT NULL
)
"""

_ENDED_CHILDREN = f"{_ENDED} SELECT n, id, epoch FROM instance WHERE n IN ended"  # noqa: S608  (made of constants)

# What another machine has kept when it was done, it keeps; a task keeps all for its parent.
_GIVE_BACK_CHILDREN = f"""
{_ENDED}
DELETE FROM batch
 WHERE instance IN (SELECT i.n
                      FROM ended e
                      JOIN instance i ON i.n = e.n
                      JOIN definition d ON d.n = i.definition
                     WHERE i.status <> 'done' OR instr(d.machine, '/') > 0)
"""  # noqa: S608  (made of constants)

_ALL_FILES = """
SELECT file FROM batch  WHERE file IS NOT NULL
 UNION ALL
SELECT file FROM reject WHERE file IS NOT NULL
"""

_INSERT_PLAN = """
INSERT INTO plan (instance, generation, state, visit, number, source_generation, source_state,
                  source_visit, source_task, records, sha256)
SELECT instance, :generation, :state, :visit, number, generation, state, visit, task, records,
       sha256
  FROM batch
 WHERE instance = :instance
   AND generation = :source_generation
   AND state = :source_state
   AND visit = :source_visit
"""


class Planned(NamedTuple):
    """One row of a load plan."""

    number: int
    source: Stay
    records: int
    sha256: bytes
    loaded: int | None  # rows the ledger has for it, None until the destination said so


def staged_batch(
    connection: sqlite3.Connection, instance: int, stay: Stay, number: int
) -> Staged | None:
    """Return batch `number` of a stay, without its rejects, or None if there is none."""
    row = connection.execute(_ONE, (instance, *stay, stay.state, number)).fetchone()
    return None if row is None else Staged(*row, rejects=None)  # type: ignore[misc]  # row: Any


def last_cursor(connection: sqlite3.Connection, instance: int, stay: Stay) -> bytes | None:
    """Return the cursor of the last committed batch of a stay, encoded."""
    row = connection.execute(_LAST_CURSOR, (instance, *stay, stay.state)).fetchone()
    cursor: bytes | None = row[0] if row else None
    return cursor


def handled(connection: sqlite3.Connection, instance: int, stay: Stay) -> tuple[int, int]:
    """Return how many records a stay has staged or loaded, and how many it has rejected."""
    row: tuple[int, int] = connection.execute(_HANDLED, (instance, *stay)).fetchone()
    return row


def load_plan(
    connection: sqlite3.Connection,
    instance: int,
    stay: Stay,
    *,
    first: int = 0,
    limit: int | None = None,
) -> list[Planned]:
    """
    Return a page of the plan that was fixed when the stay was entered, in order.

    It begins at batch `first` and has `limit` batches, or as many as are read at a time;
    [] if there is none from there on.
    """
    rows = connection.execute(_PLAN, (instance, *stay, first, limit or PLAN_PAGE)).fetchall()
    return [
        Planned(number, Stay(generation, state, visit), records, sha256, loaded)
        for number, generation, state, visit, records, sha256, loaded in rows
    ]


def give_back(connection: sqlite3.Connection, instance: int, *, keeps: Sequence[str]) -> None:
    """
    Remove the staged batches of an instance that is done, inside the caller's transaction.

    What the states `keeps` have staged stays: of the newest generation each was in, as in
    quarantine, since what a rewind has undone was read again. Its children's goes with it, and
    that of their own, but for what another machine did not give back when it was done itself.
    """
    connection.execute(_GIVE_BACK_CHILDREN, (instance,))
    sql = "DELETE FROM batch WHERE instance = ?"
    facts: list[object] = [instance]
    for state in keeps:
        (generation,) = connection.execute(_NEWEST_OF_STATE, (instance, state)).fetchone()
        if generation is not None:
            sql += " AND NOT (state = ? AND generation = ?)"
            facts += [state, generation]
    connection.execute(sql, facts)


def count(connection: sqlite3.Connection, instance: int, stay: Stay) -> tuple[int, int]:
    """Return how many batches of a stay are there, and how many records they have."""
    row: tuple[int, int] = connection.execute(_COUNT, (instance, *stay)).fetchone()
    return row


def has_batches(connection: sqlite3.Connection, instance: int, stay: Stay) -> bool:
    """Return whether what a stay has staged is still there."""
    return staged_batch(connection, instance, stay, 0) is not None


def ended_children(connection: sqlite3.Connection, instance: int) -> list[tuple[int, str, int]]:
    """Return number, id and epoch of the children of an instance that have ended, and theirs."""
    rows: list[tuple[int, str, int]]
    rows = connection.execute(_ENDED_CHILDREN, (instance,)).fetchall()
    return rows


def files_of(connection: sqlite3.Connection, instance: int) -> set[str]:
    """Return the staged files that rows of an instance name, its rejects' included."""
    return {name for (name,) in connection.execute(_FILES, {"n": instance})}


def all_files(connection: sqlite3.Connection) -> set[str]:
    """Return the staged files that rows of any instance name."""
    return {name for (name,) in connection.execute(_ALL_FILES)}


def bytes_in_flight(connection: sqlite3.Connection, *, without: Collection[int]) -> int:
    """
    Return how many bytes are staged by instances that are driven.

    Args:
        connection: The store.
        without: Workers that drive nothing any more, whatever they hold.
    """
    size: int = connection.execute(_IN_FLIGHT, (json.dumps(sorted(without)),)).fetchone()[0]
    return size


def insert_plan(connection: sqlite3.Connection, instance: int, plan: Plan) -> None:
    """Fix what a stay will load, inside the caller's transaction."""
    generation, state, visit = plan.stay
    source_generation, source_state, source_visit = plan.source
    connection.execute(
        _INSERT_PLAN,
        {
            "instance": instance,
            "generation": generation,
            "state": state,
            "visit": visit,
            "source_generation": source_generation,
            "source_state": source_state,
            "source_visit": source_visit,
        },
    )
