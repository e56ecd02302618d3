"""
The few questions the engine asks of its own connection; reports are in `reading.py`.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from statepipe.errors import Fenced
from statepipe.model import Status
from statepipe.said import Fact
from statepipe.sqlite import sqlite3
from statepipe.store.walk import children
from statepipe.store.walk.claims import not_found


class Found(NamedTuple):
    """Where an instance stands."""

    n: int
    id: str
    machine: str
    definition: int
    seq: int
    status: str
    state: str
    failed_state: str | None

    @property
    def is_being_cancelled(self) -> bool:
        """True while its `on_cancel` is due or runs."""
        return self.status == Status.READY and self.failed_state is not None


# What `Found` is made of, and who drives it.
_FOUND = """
SELECT i.n, i.id, d.machine, i.definition, i.seq, i.status, i.state, i.failed_state, i.worker
  FROM instance i
  JOIN definition d ON d.n = i.definition
"""

_FIND = f"{_FOUND} WHERE i.id = ?"

_BELOW = f"{_FOUND} WHERE i.n = ?"

_STEPS = """
SELECT seq, generation, kind, source, target, picture
  FROM journal
 WHERE instance = ? AND kind IN ('create', 'move', 'resume', 'rewind', 'cancel')
 ORDER BY seq
"""

_LOADED = """
SELECT state, sum(loaded IS NOT NULL)
  FROM plan
 WHERE instance = ?
 GROUP BY state
"""

# In the order of the fields of Fact; what these kinds of row make of the status is fixed.
_JOURNALED = """
SELECT j.kind, j.event, j.at_ms, d.machine, i.id, j.source, j.target,
       coalesce(j.ended, CASE j.kind WHEN 'pause' THEN 'paused' ELSE 'ready' END),
       j.seq, j.epoch, j.generation, j.attempt, j.took_ms, j.records, j.bytes, j.rejected,
       NULL, j.error_class, j.error, NULL, j.note
  FROM journal j
  JOIN instance i ON i.n = j.instance
  JOIN definition d ON d.n = i.definition
 WHERE j.instance = :n AND j.seq >= :seq
 ORDER BY j.seq
 LIMIT :limit
"""


def find_instance(connection: sqlite3.Connection, instance_id: str) -> Found:
    """
    Return where instance `instance_id` stands.

    Raises:
        NotFound: There is no such instance.
    """
    row = connection.execute(_FIND, (instance_id,)).fetchone()
    if row is None:
        raise not_found(connection, instance_id)
    return Found(*row[:-1])


def parts_among(connection: sqlite3.Connection, numbers: Collection[int]) -> frozenset[int]:
    """Return those of some instances that are part of another one's work."""
    sql = "SELECT 1 FROM child WHERE instance = ?"
    return frozenset(n for n in numbers if connection.execute(sql, (n,)).fetchone() is not None)


def machines_below(connection: sqlite3.Connection, found: Found) -> list[tuple[Found, int | None]]:
    """Return those of `children.machines`, each with the number of the worker that holds it."""
    rows = [
        connection.execute(_BELOW, (n,)).fetchone() for n in children.machines(connection, found.n)
    ]
    return [(Found(*row[:-1]), row[-1]) for row in rows if row is not None]


def journaled(connection: sqlite3.Connection, n: int, seq: int) -> Fact | None:
    """Return what the journal says of a claim, or of what people did; None if it was pruned."""
    return next(iter(facts(connection, n, first=seq, limit=1)), None)


def facts(connection: sqlite3.Connection, n: int, *, first: int = 1, limit: int = -1) -> list[Fact]:
    """Return the journal of an instance from row `first` on, at most `limit` rows."""
    found = connection.execute(_JOURNALED, {"n": n, "seq": first, "limit": limit})
    return [Fact(*row) for row in found]


def params_of(connection: sqlite3.Connection, found: Found) -> tuple[bytes, str | None]:
    """
    Return an instance's parameters, encoded, and the key of the partition that it is.

    Raises:
        NotFound: It was pruned since it was found.
    """
    params, partition = _still(connection, found, "params, partition")
    return params, partition


def created_at_ms(connection: sqlite3.Connection, found: Found) -> int:
    """
    Return when an instance was created (UTC).

    Raises:
        NotFound: It was pruned since it was found.
    """
    at_ms: int = _still(connection, found, "created_at_ms")[0]
    return at_ms


def newest_seq(connection: sqlite3.Connection, n: int, *, kind: str) -> int:
    """Return the seq of the newest row of one kind; there must be one."""
    sql = "SELECT max(seq) FROM journal WHERE instance = ? AND kind = ?"
    seq: int = connection.execute(sql, (n, kind)).fetchone()[0]
    return seq


def definition_body(connection: sqlite3.Connection, n: int) -> str:
    """Return the canonical form (JSON) of a definition."""
    body: str = connection.execute("SELECT body FROM definition WHERE n = ?", (n,)).fetchone()[0]
    return body


def definition_of(connection: sqlite3.Connection, machine: str, digest: str) -> int | None:
    """Return the number of the definition of that digest; None if nothing has begun with it."""
    sql = "SELECT n FROM definition WHERE machine = ? AND digest = ?"
    row = connection.execute(sql, (machine, digest)).fetchone()
    return None if row is None else int(row[0])


def steps_of(
    connection: sqlite3.Connection, n: int
) -> list[tuple[int, int, str, str, str, bytes | None]]:
    """Return the journal rows that tell where an instance went, oldest first."""
    return list(connection.execute(_STEPS, (n,)))


def batches_loaded(connection: sqlite3.Connection, n: int) -> dict[str, int]:
    """Return how many batches of an instance each loading state has put at a destination."""
    return dict(connection.execute(_LOADED, (n,)).fetchall())


def statuses(connection: sqlite3.Connection, numbers: Collection[int]) -> dict[int, str]:
    """Return the status of each of these instances."""
    listed = ", ".join(f"{n:d}" for n in numbers)
    sql = f"SELECT n, status FROM instance WHERE n IN ({listed})"  # noqa: S608  (our own numbers)
    return dict(connection.execute(sql).fetchall())


def ended(connection: sqlite3.Connection, driven: Sequence[Found]) -> dict[str, str]:
    """
    Return by id the statuses of instances that were driven until they rested.

    Raises:
        Fenced: Another process has taken one over, and it is pruned since.
    """
    status_of = statuses(connection, [each.n for each in driven])
    for each in driven:
        if each.n not in status_of:
            raise Fenced(
                f"another process has taken {each.id!r} over and ended it; it is pruned since",
                meaning="nothing that this process did for it since was kept",
                next_step="statepipe ls --all   # shows what is there",
            )
    return {each.id: status_of[each.n] for each in driven}


def ready_of_others(connection: sqlite3.Connection, known: Collection[int]) -> dict[str, int]:
    """Return how many ready instances, by machine, began with none of the definitions `known`."""
    listed = ", ".join(f"{n:d}" for n in known)
    sql = f"""
SELECT d.machine, count(*)
  FROM instance i
  JOIN definition d ON d.n = i.definition
 WHERE i.status = 'ready' AND i.status <> 'done' AND i.definition NOT IN ({listed})
 GROUP BY d.machine
"""  # noqa: S608  (our own numbers)
    return dict(connection.execute(sql).fetchall())


def _still(connection: sqlite3.Connection, found: Found, columns: str) -> tuple[Any, ...]:
    """Return columns of an instance that was there a moment ago."""
    sql = f"SELECT {columns} FROM instance WHERE n = ?"  # noqa: S608  (our own names)
    row: tuple[Any, ...] | None = connection.execute(sql, (found.n,)).fetchone()
    if row is None:
        raise not_found(connection, found.id)
    return row
