"""
What a scrape reads: everything a store says of itself, in one short read transaction.

    read_snapshot   the figures as they are written, and gauges by queries that stay cheap
    file_sizes      of the store's files, by stat alone (F4 of docs/reliability.md)

The cost is that of the series and of what is unfinished, not of the instances there are.
Each query names its index: a store without it is an error, and not a scan of a million
rows. Death is judged after the transaction, since it takes reading files.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from statepipe.clock import WALL, Clock
from statepipe.errors import Busy
from statepipe.figures import (
    QUEUE_COUNTED_MAX,
    Count,
    Known,
    Moment,
    Snapshot,
    Taken,
    Timing,
    Used,
)
from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import translated
from statepipe.store.file.opening import open_reader
from statepipe.store.file.stamp import Environment
from statepipe.store.liveness import Worker, is_dead, workers
from statepipe.store.questions import usage
from statepipe.store.questions.usage import Rows
from statepipe.store.walk import watermarks
from statepipe.store.walk.resources import STAGING

#: Prometheus has seen older observations, and would not take them again.
_EXEMPLAR_AGE_MS_MAX: Final = 3_600_000
#: An exemplar is 80 bytes, and 2 us to look up.
_EXEMPLARS_MAX: Final = 1_000

#: Who stands before the queue may just have been put back there, by a worker that stopped.
_HEAD_OF_QUEUE: Final = 2_000

#: SQLite asks after so many instructions of one query whether to go on: 1 ms.
_INSTRUCTIONS: Final = 50_000

_TAKEN = "SELECT machine, source, event, target, taken, pruned FROM transition_count"
_COUNTS = "SELECT metric, machine, state, label, value FROM counter"
_TIMINGS = """
SELECT metric, machine, state, label, le_us, n, sum_us, last_us, last_at_ms, last_instance
  FROM duration
"""
_MOMENTS = "SELECT metric, machine, at_ms FROM latest"
_MACHINES = """
SELECT machine, version, digest, body
  FROM definition
 WHERE n IN (SELECT max(n) FROM definition GROUP BY machine)
 ORDER BY machine
"""
_DEFINITIONS = "SELECT n, machine FROM definition"

# By number, the oldest comes first: numbers are given in the order of creation.
_OLDEST = """
SELECT d.machine,
       (SELECT created_at_ms
          FROM instance INDEXED BY instance_unfinished
         WHERE definition = d.n AND finished_at_ms IS NULL
         ORDER BY n
         LIMIT 1) AS oldest
  FROM definition d
 WHERE oldest IS NOT NULL
"""

_HELD = """
SELECT worker, definition, count(*)
  FROM instance INDEXED BY instance_held
 WHERE worker IS NOT NULL
 GROUP BY worker, definition
"""

_FREE = """
SELECT count(*)
  FROM (SELECT 1
          FROM instance INDEXED BY instance_free
         WHERE status = 'ready' AND worker IS NULL AND wake_at_ms IS NULL
         LIMIT :most)
"""
_FREE_SINCE = """
SELECT min(updated_at_ms)
  FROM (SELECT updated_at_ms
          FROM instance INDEXED BY instance_free
         WHERE status = 'ready' AND worker IS NULL AND wake_at_ms IS NULL
         ORDER BY n
         LIMIT :head)
"""
_DUE_THIS_BOOT = """
SELECT count(*), :now_ms - :boot_ms + min(wake_boot_ms)
  FROM (SELECT wake_boot_ms
          FROM instance INDEXED BY instance_timer
         WHERE wake_boot_id = :boot_id AND wake_boot_ms <= :boot_ms
         LIMIT :most)
"""
_DUE_BY_WALL = """
SELECT count(*), min(wake_boot_ms)
  FROM (SELECT wake_boot_ms
          FROM instance INDEXED BY instance_timer
         WHERE wake_boot_id = :wall AND wake_boot_ms <= :now_ms
         LIMIT :most)
"""
# As they are claimed: when the wall clock has passed them, or one delay after start-up.
_DUE_OTHER_BOOT = """
SELECT count(*), min(min(wake_at_ms, :now_ms))
  FROM (SELECT wake_at_ms, wake_delay_ms
          FROM instance INDEXED BY instance_timer
         WHERE wake_boot_id IS NOT NULL AND wake_boot_id <> :boot_id AND wake_boot_id < :wall
         LIMIT :most)
 WHERE wake_at_ms <= :now_ms OR wake_delay_ms <= :boot_ms
"""

# One that stands for others waits for its target's rate by design, and is nobody's alarm.
_PENDING = """
SELECT target, count(*)
  FROM notice INDEXED BY notice_due
 WHERE done_at_ms IS NULL
   AND (event <> 'dropped' OR tries > 0)
 GROUP BY target
"""

_IDS = "SELECT n, id FROM instance WHERE n IN ({numbers})"


class _Rows(NamedTuple):
    """What one transaction read."""

    taken: list[Taken]
    counts: list[Count]
    timings: list[Timing]
    moments: list[Moment]
    ids: Mapping[int, str]
    recent_after_ms: int
    machines: list[Known]
    oldest: list[tuple[str, int]]
    machine_of: Mapping[int, str]
    held: list[tuple[int, int, int]]
    free: tuple[int, int | None]
    due: list[tuple[int, int | None]]
    workers: list[Worker]
    pending: Mapping[str, int]
    watermarks: Mapping[tuple[str, str], float]
    uses: Rows


def read_snapshot(
    path: Path,
    *,
    clock: Clock,
    exemplars: bool,
    most_ms: int,
    environment: Environment | None = None,
) -> Snapshot:
    """
    Return what the store at `path` says now.

    Args:
        path: The store's file.
        clock: For what is due, and who is dead.
        exemplars: True to look up the ids of instances that recent observations are of.
        most_ms: How long reading may take.
        environment: Whose process this is; None to let in whoever it is.

    Raises:
        StoreUnusable, WrongEnvironment: As `open_reader`.
        Busy: It took longer than `most_ms`, or the store was locked for as long.
    """
    end_ms = clock.boot_ms() + most_ms

    def is_late() -> bool:
        return clock.boot_ms() > end_ms

    reader = open_reader(path, busy_ms=most_ms, environment=environment)
    with closing(reader) as connection:
        connection.set_progress_handler(is_late, _INSTRUCTIONS)
        try:
            connection.execute("BEGIN")
            rows = _read(connection, clock=clock, exemplars=exemplars, is_late=is_late)
        except TimeoutError as error:
            raise _too_slow(path, most_ms=most_ms) from error
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                raise _too_slow(path, most_ms=most_ms) from error
            raise translated(error, path=path) from error
    return _snapshot(rows, clock=clock)


def file_sizes(path: Path) -> tuple[int, int] | None:
    """Return the bytes of the store's main file and of its WAL; None if there is no store."""
    try:
        main = path.stat().st_size
    except FileNotFoundError:
        return None
    try:
        return main, path.with_name(path.name + "-wal").stat().st_size
    except FileNotFoundError:
        return main, 0


def _read(
    connection: sqlite3.Connection, *, clock: Clock, exemplars: bool, is_late: Callable[[], bool]
) -> _Rows:
    moment: dict[str, Any] = {
        "now_ms": clock.now_ms(),
        "boot_ms": clock.boot_ms(),
        "boot_id": clock.boot_id,
        "wall": WALL,
    }
    facts = {**moment, "most": QUEUE_COUNTED_MAX, "head": _HEAD_OF_QUEUE}

    def rows(sql: str) -> list[tuple[Any, ...]]:
        if is_late():
            raise TimeoutError
        found: list[tuple[Any, ...]] = connection.execute(sql, facts).fetchall()
        return found

    timings = list(map(Timing._make, rows(_TIMINGS)))
    after_ms = _recent_after_ms(timings, now_ms=moment["now_ms"])
    numbers = {
        row.last_instance
        for row in timings
        if exemplars and row.last_instance is not None and row.last_at_ms > after_ms
    }
    return _Rows(
        taken=list(map(Taken._make, rows(_TAKEN))),
        counts=list(map(Count._make, rows(_COUNTS))),
        timings=timings,
        moments=list(map(Moment._make, rows(_MOMENTS))),
        ids=dict(rows(_IDS.format(numbers=", ".join(f"{n:d}" for n in numbers)))),
        recent_after_ms=after_ms,
        machines=list(map(Known._make, rows(_MACHINES))),
        oldest=rows(_OLDEST),
        machine_of=dict(rows(_DEFINITIONS)),
        held=rows(_HELD),
        free=(rows(_FREE)[0][0], rows(_FREE_SINCE)[0][0]),
        due=[*rows(_DUE_THIS_BOOT), *rows(_DUE_BY_WALL), *rows(_DUE_OTHER_BOOT)],
        workers=workers(connection),
        pending=dict(rows(_PENDING)),
        watermarks=watermarks.moments(connection),
        uses=usage.read(connection, clock=clock),
    )


def _recent_after_ms(timings: Iterable[Timing], *, now_ms: int) -> int:
    """Return after which moment an observation is worth an exemplar."""
    hour_ago_ms = now_ms - _EXEMPLAR_AGE_MS_MAX
    recent = sorted(row.last_at_ms for row in timings if row.last_at_ms > hour_ago_ms)
    return hour_ago_ms if len(recent) <= _EXEMPLARS_MAX else recent[-_EXEMPLARS_MAX - 1]


def _snapshot(rows: _Rows, *, clock: Clock) -> Snapshot:
    queue = [rows.free, *rows.due]
    alive = [worker for worker in rows.workers if not is_dead(worker, clock=clock)]
    living = {worker.n for worker in alive}
    stalled: Counter[str] = Counter()
    in_use = 0
    for worker, definition, number in rows.held:
        if worker in living:
            in_use += number
        else:
            stalled[rows.machine_of[definition]] += number
    oldest: dict[str, int] = {}
    for machine, created_at_ms in rows.oldest:
        oldest[machine] = min(created_at_ms, oldest.get(machine, created_at_ms))
    return Snapshot(
        taken=rows.taken,
        counts=rows.counts,
        timings=rows.timings,
        moments=rows.moments,
        ids=rows.ids,
        recent_after_ms=rows.recent_after_ms,
        machines=rows.machines,
        stalled=stalled,
        oldest_at_ms=oldest,
        queue_depth=sum(number for number, _ in queue),
        queue_since_ms=min((since for _, since in queue if since is not None), default=None),
        held=sum(number for *_, number in rows.held),
        workers=len(alive),
        slots=sum(worker.slots for worker in alive),
        slots_in_use=in_use,
        pending=rows.pending,
        watermarks=rows.watermarks,
        resources=[
            Used(each.name, each.slots, len(each.held), len(each.waiting))
            for each in usage.judged(rows.uses, rows.workers, clock=clock)
            if each.name != STAGING
        ],
    )


def _too_slow(path: Path, *, most_ms: int) -> Busy:
    return Busy(
        f"reading the figures of {path} took longer than {most_ms} ms",
        meaning="nothing was changed, and nothing waits for it",
        next_step="statepipe doctor   # is the disk slow, or the machine overloaded?",
    )
