"""
Who uses what can be used only so much: slots, and permits by rate, over all processes.

    declare     write down the numbers, for those who look
    settle      ask for slots and permits, and take what one's turn it is for
    permit      one permit more, for an attempt that is under way
    End         what the end of attempts gives back, in the commit of their outcomes

There is no counter that could leak. A row of `slot` names the process that holds or waits,
and counts while that process exists, whether its lease has passed or not: a process that
was stopped may go on calling when it wakes. The rows of one resource are a queue: an
instance asks for all that it uses in one transaction, and holds it once fewer rows are
before it, in each queue, than there are slots. So nobody overtakes, and nobody can wait in
a circle.

A rate is kept by the boot clock: the next permit is due one pause after the last one. What a
server asks for with Retry-After closes the resource until then. Another boot knows neither.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from statepipe.clock import Clock
from statepipe.resources import Resource
from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.liveness import Worker
from statepipe.store.walk import workers
from statepipe.store.walk.presence import Absent

#: In place of a resource's name: who waits for room for staged batches.
STAGING: Final = "(staging)"

NOBODY: Final = Absent()

_DECLARED = "SELECT slots, rate FROM resource WHERE name = ?"
_DECLARE = """
INSERT INTO resource (name, slots, rate, boot_id, next_boot_us, closed_boot_us)
VALUES (:name, :slots, :rate, :boot_id, 0, 0)
    ON CONFLICT (name) DO UPDATE SET slots = excluded.slots, rate = excluded.rate
"""

# What an instance that was taken over still holds is held; it waits for nothing any more.
_QUEUES = """
SELECT s.n, s.resource, s.worker, w.beat, s.held_at_ms IS NOT NULL
  FROM slot s
  JOIN worker w ON w.n = s.worker
  JOIN instance i ON i.n = s.instance
 WHERE s.resource IN (SELECT value FROM json_each(?))
   AND (s.held_at_ms IS NOT NULL OR s.epoch = i.epoch)
 ORDER BY s.n
"""
# Nothing for an instance that was pruned while its driver slept.
_ASK = """
INSERT INTO slot (resource, instance, epoch, worker, asked_at_ms)
SELECT ?, n, ?, ?, ? FROM instance WHERE n = ?
RETURNING n
"""
_HOLD = "UPDATE slot SET held_at_ms = ? WHERE n = ?"
_GIVE_BACK = "DELETE FROM slot WHERE n = ?"
_GIVE_BACK_OF = (
    "DELETE FROM slot WHERE worker = ? AND worker IN (SELECT n FROM worker WHERE beat = ?)"
)

_GATES = """
SELECT name, next_boot_us, closed_boot_us
  FROM resource
 WHERE boot_id = ? AND name IN (SELECT value FROM json_each(?))
"""
_SPEND = """
UPDATE resource
   SET next_boot_us   = :next_boot_us,
       closed_boot_us = iif(boot_id = :boot_id, closed_boot_us, 0),
       boot_id        = :boot_id
 WHERE name = :name
"""
_CLOSE = """
UPDATE resource
   SET closed_boot_us = iif(boot_id = :boot_id, max(closed_boot_us, :until_us), :until_us),
       next_boot_us   = iif(boot_id = :boot_id, next_boot_us, 0),
       boot_id        = :boot_id
 WHERE name = :name
"""


class Want(NamedTuple):
    """
    One instance that is to begin an attempt.

    Attributes:
        instance: Its number.
        epoch: Under which it is driven.
        uses: What the attempt needs; empty for room for staged batches alone.
        kind: Of the executor that it would run in.
        places: Numbers of its rows; empty until it has asked.
    """

    instance: int
    epoch: int
    uses: tuple[Resource, ...]
    kind: str
    places: tuple[int, ...] = ()


class Settled(NamedTuple):
    """
    What became of wants, in their order.

    Attributes:
        places: The rows that each has now.
        granted: The places in `wants` of those that hold all they need.
        withdrawn: Of those that gave up their turn: no executor had room for them.
        fenced: Of those that another process has taken over, or that are pruned since.
        due_us: When, by the boot clock, the next may have its permit; None if none waits for it.
    """

    places: list[tuple[int, ...]]
    granted: list[int]
    withdrawn: list[int]
    fenced: list[int]
    due_us: int | None


class End(NamedTuple):
    """What attempts leave when they end; written by the group commit of their outcomes."""

    places: Sequence[int]
    closed: Mapping[str, int]  # until when, by the boot clock in microseconds
    boot_id: str

    def write(self, connection: sqlite3.Connection) -> None:
        """Give back slots, and close what a server asked to leave alone."""
        connection.executemany(_GIVE_BACK, [(n,) for n in self.places])
        for name, until_us in self.closed.items():
            facts = {"name": name, "until_us": until_us, "boot_id": self.boot_id}
            connection.execute(_CLOSE, facts)


def declare(store: Store, resources: Iterable[Resource]) -> None:
    """Write down what `resources` allow, if the store says otherwise; raises as `Store.write`."""
    said = {each.name: (each.slots, each.rate and str(each.rate)) for each in resources}
    known = {name: store.connection.execute(_DECLARED, (name,)).fetchone() for name in said}
    if known == said:
        return
    with store.write() as connection:
        for name, (slots, rate) in said.items():
            facts = {"name": name, "slots": slots, "rate": rate, "boot_id": store.clock.boot_id}
            connection.execute(_DECLARE, facts)


def settle(
    store: Store,
    worker: Worker,
    wants: Sequence[Want],
    *,
    end: "End | None",
    absent: Absent,
    room: Mapping[str, int],
) -> Settled:
    """
    Let instances ask, and take what it is their turn for.

    Args:
        store: The open store.
        worker: Who drives them.
        wants: Them, those that have asked first.
        end: What attempts that have ended give back, None if nothing.
        absent: Who does not count.
        room: How many attempts executors of each kind have room for.

    Costs no write if all have asked, nothing is given back, and it is nobody's turn. Raises as
    `Store.write`.
    """
    if end is None and all(want.places for want in wants):
        found = _turns(store.connection, wants, absent=absent, room=room, clock=store.clock)
        if not found.granted and not found.withdrawn:
            return found
    with store.write() as connection:
        workers.keep(connection, worker, clock=store.clock)
        if end is not None:
            end.write(connection)
        connection.executemany(_GIVE_BACK_OF, sorted(absent.gone))
        asked = [_asked(store, connection, worker, want) for want in wants]
        found = _turns(connection, asked, absent=absent, room=room, clock=store.clock)
        now_ms = store.clock.now_ms()
        for at in found.granted:
            connection.executemany(_HOLD, [(now_ms, n) for n in found.places[at]])
            _spend(connection, asked[at].uses, clock=store.clock)
        for at in found.withdrawn:
            connection.executemany(_GIVE_BACK, [(n,) for n in found.places[at]])
            found.places[at] = ()
    return found


def permit(store: Store, resource: Resource) -> int:
    """
    Take one permit of `resource`; return 0, or in how many microseconds to ask again.

    Costs no write without a rate, or if none is due. Raises as `Store.write`.
    """
    clock = store.clock
    wait_us = _wait_us(store.connection, resource, clock=clock)
    if wait_us or resource.rate is None:
        return wait_us
    with store.write() as connection:
        wait_us = _wait_us(connection, resource, clock=clock)
        if not wait_us:
            _spend(connection, [resource], clock=clock)
    return wait_us


def _asked(store: Store, connection: sqlite3.Connection, worker: Worker, want: Want) -> Want:
    if want.places:
        return want
    names = [each.name for each in want.uses] or [STAGING]
    now_ms = store.clock.now_ms()
    asks = [(name, want.epoch, worker.n, now_ms, want.instance) for name in names]
    places = [n for ask in asks for (n,) in connection.execute(_ASK, ask).fetchall()]
    return want._replace(places=tuple(places))


def _turns(
    connection: sqlite3.Connection,
    wants: Sequence[Want],
    *,
    absent: Absent,
    room: Mapping[str, int],
    clock: Clock,
) -> Settled:
    """Return whose turn it is, the longest waiting first; changes nothing."""
    left = Counter(room)
    queues = _queues(connection, wants, absent=absent)
    waits = _Waits(connection, wants, clock=clock)
    settled = Settled([want.places for want in wants], [], [], [], None)
    due_us: list[int] = []
    for at, want in enumerate(wants):
        if not want.places:
            settled.fenced.append(at)
            continue
        places = list(zip(want.uses, want.places, strict=bool(want.uses)))
        if any(n not in queues[each.name] for each, n in places):
            settled.fenced.append(at)
            continue
        if not places or not all(queues[each.name].lets_in(n, each) for each, n in places):
            continue
        if not left[want.kind]:
            settled.withdrawn.append(at)
            continue
        wait_us = max(waits.of(each) for each in want.uses)
        if wait_us:
            due_us.append(waits.now_us + wait_us)
            continue
        left[want.kind] -= 1
        settled.granted.append(at)
        for each, n in places:
            queues[each.name].hold(n)
            waits.spend(each)
    return settled._replace(due_us=min(due_us, default=None))


class _Queue:
    """The rows of one resource that count, the oldest first."""

    def __init__(self) -> None:
        self._rows: dict[int, bool] = {}

    def __contains__(self, n: int) -> bool:
        return n in self._rows

    def add(self, n: int, *, holds: bool) -> None:
        self._rows[n] = holds

    def lets_in(self, n: int, resource: Resource) -> bool:
        """Return whether row `n` may hold its slot now, and is the first to want a permit."""
        before = [holds for other, holds in self._rows.items() if other < n]
        if resource.rate is not None and not all(before):
            return False
        if resource.slots is None:
            return True
        # Those who hold and came later are counted as well: a process that was silent, and was
        # passed over, may be back with its old place.
        held = sum(holds for other, holds in self._rows.items() if other != n)
        return len(before) < resource.slots and held < resource.slots

    def hold(self, n: int) -> None:
        self._rows[n] = True


def _queues(
    connection: sqlite3.Connection, wants: Sequence[Want], *, absent: Absent
) -> dict[str, _Queue]:
    queues = {each.name: _Queue() for want in wants for each in want.uses}
    for n, name, worker, beat, holds in connection.execute(_QUEUES, (json.dumps([*queues]),)):
        if absent.counts((worker, beat), holds=bool(holds)):
            queues[name].add(n, holds=bool(holds))
    return queues


class _Waits:
    """How long until permits are due, as some are spent."""

    def __init__(
        self, connection: sqlite3.Connection, wants: Sequence[Want], *, clock: Clock
    ) -> None:
        names = {each.name for want in wants for each in want.uses}
        self.now_us = clock.boot_us()
        self._gates = _gates(connection, names, clock=clock)

    def of(self, resource: Resource) -> int:
        next_us, closed_us = self._gates.get(resource.name, (0, 0))
        return _pause_us(resource, next_us, closed_us, now_us=self.now_us)

    def spend(self, resource: Resource) -> None:
        next_us, closed_us = self._gates.get(resource.name, (0, 0))
        following_us = max(self.now_us, next_us) + resource.pause_us
        self._gates[resource.name] = (following_us, closed_us)


def _pause_us(resource: Resource, next_us: int, closed_us: int, *, now_us: int) -> int:
    """Return how long until the next permit: `burst` of them may come before their time."""
    due_us = 0 if resource.rate is None else next_us - (resource.burst - 1) * resource.pause_us
    return max(0, due_us - now_us, closed_us - now_us)


def _wait_us(connection: sqlite3.Connection, resource: Resource, *, clock: Clock) -> int:
    next_us, closed_us = _gates(connection, [resource.name], clock=clock).get(resource.name, (0, 0))
    return _pause_us(resource, next_us, closed_us, now_us=clock.boot_us())


def _spend(connection: sqlite3.Connection, resources: Iterable[Resource], *, clock: Clock) -> None:
    rated = [each for each in resources if each.rate is not None]
    gates = _gates(connection, [each.name for each in rated], clock=clock)
    for each in rated:
        next_us, _ = gates.get(each.name, (0, 0))
        facts = {
            "name": each.name,
            "boot_id": clock.boot_id,
            "next_boot_us": max(clock.boot_us(), next_us) + each.pause_us,
        }
        connection.execute(_SPEND, facts)


def _gates(
    connection: sqlite3.Connection, names: Collection[str], *, clock: Clock
) -> dict[str, tuple[int, int]]:
    """Return when the next permit of each is due, and until when it is closed, by this boot."""
    rows = connection.execute(_GATES, (clock.boot_id, json.dumps(sorted(names))))
    return {name: (next_us, closed_us) for name, next_us, closed_us in rows}
