"""
Lists: which instances there are, and what a bulk resume would take.

    Filter, Listed      which instances a list shows, and one line of it
    instances           the newest that match
    machines            the names of all that ever ran
    Resumable           one instance that a bulk resume would take
    resumable, resumable_counts
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from heapq import nlargest
from typing import Any, Literal, NamedTuple

from statepipe.model import Status
from statepipe.sqlite import sqlite3
from statepipe.store.walk.interventions import ASKED_FOR

#: What an instance is doing: its status, and for a ready one who drives it or what it waits for.
Standing = Literal[
    "running", "stalled", "waiting", "ready", "paused", "done", "failed", "cancelled"
]

# The numbers of the newest instances that match, one definition at a time, so that an
# index gives them in order and a list stops at its limit. INDEXED BY makes a store
# without the index an error, and not a scan of a million rows; the condition of a
# partial index stands there word for word, since SQLite proves little by itself.
_NEWEST_OPEN = """
SELECT n FROM instance INDEXED BY instance_open
 WHERE definition = :definition AND status <> 'done'{more}
 ORDER BY n DESC
 LIMIT :limit
"""
_NEWEST = """
SELECT n FROM instance INDEXED BY instance_definition
 WHERE definition = :definition{more}
 ORDER BY n DESC
 LIMIT :limit
"""
_NEWEST_FAILED = """
SELECT n FROM instance INDEXED BY instance_unfinished_business
 WHERE status = 'failed'
   AND status IN ('failed', 'cancelled', 'paused'){more}
 ORDER BY n DESC
 LIMIT :limit
"""
_NEWEST_STALLED = """
SELECT n FROM instance INDEXED BY instance_held
 WHERE worker IN ({dead}) AND worker IS NOT NULL AND status = 'ready'{more}
 ORDER BY n DESC
 LIMIT :limit
"""

_OF_GROUP = """
SELECT n FROM instance INDEXED BY instance_member
 WHERE member_of = (SELECT n FROM instance_group WHERE id = :group)
   AND member_of IS NOT NULL{more}
 ORDER BY n
 LIMIT :limit
"""

_OF_PARENT = """
SELECT c.instance
  FROM child c
  JOIN instance ON instance.n = c.instance
 WHERE c.parent = (SELECT n FROM instance WHERE id = :parent){more}
 ORDER BY c.instance
 LIMIT :limit
"""

_LISTED = f"""
SELECT i.n, i.id, d.machine, i.state, i.status, i.worker, i.attempt, i.batches, i.wake_at_ms,
       {ASKED_FOR}, i.failed_state, i.error_class,
       i.error, i.created_at_ms, i.updated_at_ms, i.finished_at_ms, g.id, i.partition,
       iif(i.wake_at_ms IS NULL, NULL,
           coalesce('["' || json_extract(d.body, '$.states."' || i.state || '".task.dataset')
                    || '"]',
                    json_extract(d.body, '$.states."' || i.state || '".task.wait'))),
       i.wake_at_ms IS NOT NULL AND NOT i.attempt
       AND coalesce(json_type(d.body, '$.states."' || i.state || '".task.tasks'),
                    json_type(d.body, '$.states."' || i.state || '".task.machine')) IS NOT NULL
  FROM instance i
  JOIN definition d ON d.n = i.definition
  LEFT JOIN instance_group g ON g.n = i.member_of
 WHERE i.n IN ({{numbers}})
 ORDER BY i.n {{order}}
"""  # noqa: S608  (made of constants)

# What a bulk resume takes: not what is done, what a person cancelled or paused, a replay that
# was replaced by another, or what goes on with the instance that it works for.
_RESUMABLE = """
SELECT {columns}
  FROM instance INDEXED BY instance_open
 WHERE definition IN ({definitions})
   AND status <> 'done'
   AND status IN ('failed', 'ready')
   AND (worker IS NULL OR worker IN ({dead}))
   AND n NOT IN (SELECT instance FROM replay WHERE replaced_by IS NOT NULL)
   AND root IS NULL
   AND updated_at_ms >= :since_ms{more}
 {group}
"""
_RESUMABLE_FAILED = """
SELECT {columns}
  FROM instance INDEXED BY instance_unfinished_business
 WHERE status = 'failed'
   AND status IN ('failed', 'cancelled', 'paused')
   AND definition IN ({definitions})
   AND n NOT IN (SELECT instance FROM replay WHERE replaced_by IS NOT NULL)
   AND root IS NULL
   AND updated_at_ms >= :since_ms{more}
 {group}
"""
_EACH = "definition, status, worker, coalesce(failed_state, state), error_class, id"
_ORDER = "ORDER BY n"
_COUNTED = "definition, status, worker, coalesce(failed_state, state), error_class, count(*)"
_GROUP = "GROUP BY 1, 2, 3, 4, 5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """
    Which instances a list shows.

    Attributes:
        states: Only in one of these, of a resume that would go on in one of these; empty means
            all that are not done.
        machine: Only of this machine.
        failed: Only those that ended failed.
        stalled: Only those whose driver died.
        all: Those that are done as well.
        since_ms: Only those that changed at or after this moment (UTC).
        group: Only the partitions of this group, in their order, those that are done as well.
        parts_of: Only what does part of the work of this instance, in the order it began; without
            it, without `machine` and without `stalled`, what does part of another one's work is
            not shown.
        error: Only those whose last error is of this class; of a resume.
    """

    states: tuple[str, ...] = ()
    machine: str | None = None
    failed: bool = False
    stalled: bool = False
    all: bool = False
    since_ms: int | None = None
    group: str | None = None
    parts_of: str | None = None
    error: str | None = None


class Listed(NamedTuple):
    """One instance in a list."""

    id: str
    machine: str
    state: str
    standing: Standing
    attempt: int  # attempts used up in this state
    batches: int  # batches committed in this stay
    wake_at_ms: int | None
    request: str | None
    failed_state: str | None
    error_class: str | None
    error: str | None
    created_at_ms: int
    updated_at_ms: int
    finished_at_ms: int | None
    group: str | None
    partition: str | None  # its key
    awaits: tuple[str, ...] | None  # the events or dataset it rests for; () if for its time alone
    awaits_parts: bool  # it rests until what does part of its work has ended


class Kind(NamedTuple):
    """What instances that a bulk resume would take have in common; as of `Resumable`."""

    machine: str
    definition: int
    standing: Standing
    state: str
    error_class: str | None


class Resumable(NamedTuple):
    """One instance that a bulk resume would take; `state` is where it would go on."""

    id: str
    machine: str
    definition: int
    standing: Standing
    state: str
    error_class: str | None

    @property
    def kind(self) -> Kind:
        """All of it but the id."""
        return Kind(*self[1:])


def instances(
    connection: sqlite3.Connection, wanted: Filter, *, dead: Collection[int], limit: int
) -> list[Listed]:
    """Return up to `limit` instances that `wanted` lets through, newest first."""
    numbers = _newest(connection, wanted, dead=dead, limit=limit)
    listed = _numbers(numbers)
    order = "DESC" if wanted.group is None and wanted.parts_of is None else "ASC"
    rows = connection.execute(_LISTED.format(numbers=listed, order=order)).fetchall()
    return [_listed(row, dead) for row in rows]


def machines(connection: sqlite3.Connection) -> set[str]:
    """Return the names of the machines that the store has instances, or had some, of."""
    return {name for (name,) in connection.execute("SELECT machine FROM definition")}


def resumable(
    connection: sqlite3.Connection, wanted: Filter, *, dead: Collection[int]
) -> list[Resumable]:
    """Return what a bulk resume takes: the failed and, unless `failed`, the stalled and ready."""
    names, rows = _resumable(connection, wanted, dead=dead, columns=_EACH, group=_ORDER)
    return [
        Resumable(
            id_,
            names[number],
            number,
            standing_of(status, worker, waits=False, dead=dead),
            state,
            cause,
        )
        for number, status, worker, state, cause, id_ in rows
    ]


def resumable_counts(
    connection: sqlite3.Connection, wanted: Filter, *, dead: Collection[int]
) -> Counter[Kind]:
    """Return how many `resumable` there are of each kind."""
    names, rows = _resumable(connection, wanted, dead=dead, columns=_COUNTED, group=_GROUP)
    counts: Counter[Kind] = Counter()
    for number, status, worker, state, cause, count in rows:
        standing = standing_of(status, worker, waits=False, dead=dead)
        counts[Kind(names[number], number, standing, state, cause)] += count
    return counts


def _newest(
    connection: sqlite3.Connection, wanted: Filter, *, dead: Collection[int], limit: int
) -> list[int]:
    """Return the numbers of the newest instances that match, newest first."""
    facts: dict[str, Any] = {"limit": limit, "since_ms": wanted.since_ms}
    more = "" if wanted.since_ms is None else " AND updated_at_ms >= :since_ms"
    more += _in_states("instance.state", wanted.states, facts)
    if wanted.stalled and (wanted.failed or not dead):
        return []  # nothing is both: what is stalled has not ended
    definitions = _definitions(connection, wanted.machine)
    if wanted.machine is not None and not definitions:
        return []  # it never ran; and an index that is asked for nothing cannot be used
    of_machine = f" AND definition IN ({_numbers([n for n, _, _ in definitions])})"
    if wanted.machine is not None and (wanted.group or wanted.failed or wanted.stalled):
        more += of_machine
    if wanted.parts_of is not None:
        more += " AND status = 'failed'" if wanted.failed else ""
        more += f" AND worker IN ({_numbers(dead)})" if wanted.stalled else ""
        sql = _OF_PARENT.format(more=more)
        return [n for (n,) in connection.execute(sql, {**facts, "parent": wanted.parts_of})]
    if wanted.machine is None and not (wanted.stalled and wanted.group is None):
        more += " AND root IS NULL"
    if wanted.group is not None:
        more += " AND status = 'failed'" if wanted.failed else ""
        more += f" AND worker IN ({_numbers(dead)})" if wanted.stalled else ""
        sql = _OF_GROUP.format(more=more)
        return [n for (n,) in connection.execute(sql, {**facts, "group": wanted.group})]
    if wanted.failed or wanted.stalled:
        sql = _NEWEST_FAILED if wanted.failed else _NEWEST_STALLED
        sql = sql.format(more=more, dead=_numbers(dead))
        return [n for (n,) in connection.execute(sql, facts)]
    found: list[int] = []
    for definition, _, ends in definitions:
        with_done = wanted.all or not ends.isdisjoint(wanted.states)
        sql = (_NEWEST if with_done else _NEWEST_OPEN).format(more=more)
        rows = connection.execute(sql, {**facts, "definition": definition})
        found.extend(n for (n,) in rows)
    return nlargest(limit, found)


def _definitions(
    connection: sqlite3.Connection, machine: str | None
) -> list[tuple[int, str, frozenset[str]]]:
    """Return number, machine and successful ends of each definition of a machine, or of all."""
    rows = connection.execute("SELECT n, machine, body FROM definition").fetchall()
    return [
        (n, name, frozenset(_successes(body))) for n, name, body in rows if machine in (None, name)
    ]


def _successes(body: str) -> Iterator[str]:
    """Give the states of a stored definition in which an instance is done."""
    for name, state in json.loads(body)["states"].items():
        if state.get("final") == "success":
            yield name


def _in_states(where: str, states: Collection[str], facts: dict[str, Any]) -> str:
    """Return the condition that `where` is one of `states`, if any; they go into `facts`."""
    if not states:
        return ""
    names = {f"state{n}": state for n, state in enumerate(states)}
    facts |= names
    return f" AND {where} IN ({', '.join(f':{name}' for name in names)})"


def _numbers(numbers: Collection[int]) -> str:
    return ", ".join(f"{n:d}" for n in numbers)


def _listed(row: tuple[Any, ...], dead: Collection[int]) -> Listed:
    _, id_, machine, state, status, worker, attempt, batches, wake_at_ms, *rest = row
    standing = standing_of(status, worker, waits=wake_at_ms is not None, dead=dead)
    awaited, awaits_parts = rest[-2:]
    rest[-2:] = [None if awaited is None else tuple(json.loads(awaited)), bool(awaits_parts)]
    return Listed(id_, machine, state, standing, attempt, batches, wake_at_ms, *rest)


def standing_of(status: str, worker: int | None, *, waits: bool, dead: Collection[int]) -> Standing:
    """Return what an instance is doing; `waits` if it waits for its time."""
    if status != Status.READY:
        return status  # type: ignore[return-value]  # the schema's CHECK: one of the others
    if worker is not None:
        return "stalled" if worker in dead else "running"
    return "waiting" if waits else "ready"


def _resumable(
    connection: sqlite3.Connection,
    wanted: Filter,
    *,
    dead: Collection[int],
    columns: str,
    group: str,
) -> tuple[dict[int, str], list[tuple[Any, ...]]]:
    """Return the machines by number of definition, and the rows."""
    names = {number: name for number, name, _ in _definitions(connection, wanted.machine)}
    facts: dict[str, Any] = {"since_ms": wanted.since_ms or 0, "error": wanted.error}
    more = _in_states("coalesce(failed_state, state)", wanted.states, facts)
    more += "" if wanted.error is None else " AND error_class = :error"
    sql = (_RESUMABLE_FAILED if wanted.failed else _RESUMABLE).format(
        columns=columns,
        definitions=", ".join(f"{n:d}" for n in names),
        dead=_numbers(dead),
        more=more,
        group=group,
    )
    return names, connection.execute(sql, facts).fetchall() if names else []
