"""
What has become of other machines since somebody looked.

    since, between      instances, partitions and groups that are done: Done
    newest              the number of the last of them
    keys                those of the partitions of a machine
    count_there         how many partitions are there between two keys
    moves               how the watermarks of a machine moved
    known_keys          which occasions of a trigger were decided
"""

import json
from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

from statepipe.sqlite import sqlite3
from statepipe.store.codec import decode

#: As `most`: without a limit.
ALL: Final = -1

_SINCE = """
SELECT n, key, instance, params, done_at_ms
  FROM dataset
 WHERE kind = :kind AND machine = :machine AND n > :after AND is_there
 ORDER BY n
 LIMIT :most
"""

_COUNT = """
SELECT count(*)
  FROM dataset
 WHERE kind = 'partition' AND machine = :machine AND key BETWEEN :first AND :last
   AND length(key) = length(:first) AND is_there
"""

_MARKS = """
SELECT n, state, value, at_ms FROM watermark WHERE machine = ? ORDER BY n
"""

_KNOWN = """
SELECT o.key
  FROM occasion o
  JOIN machine_trigger t ON t.n = o.trigger AND t.series = o.series
 WHERE t.machine = ? AND t.name = ? AND o.key IN (SELECT value FROM json_each(?))
"""


class Done(NamedTuple):
    """An instance, a partition or a group that is done; `params` are encoded by the codec."""

    n: int
    key: str
    instance: str | None
    params: bytes
    done_at_ms: int


class Mark(NamedTuple):
    """A watermark's move."""

    state: str
    value: Any
    at_ms: int


def since(
    connection: sqlite3.Connection, kind: str, machine: str, *, after: int, most: int
) -> list[Done]:
    """Return what is there of a machine that became so after number `after`, `most` at most."""
    facts = {"kind": kind, "machine": machine, "after": after, "most": most}
    return [Done(*row) for row in connection.execute(_SINCE, facts)]


def between(
    connection: sqlite3.Connection, kind: str, machine: str, from_ms: int, until_ms: int | None
) -> Iterator[Done]:
    """Yield what is there of a machine and was done in a period; without an end if it is None."""
    facts = {"kind": kind, "machine": machine, "after": 0, "most": ALL}
    for row in connection.execute(_SINCE, facts).fetchall():
        done = Done(*row)
        if from_ms <= done.done_at_ms and (until_ms is None or done.done_at_ms <= until_ms):
            yield done


def newest(connection: sqlite3.Connection) -> int:
    """Return the number of what became there last; 0 if nothing ever was."""
    n: int = connection.execute("SELECT coalesce(max(n), 0) FROM dataset").fetchone()[0]
    return n


def keys(connection: sqlite3.Connection, machine: str) -> list[str]:
    """Return the keys of all partitions of a machine that were ever done."""
    sql = "SELECT key FROM dataset WHERE kind = 'partition' AND machine = ?"
    return [key for (key,) in connection.execute(sql, (machine,))]


def count_there(connection: sqlite3.Connection, machine: str, first: str, last: str) -> int:
    """Return how many partitions are there from key `first` to `last`, as long as these."""
    facts = {"machine": machine, "first": first, "last": last}
    count: int = connection.execute(_COUNT, facts).fetchone()[0]
    return count


def moves(connection: sqlite3.Connection, machine: str) -> list[Mark]:
    """Return how the watermarks of a machine moved, in order."""
    rows = connection.execute(_MARKS, (machine,))
    return [Mark(state, decode(value), at_ms) for _, state, value, at_ms in rows]


def known_keys(
    connection: sqlite3.Connection, machine: str, trigger: str, keys: Collection[str]
) -> set[str]:
    """Return which of these occasions of a trigger were decided, one way or the other."""
    rows = connection.execute(_KNOWN, (machine, trigger, json.dumps(sorted(keys))))
    return {key for (key,) in rows}
