"""
Which instances may be claimed, and whose turn it is.

    Scope               what a driver is willing to drive
    find_ready          what is ready, due, or held by a dead worker, in the order of its turn
    next_timer_boot_ms  when the next waiting instance is due
    tries_again         does one wait to be tried again?
    scope_sql, moment   the same conditions, for queries of others

The higher priority goes first, always: a lower one waits for as long as there is a higher one.
Among equals machines take turns: the next is of the machine of which the least is under way, so
that however much one has ready, another waits for one claim. Within a machine those come first
that were lost, then those that are due, then the oldest.

Of those with a key (`concurrency` of a machine) only so many may have begun and not ended. That
is counted in their rows (`held`), inside the transaction that claims: what has failed, was
cancelled or is paused holds nothing; what a dead worker holds is held until it is taken over.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from statepipe.sharing import PRIORITY_MAX
from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.walk import timers

_NO_LIMITS: Final[Mapping[int, int]] = MappingProxyType({})

# The ways to be ready, each by an index of its own. Numbers that are put into the text are made
# by us; what comes from outside is bound.
_FREE = """
SELECT n, updated_at_ms, priority, definition
  FROM instance
 WHERE status = 'ready' AND worker IS NULL AND wake_at_ms IS NULL AND awaits_turn = 0{scope}
 LIMIT :limit
"""
# What a machine has in one state is a line. The index leads from line to line, so that those
# that are not in scope cost one step each, however long they are.
_LINE = """
SELECT priority, definition, state
  FROM instance INDEXED BY instance_turn
 WHERE status = 'ready' AND worker IS NULL AND wake_at_ms IS NULL AND awaits_turn = 0
   AND (priority, definition, state) < (?, ?, ?)
 ORDER BY priority DESC, definition DESC, state DESC
 LIMIT 1
"""
_IN_LINE = """
SELECT n, updated_at_ms, priority, definition
  FROM instance INDEXED BY instance_turn
 WHERE status = 'ready' AND worker IS NULL AND wake_at_ms IS NULL AND awaits_turn = 0
   AND priority = ? AND definition = ? AND state = ?
 ORDER BY n
 LIMIT ?
"""
_KEY = """
SELECT concurrency_key
  FROM instance INDEXED BY instance_key_awaited
 WHERE awaits_turn = 1 AND status = 'ready' AND concurrency_key > ?
 ORDER BY concurrency_key
 LIMIT 1
"""
_KEYS_OF = """
SELECT DISTINCT concurrency_key
  FROM instance
 WHERE awaits_turn = 1 AND status = 'ready'{scope}
"""
_AWAITS_KEY = """
SELECT n, updated_at_ms, priority, definition
  FROM instance INDEXED BY instance_key_awaited
 WHERE awaits_turn = 1 AND status = 'ready' AND concurrency_key = :key{scope}
 ORDER BY n
 LIMIT :limit
"""
_HELD = """
SELECT count(*)
  FROM instance INDEXED BY instance_key_held
 WHERE concurrency_key IS NOT NULL AND status = 'ready' AND awaits_turn = 0
   AND concurrency_key = ?
"""
_HELD_BY_DEAD = """
SELECT n, NULL, priority, definition FROM instance WHERE worker = :dead{scope} LIMIT :limit
"""

# In a state that waits nothing is attempted.
_TRIES_AGAIN = """
SELECT 1 FROM instance WHERE wake_boot_id IS NOT NULL AND attempt > 0{scope} LIMIT 1
"""


class Scope(NamedTuple):
    """
    Which instances a driver is willing to drive; what is None limits nothing.

    Attributes:
        instances: Numbers of rows; and what is part of their work.
        definitions: Numbers of definitions.
        group: Its partitions only.
        elsewhere: States, with the number of their definition, that are of other queues.
        limits: How many of a definition may have one key at a time, if that is limited.
    """

    instances: frozenset[int] | None = None
    definitions: frozenset[int] | None = None
    group: int | None = None
    elsewhere: frozenset[tuple[int, str]] = frozenset()
    limits: Mapping[int, int] = _NO_LIMITS


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
    facts = {**moment(store, scope), "limit": limit}
    look = _Look(store.connection, scope, facts)
    lost = [
        each._replace(lost_by=name)
        for (worker, _), name in dead.items()
        for each in look.rows(_HELD_BY_DEAD, dead=worker)
    ]
    found = [*lost, *look.due(), *look.with_key(), *look.free()]
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
    facts, within = moment(store, scope), scope_sql(scope)
    asked = [(timers.NEXT_HERE, ""), (timers.NEXT_BY_WALL, "")]
    for other in timers.other_boots(store.connection, store.clock.boot_id):
        asked += [(timers.NEXT_PASSED, other), (timers.NEXT_DELAYED, other)]
    rows = (
        store.connection.execute(sql.format(scope=within), {**facts, "other": other}).fetchone()
        for sql, other in asked
    )
    return min((due for (due,) in filter(None, rows)), default=None)


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
        sql += f" AND (n IN ({numbers}) OR root IN ({numbers}))"
    if scope.group is not None:
        sql += f" AND member_of = {scope.group:d}"
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
        self._within = scope_sql(scope)
        self._limit: int = facts["limit"]

    def rows(self, sql: str, *, is_due: bool = False, **more: object) -> list[Ready]:
        """Return what a query finds in scope."""
        rows = self._connection.execute(sql.format(scope=self._within), {**self._facts, **more})
        return [Ready(*row)._replace(is_due=is_due) for row in rows]

    def due(self) -> list[Ready]:
        """Return those whose time is up."""
        found = [*self._fairly(timers.THIS_BOOT), *self._fairly(timers.BY_WALL)]
        for other in timers.other_boots(self._connection, self._facts["boot_id"]):
            found += self._fairly(timers.PASSED, other=other)
            found += self._fairly(timers.DELAYED, other=other)
        return found

    def with_key(self) -> list[Ready]:
        """Return those that wait for their key, if there is room for them, the oldest first."""
        found: list[Ready] = []
        for key in self._keys():
            if len(found) >= self._limit:
                break
            waiting = self.rows(_AWAITS_KEY, key=key)
            limits = [self._scope.limits.get(each.definition) for each in waiting]
            room = self._limit
            if limit := min((each for each in limits if each is not None), default=None):
                room = limit - held(self._connection, key)
            found += waiting[: max(0, room)]
        return found

    def free(self) -> list[Ready]:
        """Return those that rest and wait for nobody but us."""
        if self._scope.instances is not None or self._scope.group is not None:
            return self.rows(_FREE)
        found: list[Ready] = []
        priority = PRIORITY_MAX
        for line in self._lines():
            if line[0] < priority and len(found) >= self._limit:
                break  # enough of a higher priority
            priority = line[0]
            rows = self._connection.execute(_IN_LINE, (*line, self._limit))
            found += (Ready(*row) for row in rows)
        return found

    def _lines(self) -> Iterator[tuple[int, int, str]]:
        """Yield what there is by priority, machine and state, in scope, the highest first."""
        line: tuple[int, int, str] | None = (PRIORITY_MAX + 1, 0, "")
        while (line := self._connection.execute(_LINE, line).fetchone()) is not None:
            _, definition, state = line
            known = self._scope.definitions
            if known is not None and definition not in known:
                continue
            if (definition, state) not in self._scope.elsewhere:
                yield line

    def _keys(self) -> Iterable[str]:
        if self._scope.instances is not None or self._scope.group is not None:
            sql = _KEYS_OF.format(scope=self._within)
            return [key for (key,) in self._connection.execute(sql, self._facts)]
        return self._every_key()

    def _every_key(self) -> Iterator[str]:
        key: str | None = ""
        while row := self._connection.execute(_KEY, (key,)).fetchone():
            (key,) = row
            assert key is not None
            yield key

    def _fairly(self, sql: str, **more: object) -> list[Ready]:
        """Return those that are due, and the first of machines that stand behind so many."""
        found = self.rows(sql, is_due=True, **more)
        if len(found) == self._limit:
            seen = frozenset(each.definition for each in found)
            others = sql.format(scope=f"{{scope}} AND +definition NOT IN ({_numbers(seen)})")
            found += self.rows(others, is_due=True, **more)
        return found


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


def _numbers(numbers: Sequence[int] | frozenset[int]) -> str:
    return ", ".join(f"{n:d}" for n in numbers)
