"""
Letting go of instances that have ended: their rows, then their staged files.

    Which           which ones, and whether of each all goes or only its raw data
    prunable        how much that would be, by machine and status; changes nothing
    prune           let them go, some instances a transaction

What the journal of a pruned instance said stays in the figures: it is added to their
`pruned` columns in the transaction that deletes it, so that no counter falls and a recount
still adds up. Its id stays in `pruned`, because destinations keep their ledgers by it: a new
instance of that name would find its batches loaded already. Its number is not given again
either, because a process may sleep that believes it has the right to it.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from statepipe.clock import Clock
from statepipe.errors import StoreUnusable
from statepipe.sqlite import sqlite3
from statepipe.store import liveness
from statepipe.store.file.connection import Store
from statepipe.store.metrics.counters import Counters
from statepipe.store.metrics.recount import fold_pruned
from statepipe.store.stage.directory import Stage
from statepipe.store.stage.sweep import tidy
from statepipe.store.walk import jobs, replays
from statepipe.store.walk.presence import RollCall
from statepipe.tasknames import task_of
from statepipe.units import plural

_log: Final = logging.getLogger(__name__)

#: Instances in one transaction: others can write between two of them.
GROUP: Final = 200

_OF: Final = """
   definition IN (SELECT value FROM json_each(:definitions))
   AND status IN (SELECT value FROM json_each(:statuses))
   AND (root IS NULL OR :with_parts)
"""

_OLDEST_KEPT: Final = f"""
SELECT n FROM instance WHERE {_OF} ORDER BY n DESC LIMIT 1 OFFSET :keep_last - 1
"""  # noqa: S608 our own names

_PRUNABLE: Final = f"""
 WHERE {_OF} AND finished_at_ms <= :before_ms AND n > :after AND n < :oldest_kept
   AND NOT EXISTS (SELECT 1 FROM instance part
                    WHERE part.root = instance.n AND part.finished_at_ms IS NULL)
"""  # noqa: S608 our own names

# An instance that goes takes the names of its jobs with it, and of those of its parts: what is
# yet to be stopped elsewhere would run on, and nobody could. So with slots: the process that an
# instance was taken over from may be using one still, and nobody else is to have it then.
_WHOLE: Final = f"""{_PRUNABLE}
   AND n NOT IN (SELECT coalesce(i.root, i.n)
                   FROM job j
                   JOIN instance i ON i.n = j.instance
                  WHERE {jobs.LOST})
   AND n NOT IN (SELECT coalesce(i.root, i.n)
                   FROM slot s
                   JOIN worker w ON w.n = s.worker
                   JOIN instance i ON i.n = s.instance
                  WHERE s.held_at_ms IS NOT NULL
                    AND (w.n, w.beat) NOT IN (SELECT json_extract(value, '$[0]'),
                                                     json_extract(value, '$[1]')
                                                FROM json_each(:gone)))
"""  # noqa: S608 our own names

_WITH_PARTS: Final = """
IN (SELECT instance.n UNION ALL SELECT part.n FROM instance part WHERE part.root = instance.n)
"""

_COUNT: Final = f"""
SELECT status, count(*),
       coalesce(sum((SELECT sum(records) FROM reject r WHERE r.instance {_WITH_PARTS})), 0),
       coalesce(sum((SELECT sum(bytes) FROM reject r WHERE r.instance {_WITH_PARTS})), 0)
       + coalesce(sum((SELECT sum(bytes) FROM batch b WHERE b.instance {_WITH_PARTS})), 0)
  FROM instance {_WHOLE}
 GROUP BY status
"""  # noqa: S608 our own names

_NEXT: Final = f"SELECT n, id, state, epoch FROM instance {_WHOLE} ORDER BY n LIMIT {GROUP}"  # noqa: S608 our own names

# What does part of the work of another one goes with it.
_PARTS: Final = """
SELECT i.n, i.id, i.state, i.epoch, d.machine
  FROM pruning p
  JOIN instance i ON i.root = p.instance
  JOIN definition d ON d.n = i.definition
"""

# What is still staged of one that is done was kept as raw data.
_WITH_RAW: Final = f"{_PRUNABLE} AND EXISTS (SELECT 1 FROM batch b WHERE b.instance = instance.n)"  # noqa: S608 our own names

_COUNT_RAW: Final = f"""
SELECT status, count(*), 0,
       sum((SELECT sum(bytes) FROM batch b WHERE b.instance = instance.n))
  FROM instance {_WITH_RAW}
 GROUP BY status
"""  # noqa: S608 our own names

_NEXT_RAW: Final = f"SELECT n, id, state, epoch FROM instance {_WITH_RAW} ORDER BY n LIMIT {GROUP}"  # noqa: S608 our own names

# In the order of the references between them.
_DELETE: Final = tuple(
    f"DELETE FROM {table} WHERE {column} IN (SELECT instance FROM pruning)"  # noqa: S608 our own names
    for table, column in (
        ("child", "instance"),
        ("copy", "instance"),
        ("output", "instance"),
        ("drift", "instance"),
        ("skipped", "instance"),
        ("slot", "instance"),
        ("batch", "instance"),
        ("reject", "instance"),
        ("plan", "instance"),
        ("signal", "instance"),
        ("awaiting", "instance"),
        ("waited", "instance"),
        ("job", "instance"),
        ("callback", "instance"),
        ("late_event", "instance"),
        ("journal", "instance"),
        ("instance", "n"),
    )
)

_KEEP_NUMBERS: Final = """
UPDATE store
   SET highest_pruned = max(highest_pruned, (SELECT max(instance) FROM pruning))
"""

# An author may have an event of that name: those moves lead to a state.
_NOT_JOURNALED: Final = """
UPDATE transition_count
   SET pruned = taken
 WHERE event = 'prune' AND target = '' AND machine = ?
"""

_N_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """
    Which instances to let go.

    Attributes:
        before_ms: Those that ended at this moment or before.
        statuses: Of `done`, `failed` and `cancelled`; the last two could still be resumed.
        machine: Only of this machine; None for all.
        keep_last: Of each machine keep so many of the newest, whatever their age; from 0.
        raw_only: They stay, and only the raw data that was kept of them goes; they are done.
    """

    before_ms: int
    statuses: tuple[str, ...] = ("done",)
    machine: str | None = None
    keep_last: int = 0
    raw_only: bool = False

    def __post_init__(self) -> None:
        assert not self.raw_only or self.statuses == ("done",), "others may still need it"


class Prunable(NamedTuple):
    """
    How many instances of a machine, rejected records in quarantine, and bytes staged.

    What does part of an instance's work goes with it: its records and bytes are counted as that
    one's, and it is no instance of its own here.
    """

    machine: str
    status: str
    instances: int
    rejected: int
    bytes: int


class _Gone(NamedTuple):
    n: int
    id: str
    state: str
    epoch: int


def prunable(connection: sqlite3.Connection, which: Which, *, clock: Clock) -> list[Prunable]:
    """Return what `prune` would let go, by machine and status."""
    return [
        Prunable(machine, *row)
        for machine, facts in _machines(connection, which, clock=clock)
        for row in connection.execute(
            _COUNT_RAW if which.raw_only else _COUNT, {**facts, "after": 0}
        )
    ]


def prune(store: Store, stage: Stage, which: Which) -> Iterator[int]:
    """
    Let instances go, or their raw data, a transaction each some hundred; yield how many.

    Ended in the middle, it has let go of whole instances only; the rest is found again. Files
    that cannot be removed are logged, in one line.

    Raises:
        Busy, StoreFull, StoreUnusable, StoreInDoubt: As `Store.write`.
    """
    failures: list[StoreUnusable] = []
    for machine, facts in _machines(store.connection, which, clock=store.clock):
        after = 0
        while gone := (
            _give_raw_back(store, {**facts, "after": after})
            if which.raw_only
            else _prune_some(store, machine, {**facts, "after": after})
        ):
            for each in gone:  # row first, file after: a file that is left hurts nobody
                try:
                    tidy(stage, store.connection, n=each.n, instance_id=each.id, epoch=each.epoch)
                except StoreUnusable as error:
                    failures.append(error)
            store.checkpoint_wal()
            after = gone[-1].n
            yield len(gone)
    if failures:
        _log.warning(
            "staged files of %s may be left, which cost room only: %s   next: %s",
            plural(len(failures), "instance"),
            failures[0].message,
            failures[0].next_step,
        )


def _machines(
    connection: sqlite3.Connection, which: Which, *, clock: Clock
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each machine with the facts that the queries bind."""
    # Who is found gone stays gone, and who goes later is found by the next prune. The tenth of a
    # second for which tasks may outlive a killed process is not waited for: another process has
    # taken the instance over since, and driven it to its end.
    gone = RollCall(clock, orphan_ms=0).absent(liveness.workers(connection)).gone
    definitions = defaultdict(list)
    for n, machine in connection.execute("SELECT n, machine FROM definition ORDER BY machine"):
        definitions[machine].append(n)
    for machine, numbers in definitions.items():
        if which.machine not in (None, machine):
            continue
        if which.raw_only and task_of(machine) is not None:
            continue  # what a task has staged is for its parent, and goes when that is done
        facts: dict[str, Any] = {
            "definitions": json.dumps(numbers),
            "statuses": json.dumps(which.statuses),
            "before_ms": which.before_ms,
            "oldest_kept": _N_MAX,
            "gone": json.dumps(sorted(gone)),
            "with_parts": which.raw_only,  # they keep raw data of their own
        }
        if which.keep_last:
            kept = {**facts, "keep_last": which.keep_last}
            oldest = connection.execute(_OLDEST_KEPT, kept).fetchone()
            facts["oldest_kept"] = 0 if oldest is None else oldest[0]
        yield machine, facts


def _give_raw_back(store: Store, facts: dict[str, Any]) -> list[_Gone]:
    with store.write() as connection:
        # Chosen in the transaction that deletes: a rewind may just have taken one back.
        gone = [_Gone(*row) for row in connection.execute(_NEXT_RAW, facts)]
        connection.executemany("DELETE FROM batch WHERE instance = ?", [(e.n,) for e in gone])
    return gone


def _prune_some(store: Store, machine: str, facts: dict[str, Any]) -> list[_Gone]:
    """Let some go, and what does part of their work; return these first."""
    with store.write() as connection:
        # Chosen in the transaction that deletes: a resume may just have taken one back.
        gone = [_Gone(*row) for row in connection.execute(_NEXT, facts)]
        if not gone:
            return []
        connection.executemany("INSERT INTO pruning VALUES (?)", [(each.n,) for each in gone])
        machines = dict.fromkeys((each.n for each in gone), machine)
        for *facts_of, its_machine in connection.execute(_PARTS).fetchall():
            part = _Gone(*facts_of)
            gone.insert(0, part)
            machines[part.n] = its_machine
            connection.execute("INSERT INTO pruning VALUES (?)", (part.n,))
        fold_pruned(connection)
        replays.forget(connection)
        for sql in _DELETE:
            connection.execute(sql)
        connection.execute(_KEEP_NUMBERS)
        connection.execute("DELETE FROM pruning")
        connection.executemany(
            "INSERT INTO pruned (id, at_ms) VALUES (?, ?)",
            [(each.id, store.clock.now_ms()) for each in gone],
        )
        counters = Counters()
        for each in gone:
            counters.transition(machines[each.n], each.state, "prune", "")
        counters.write(connection)
        connection.executemany(_NOT_JOURNALED, [(each,) for each in set(machines.values())])
    return gone
