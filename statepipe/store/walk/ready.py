"""
Which instances may be claimed, and whose turn it is.

    Scope               what a driver is willing to drive
    find_ready          what is ready, due, or held by a dead worker, in the order of its turn
    next_timer_boot_ms  when the next waiting instance is due
    tries_again         does one wait to be tried again?
    scope_sql, moment   the same conditions, for queries of others
    FREE, AWAITS_KEY    the lines of those that rest, for the same

The higher priority goes first, always: a lower one waits for as long as there is a higher one.
Among equals machines take turns: the next is of the machine of which the least is under way, so
that however much one has ready, another waits for one claim. Within a machine those come first
that were lost, then those that are due, then the oldest.

Of those with a key (`concurrency` of a machine) only so many may have begun and not ended; the
next is the first one in that order whose key has room. That is counted in their rows (`held`),
inside the transaction that claims: what has failed, was cancelled or is paused holds nothing;
what a dead worker holds is held until it is taken over.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from statepipe.sharing import PRIORITY_MAX
from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.walk import timers
from statepipe.store.walk.children import BELOW
from statepipe.store.walk.lines import Kind, Line, lines

# What the query of a kind returns: `Ready` as far as its definition, then what it stands by.
_Row = tuple[Any, ...]
_ORDER, _KEY = 4, 5

_Rows = Callable[[str, Mapping[str, Any]], list[_Row]]

_NO_LIMITS: Final[Mapping[int, int]] = MappingProxyType({})

#: At rest, waiting for nobody but a driver.
FREE: Final = Kind(
    by_index="instance_turn",
    where="status = 'ready' AND worker IS NULL AND wake_at_ms IS NULL AND awaits_turn = 0",
    order="n",
    since="updated_at_ms",
)
#: At rest, and waiting for a key; those whose key was found to be taken are passed over.
AWAITS_KEY: Final = Kind(
    by_index="instance_key_turn",
    where="awaits_turn = 1 AND status = 'ready'",
    order="n",
    since="updated_at_ms",
    due="n > :after AND concurrency_key NOT IN (SELECT value FROM json_each(:taken))",
)
_HELD = """
SELECT count(*)
  FROM instance INDEXED BY instance_key_held
 WHERE concurrency_key IS NOT NULL AND status = 'ready' AND awaits_turn = 0
   AND concurrency_key = ?
"""
_HELD_BY_DEAD = """
SELECT n, NULL, priority, definition FROM instance WHERE worker = :dead{scope} LIMIT :limit
"""

_BELOW = f"{BELOW} SELECT n FROM below"  # noqa: S608  (made of constants)

_MEMBERS = "SELECT n FROM instance WHERE member_of = {0:d}"

# In a state that waits nothing is attempted.
_TRIES_AGAIN = """
SELECT 1 FROM instance WHERE wake_boot_id IS NOT NULL AND attempt > 0{scope} LIMIT 1
"""


class Scope(NamedTuple):
    """
    Which instances a driver is willing to drive; what is None limits nothing.

    Attributes:
        instances: Numbers of rows; and what is part of their work.
        parts: Those of them that are themselves part of another one's work.
        definitions: Numbers of definitions.
        group: Its partitions only.
        in_parts: Of a group, also what is part of its partitions' work: to look for that where
            there is none would read all partitions each time.
        elsewhere: States, with the number of their definition, that are of other queues.
        limits: How many of a definition may have one key at a time, if that is limited.
    """

    instances: frozenset[int] | None = None
    parts: frozenset[int] = frozenset()
    definitions: frozenset[int] | None = None
    group: int | None = None
    in_parts: bool = False
    elsewhere: frozenset[tuple[int, str]] = frozenset()
    limits: Mapping[int, int] = _NO_LIMITS

    @property
    def is_narrow(self) -> bool:
        """True if instances or a group are named: few, and not found by their lines."""
        return self.instances is not None or self.group is not None


class Ready(NamedTuple):
    """
    An instance that may be claimed.

    Attributes:
        n: Its number.
        since_ms: Since when it is ready, or due; None if a dead worker holds it.
        priority: Of it.
        definition: Number of its definition.
        lost_by: The name of that worker.
        is_due: Is its time up?
    """

    n: int
    since_ms: int | None
    priority: int
    definition: int
    lost_by: str | None = None
    is_due: bool = False


def find_ready(
    store: Store,
    *,
    dead: Mapping[tuple[int, int], str],
    scope: Scope,
    limit: int,
    under_way: Mapping[int, int] = _NO_LIMITS,
    each_max: int | None = None,
) -> list[Ready]:
    """
    Return up to `limit` instances that may be claimed, in the order of their turn.

    Args:
        store: The open store.
        dead: Names of dead workers by number and beat.
        scope: Whom the caller drives.
        limit: At most so many.
        under_way: How many of each definition the caller drives already.
        each_max: So many of one definition at most; None for any number.
    """
    look = _Look(store.connection, scope, {**moment(store, scope), "limit": limit})
    found = [*look.lost(dead), *look.due(), *look.with_key(), *look.free()]
    return _in_turn(found, limit=limit, under_way=under_way, each_max=each_max)


def held(connection: sqlite3.Connection, key: str) -> int:
    """Return how many instances have begun with `key` and not ended."""
    count: int = connection.execute(_HELD, (key,)).fetchone()[0]
    return count


def others_hold(connection: sqlite3.Connection, n: int) -> int:
    """Return how many instances but number `n` have begun with its key and not ended."""
    sql = "SELECT concurrency_key, status = 'ready' AND NOT awaits_turn FROM instance WHERE n = ?"
    key, holds = connection.execute(sql, (n,)).fetchone()
    return 0 if key is None else held(connection, key) - holds


def next_timer_boot_ms(store: Store, *, scope: Scope) -> int | None:
    """Return when, by this boot's clock, the next waiting instance is due; None if none waits."""
    connection, facts = store.connection, moment(store, scope)
    found: list[int] = []
    for kind, boot in timers.kinds(connection, store.clock.boot_id):
        bound = {**facts, "boot": boot}
        if scope.is_narrow:
            asked = [(kind.next(scope_sql(scope)), bound)]
        else:
            sql = kind.next(None)
            standing = lines_in(connection, kind, scope, bound)
            asked = [(sql, {**bound, **line._asdict()}) for line in standing]
        rows = (connection.execute(*each).fetchone() for each in asked)
        found += (row[0] for row in rows if row is not None)
    return min(found, default=None)


def lines_in(
    connection: sqlite3.Connection, kind: Kind, scope: Scope, facts: Mapping[str, Any]
) -> Iterator[Line]:
    """Yield the lines of a kind that are in a scope of machines and queues."""
    for line in lines(connection, kind, facts):
        if scope.definitions is not None and line.definition not in scope.definitions:
            continue
        if (line.definition, line.state) not in scope.elsewhere:
            yield line


def tries_again(store: Store, scope: Scope) -> bool:
    """Return True if an instance waits to be tried again; one in a state that waits is none."""
    sql = _TRIES_AGAIN.format(scope=scope_sql(scope))
    return store.connection.execute(sql, moment(store, scope)).fetchone() is not None


def moment(store: Store, scope: Scope) -> dict[str, Any]:
    """Return what the conditions of a query are about: now, and what is not in scope."""
    elsewhere = json.dumps([f"{n}:{state}" for n, state in sorted(scope.elsewhere)])
    return {**timers.moment(store.clock), "elsewhere": elsewhere}


def scope_sql(scope: Scope) -> str:
    """Return the conditions that limit a query of `instance` to `scope`."""
    sql = ""
    if scope.instances is not None:
        numbers = _numbers(scope.instances)
        # `root` is the instance at the top: what is below another one is found step by step.
        below = f" OR n IN ({_BELOW.format(parents=_numbers(scope.parts))})" if scope.parts else ""
        sql += f" AND (n IN ({numbers}) OR root IN ({numbers}){below})"
    if scope.group is not None:
        members = f"member_of = {scope.group:d}"
        parts = f"root IN ({_MEMBERS.format(scope.group)})"
        sql += f" AND ({members} OR {parts})" if scope.in_parts else f" AND {members}"
    if scope.definitions is not None:
        # The plus keeps SQLite from looking the definition up by its index, and reading all
        # instances there ever were; what is ready has an index of its own.
        sql += f" AND +definition IN ({_numbers(scope.definitions)})"
    if scope.elsewhere:
        sql += " AND definition || ':' || state NOT IN (SELECT value FROM json_each(:elsewhere))"
    return sql


class _Look:
    """One look at what is ready, at one moment."""

    def __init__(
        self, connection: sqlite3.Connection, scope: Scope, facts: Mapping[str, Any]
    ) -> None:
        self._connection = connection
        self._scope = scope
        self._facts = facts
        self._limit: int = facts["limit"]
        self._held: dict[str, int] = {}

    def lost(self, dead: Mapping[tuple[int, int], str]) -> list[Ready]:
        """Return what dead workers hold."""
        sql = _HELD_BY_DEAD.format(scope=scope_sql(self._scope))
        return [
            Ready(*row)._replace(lost_by=name)
            for (worker, _), name in dead.items()
            for row in self._connection.execute(sql, {**self._facts, "dead": worker})
        ]

    def due(self) -> list[Ready]:
        """Return those whose time is up."""
        kinds = timers.kinds(self._connection, self._facts["boot_id"])
        return [
            Ready(*row[:4])._replace(is_due=True)
            for kind, boot in kinds
            for row in self._stand(kind, self._rows, boot=boot)
        ]

    def free(self) -> list[Ready]:
        """Return those that rest and wait for nobody but us."""
        return [Ready(*row[:4]) for row in self._stand(FREE, self._rows)]

    def with_key(self) -> list[Ready]:
        """Return those that wait for their key, if there is room for them."""
        rows = self._stand(AWAITS_KEY, self._with_room)
        rows.sort(key=lambda row: (-row[2], row[0]))  # in lines, each key had all of its room
        has_room = self._room()
        return [Ready(*row[:4]) for row in rows if has_room(row)]

    def _stand(self, kind: Kind, rows: _Rows, **bound: object) -> list[_Row]:
        """Return what `rows` finds in each line that is in scope, in their common order."""
        facts = {**self._facts, **bound}
        if self._scope.is_narrow:
            return rows(kind.ready(scope_sql(self._scope)), facts)
        sql = kind.ready(None)
        found: list[_Row] = []
        priority = PRIORITY_MAX
        for line in lines_in(self._connection, kind, self._scope, facts):
            if line.priority < priority and len(found) >= self._limit:
                break  # enough of a higher priority
            priority = line.priority
            found += rows(sql, {**facts, **line._asdict()})
        return sorted(found, key=itemgetter(_ORDER))

    def _rows(self, sql: str, facts: Mapping[str, Any]) -> list[_Row]:
        rows: list[_Row] = self._connection.execute(sql, facts).fetchall()
        return rows

    def _with_room(self, sql: str, facts: Mapping[str, Any]) -> list[_Row]:
        """Return the first ones for whose key there is room."""
        found: list[_Row] = []
        taken: set[str] = set()
        has_room = self._room()
        after, count = 0, self._limit
        while True:
            asked = {"after": after, "limit": count, "taken": json.dumps(sorted(taken))}
            rows = self._rows(sql, {**facts, **asked})
            for row in rows:
                if has_room(row):
                    found.append(row)
                else:
                    taken.add(row[_KEY])
            if len(found) >= self._limit or len(rows) < count:
                return found
            after, count = rows[-1][0], 2 * count

    def _room(self) -> Callable[[_Row], bool]:
        """Return what tells of one after the other whether its key has room for it as well."""
        begun: dict[str, int] = {}

        def has_room(row: _Row) -> bool:
            key = row[_KEY]
            if key not in self._held:
                self._held[key] = held(self._connection, key)
            count = begun.setdefault(key, self._held[key])
            limit = self._scope.limits.get(row[3])
            if limit is not None and count >= limit:
                return False
            begun[key] = count + 1
            return True

        return has_room


def _in_turn(
    found: Iterable[Ready], *, limit: int, under_way: Mapping[int, int], each_max: int | None
) -> list[Ready]:
    """Return the first `limit`: the higher priority first, then machines in turn."""
    lines: dict[tuple[int, int], list[Ready]] = {}
    for each in found:
        lines.setdefault((-each.priority, each.definition), []).append(each)
    taken = dict(under_way)
    turns = [(key[0], taken.get(key[1], 0), key[1], 0) for key in lines]
    heapify(turns)
    chosen: list[Ready] = []
    while turns and len(chosen) < limit:
        priority, count, definition, at = heappop(turns)
        if (now := taken.get(definition, 0)) != count:  # it had a turn with another priority
            heappush(turns, (priority, now, definition, at))
            continue
        line = lines[priority, definition]
        chosen.append(line[at])
        taken[definition] = now + 1
        more = each_max is None or now + 1 - under_way.get(definition, 0) < each_max
        if more and at + 1 < len(line):
            heappush(turns, (priority, now + 1, definition, at + 1))
    return chosen


def _numbers(numbers: Iterable[int]) -> str:
    return ", ".join(f"{n:d}" for n in numbers)
