"""
How all machines are doing, as of one moment; cheap however many instances there are.

    fleet           reads it: counters, partial indexes, and the tail of the journal
    Fleet           everything
    Doing           one machine
    Failures        instances that failed alike and still are

Nothing here looks at every instance: what is in which state is the sum of the counters of
moves; who drives, waits or is ready comes from indexes that hold only those, and is counted
up to a limit.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Container, Mapping
from typing import Final, NamedTuple

from statepipe.clock import Clock
from statepipe.sqlite import sqlite3
from statepipe.store import liveness
from statepipe.store.questions import moments
from statepipe.store.questions.finishes import Finished, Finishes
from statepipe.store.questions.usage import User, usage
from statepipe.store.reading import Reader

#: Ready and waiting instances are counted up to here, failed ones looked at up to here.
COUNTED_MAX: Final = 10_000
FAILED_MAX: Final = 1_000

#: Throughput is that of the last minute, or of the newest rows if they are more than these.
RATE_SPAN_MS: Final = 60_000
RATE_ROWS_MAX: Final = 20_000

_DEFINITIONS = "SELECT n, machine, body FROM definition"
# What was pruned is in no state any more.
_COUNTERS = """
SELECT machine, source, target, sum(taken - pruned)
  FROM transition_count
 GROUP BY machine, source, target
"""
_SUCCESS = "SELECT machine, at_ms FROM latest WHERE metric = 'success'"

_HELD = """
SELECT worker, definition, count(*)
  FROM instance
 WHERE worker IS NOT NULL
 GROUP BY worker, definition
"""

# The conditions of partial indexes stand there word for word, as in `listing.py`.
_READY = """
SELECT definition, count(*)
  FROM (SELECT definition FROM instance INDEXED BY instance_free
         WHERE status = 'ready' AND worker IS NULL AND wake_at_ms IS NULL
         LIMIT :limit)
 GROUP BY definition
"""
_WAITING = """
SELECT definition, count(*)
  FROM (SELECT definition FROM instance INDEXED BY instance_timer
         WHERE wake_boot_id IS NOT NULL
         LIMIT :limit)
 GROUP BY definition
"""
# What stands beside max() is of the row that has it: SQLite's bare columns. What does part of
# another one's work is resumed with it, or has failed and is none the less done with.
_FAILED = """
SELECT d.machine, i.failed_state, i.error_class, i.error, count(*), i.id, max(i.finished_at_ms)
  FROM (SELECT definition, id, failed_state, error_class, error, finished_at_ms
          FROM instance INDEXED BY instance_unfinished_business
         WHERE status = 'failed' AND status IN ('failed', 'cancelled', 'paused')
           AND root IS NULL
         ORDER BY n DESC
         LIMIT :limit) i
  JOIN definition d ON d.n = i.definition
 GROUP BY d.machine, i.failed_state, i.error_class
 ORDER BY max(i.finished_at_ms) DESC
"""

_RATES = """
SELECT i.definition, sum(j.kind IN ('move', 'cancel')),
       sum(iif(j.kind = 'batch', j.records, 0)), min(j.at_ms)
  FROM journal j
  JOIN instance i ON i.n = j.instance
 WHERE j.n >= :first AND j.at_ms >= :from_ms
 GROUP BY i.definition
"""


class Failures(NamedTuple):
    """Instances of one machine that failed in one state with one error, and still are failed."""

    machine: str
    state: str | None
    error_class: str | None
    error: str | None  # of the newest
    instances: int  # how many
    newest: str  # its id
    at_ms: int


class Doing(NamedTuple):
    """
    One machine.

    Attributes:
        machine: Its name.
        states: How many instances are in each state, final ones included.
        finals: Its final states, and the kind of each.
        driven: How many a live process drives.
        stalled: How many a dead one left behind.
        ready: How many wait for a driver, as far as was counted.
        waiting: How many wait for their time, as far as was counted.
        finished: What finished within the window.
        moves_per_s: Moves a second over the last minute.
        records_per_s: Records of committed batches a second, likewise.
        success_at_ms: When an instance was last done, None if never.
    """

    machine: str
    states: Mapping[str, int]
    finals: Mapping[str, str]
    driven: int
    stalled: int
    ready: int
    waiting: int
    finished: Finished
    moves_per_s: float
    records_per_s: float
    success_at_ms: int | None


class Fleet(NamedTuple):
    """
    All machines.

    Attributes:
        at_ms: The moment (UTC).
        since_ms: When the window of `finished` begins.
        machines: Each that the store knows, by name.
        failures: Failed alike, the latest first; among the newest `FAILED_MAX` that failed.
        drivers: How many processes that drive instances are alive.
        slots: How many instances they can drive at most.
        users: How each resource is used.
    """

    at_ms: int
    since_ms: int
    machines: tuple[Doing, ...]
    failures: tuple[Failures, ...]
    drivers: int
    slots: int
    users: tuple[User, ...]


def fleet(reader: Reader, finishes: Finishes) -> Fleet:
    """
    Return how all machines are doing.

    Args:
        reader: Of the store.
        finishes: The window in which what finished is counted; given again, it reads only
            what came since.
    """
    with reader.moment() as connection:
        return _fleet(connection, finishes, clock=reader.clock)


def _fleet(connection: sqlite3.Connection, finishes: Finishes, *, clock: Clock) -> Fleet:
    now_ms = clock.now_ms()
    definitions = connection.execute(_DEFINITIONS).fetchall()
    names = {n: machine for n, machine, _ in definitions}
    workers = liveness.workers(connection)
    alive = {each.n: each for each in workers if not liveness.is_dead(each, clock=clock)}
    driven, stalled = _held(connection, names, alive=alive.keys())
    ready = _by_machine(connection, _READY, names)
    waiting = _by_machine(connection, _WAITING, names)
    finals = _finals(definitions)
    states = _states(connection)
    rates = _rates(connection, names, now_ms=now_ms)
    finished = finishes.look(connection, now_ms=now_ms)
    success = dict(connection.execute(_SUCCESS).fetchall())
    return Fleet(
        at_ms=now_ms,
        since_ms=finishes.since_ms,
        machines=tuple(
            Doing(
                machine,
                states[machine],
                finals[machine],
                driven[machine],
                stalled[machine],
                ready[machine],
                waiting[machine],
                finished.get(machine, Finished(0, 0, 0, None)),
                *rates.get(machine, (0.0, 0.0)),
                success.get(machine),
            )
            for machine in sorted(finals)
        ),
        failures=tuple(
            Failures(*row) for row in connection.execute(_FAILED, {"limit": FAILED_MAX})
        ),
        drivers=len(alive),
        slots=sum(each.slots for each in alive.values()),
        users=usage(connection, clock=clock),
    )


def _held(
    connection: sqlite3.Connection, names: Mapping[int, str], *, alive: Container[int]
) -> tuple[Counter[str], Counter[str]]:
    driven: Counter[str] = Counter()
    stalled: Counter[str] = Counter()
    for worker, definition, count in connection.execute(_HELD):
        (driven if worker in alive else stalled)[names[definition]] += count
    return driven, stalled


def _by_machine(connection: sqlite3.Connection, sql: str, names: Mapping[int, str]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for definition, count in connection.execute(sql, {"limit": COUNTED_MAX}):
        counted[names[definition]] += count
    return counted


def _states(connection: sqlite3.Connection) -> dict[str, Counter[str]]:
    """Return how many instances are in each state: what moved in, less what moved out."""
    states: dict[str, Counter[str]] = defaultdict(Counter)
    for machine, source, target, taken in connection.execute(_COUNTERS):
        states[machine][target] += taken
        states[machine][source] -= taken
    return defaultdict(
        Counter,
        {
            machine: Counter({state: count for state, count in counts.items() if state and count})
            for machine, counts in states.items()
        },
    )


def _finals(definitions: list[tuple[int, str, str]]) -> dict[str, dict[str, str]]:
    """Return the final states of each machine and their kinds, all its definitions together."""
    finals: dict[str, dict[str, str]] = {}
    for _, machine, body in definitions:
        known = finals.setdefault(machine, {"cancelled": "cancelled"})
        for state, form in json.loads(body)["states"].items():
            if "final" in form:
                known[state] = form["final"]
    return finals


def _rates(
    connection: sqlite3.Connection, names: Mapping[int, str], *, now_ms: int
) -> dict[str, tuple[float, float]]:
    """Return moves and records a second over the last minute, or less if that is too much."""
    from_ms = now_ms - RATE_SPAN_MS
    last = moments.end(connection)
    first = max(moments.row_at(connection, from_ms), last - RATE_ROWS_MAX)
    rows = connection.execute(_RATES, {"first": first, "from_ms": from_ms}).fetchall()
    span_ms = RATE_SPAN_MS
    if first == last - RATE_ROWS_MAX and rows:
        span_ms = max(1_000, now_ms - min(oldest_ms for *_, oldest_ms in rows))
    totals: dict[str, tuple[float, float]] = {}
    for definition, moves, records, _ in rows:
        had = totals.get(names[definition], (0.0, 0.0))
        per_s = 1_000 / span_ms
        totals[names[definition]] = (had[0] + moves * per_s, had[1] + (records or 0) * per_s)
    return totals
