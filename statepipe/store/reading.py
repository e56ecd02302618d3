"""
What people ask of a store: lists, inspections, histories; looked up, never changed.

    Reader              a read-only connection and the questions
    Filter, Listed      which instances a list shows, and one line of it
    Entry               one row of a journal
    Resumable           one instance that a bulk resume would take

What one instance shows is `inspection.py`; rejected records are `quarantine.py`; the
store's own health is `health.py`. Each answer is read whole in one short transaction, so
that nobody holds a snapshot, and with it the WAL, while it is printed.
"""

from collections import Counter
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import nlargest
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from statepipe.clock import Clock, SystemClock
from statepipe.model import Status
from statepipe.sqlite import sqlite3
from statepipe.store import inspection, liveness, quarantine
from statepipe.store.connection import open_reader, translated
from statepipe.store.inspection import Inspection, find_number
from statepipe.store.quarantine import Reason, Rejected

#: What an instance is doing: its status, and for a ready one who drives it or what it waits for.
Standing = Literal[
    "running", "stalled", "waiting", "ready", "paused", "done", "failed", "cancelled"
]

# The numbers of the newest instances that match, one definition at a time, so that an
# index gives them in order and a list stops at its limit. INDEXED BY makes a store
# without the index an error, and not a scan of a million rows.
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
 WHERE status = 'failed'{more}
 ORDER BY n DESC
 LIMIT :limit
"""
_NEWEST_STALLED = """
SELECT n FROM instance INDEXED BY instance_held
 WHERE worker IN ({dead}) AND status = 'ready'{more}
 ORDER BY n DESC
 LIMIT :limit
"""

_LISTED = """
SELECT i.n, i.id, d.machine, i.state, i.status, i.worker, i.attempt, i.batches, i.wake_at_ms,
       i.request, i.failed_state, i.error_class, i.error, i.created_at_ms, i.updated_at_ms,
       i.finished_at_ms
  FROM instance i
  JOIN definition d ON d.n = i.definition
 WHERE i.n IN ({numbers})
 ORDER BY i.n DESC
"""

_HISTORY = """
SELECT seq, at_ms, kind, event, source, target, task, attempt, took_ms, records, bytes, rejected,
       error_class, error, note, epoch, generation, policy
  FROM journal
 WHERE instance = :n AND seq > :after_seq
 ORDER BY seq {order}
 LIMIT :limit
"""

# What a bulk resume takes: not what is done, and not what a person cancelled or paused.
_RESUMABLE = """
SELECT i.id, d.machine, i.definition, i.status, coalesce(i.failed_state, i.state), i.error_class,
       i.worker
  FROM instance i INDEXED BY instance_open
  JOIN definition d ON d.n = i.definition
 WHERE i.definition = :definition
   AND i.status IN ('failed', 'ready')
   AND i.status <> 'done'
"""
_RESUMABLE_FAILED = """
SELECT i.id, d.machine, i.definition, i.status, i.failed_state, i.error_class, i.worker
  FROM instance i INDEXED BY instance_unfinished_business
  JOIN definition d ON d.n = i.definition
 WHERE i.status = 'failed'
"""

_LOADED = """
SELECT coalesce(sum(loaded), 0)
  FROM plan
 WHERE instance = :n
   AND generation = (SELECT max(generation) FROM plan WHERE instance = :n)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """
    Which instances a list shows.

    Attributes:
        states: Only in one of these; empty means all that are not done.
        machine: Only of this machine.
        failed: Only those that ended failed.
        stalled: Only those whose driver died.
        all: Those that are done as well.
        since_ms: Only those that changed at or after this moment (UTC).
    """

    states: tuple[str, ...] = ()
    machine: str | None = None
    failed: bool = False
    stalled: bool = False
    all: bool = False
    since_ms: int | None = None


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


class Entry(NamedTuple):
    """One row of the journal of one instance."""

    seq: int
    at_ms: int
    kind: str
    event: str
    source: str
    target: str
    task: str | None
    attempt: int | None
    took_ms: int | None
    records: int | None
    bytes: int | None
    rejected: int | None
    error_class: str | None
    error: str | None
    note: str | None
    epoch: int
    generation: int
    policy: str | None


class Resumable(NamedTuple):
    """One instance that a bulk resume would take; `state` is where it would go on."""

    id: str
    machine: str
    definition: int
    standing: Standing
    state: str
    error_class: str | None


class Transitions(NamedTuple):
    """How often all instances of a machine together took one move; a counter, it never falls."""

    machine: str
    source: str
    event: str
    target: str
    taken: int


class Reader:
    """
    Looks into a store, from any number of processes, while others write to it.

    Args:
        path: The store's file.
        clock: Time; a test may own it.

    Raises:
        StoreUnusable: Missing, a folder, empty, foreign, newer, or damaged.
    """

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        self.path = path
        self._clock = clock or SystemClock()
        self._connection = open_reader(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def instances(self, wanted: Filter | None = None, *, limit: int = 50) -> list[Listed]:
        """Return up to `limit` instances that `wanted` lets through, newest first."""
        wanted = wanted or Filter()
        with self._moment() as connection:
            dead = self._dead(connection)
            numbers = _newest(connection, wanted, dead=dead, limit=limit)
            listed = ", ".join(f"{n:d}" for n in numbers)
            rows = connection.execute(_LISTED.format(numbers=listed)).fetchall()
        return [_listed(row, dead) for row in rows]

    def inspect(self, instance_id: str) -> Inspection:
        """
        Return everything about one instance, as of one moment.

        Raises:
            NotFound: There is no such instance.
        """
        with self._moment() as connection:
            return inspection.inspect(connection, instance_id, clock=self._clock)

    def history(
        self,
        instance_id: str,
        *,
        after_seq: int = 0,
        reverse: bool = False,
        limit: int = 1_000,
    ) -> list[Entry]:
        """
        Return up to `limit` rows of the journal, oldest first unless `reverse`.

        Args:
            instance_id: Whose journal.
            after_seq: Only rows with a higher seq.
            reverse: Newest first.
            limit: At most so many rows, at least 1.

        Raises:
            NotFound: There is no such instance.
        """
        sql = _HISTORY.format(order="DESC" if reverse else "ASC")
        with self._moment() as connection:
            n = find_number(connection, instance_id)
            facts = {"n": n, "after_seq": after_seq, "limit": limit}
            return [Entry(*row) for row in connection.execute(sql, facts)]

    def status(self, instance_id: str) -> str:
        """
        Return the status of one instance.

        Raises:
            NotFound: There is no such instance.
        """
        with self._moment() as connection:
            n = find_number(connection, instance_id)
            row = connection.execute("SELECT status FROM instance WHERE n = ?", (n,)).fetchone()
        status: str = row[0]
        return status

    def resumable(self, *, machine: str | None = None, failed: bool = False) -> list[Resumable]:
        """
        Return what a bulk resume takes: the failed and, unless `failed`, the stalled and waiting.

        What a live process drives, what is done, and what a person cancelled or paused
        is left out.
        """
        with self._moment() as connection:
            dead = self._dead(connection)
            known = _definitions(connection, machine)
            if failed:
                rows = connection.execute(_RESUMABLE_FAILED).fetchall()
            else:
                rows = [
                    row for n in known for row in connection.execute(_RESUMABLE, {"definition": n})
                ]
        return [
            Resumable(id_, machine_, number, _standing(status, worker, None, dead), state, cause)
            for id_, machine_, number, status, state, cause, worker in rows
            if number in known and (worker is None or worker in dead)
        ]

    def resumable_counts(
        self, *, machine: str | None = None, failed: bool = False
    ) -> Counter[tuple[str, str, str, str | None]]:
        """Return how many `resumable` there are by machine, standing, state and error class."""
        return Counter(
            (each.machine, each.standing, each.state, each.error_class)
            for each in self.resumable(machine=machine, failed=failed)
        )

    def quarantine(self, subject: str | None = None) -> list[Reason]:
        """
        Return the reasons for which records were rejected, the most frequent first.

        Args:
            subject: The id of an instance or the name of a machine; None for everything.

        Raises:
            NotFound: It is neither.
        """
        with self._moment() as connection:
            return quarantine.reasons(connection, subject)

    def rejected(self, instance_id: str, *, limit: int = 20) -> list[Rejected]:
        """
        Return up to `limit` rejected records of an instance, in the order they were met.

        Raises:
            NotFound: There is no such instance.
            StagedDataDamaged: A quarantine file is missing or not what was committed.
        """
        with self._moment() as connection:
            rows = quarantine.rows(connection, instance_id)
        return quarantine.read(rows, stage_dir=self.path.parent / "stage", limit=limit)

    def loaded_and_rejected(self, instance_id: str) -> tuple[int, int]:
        """
        Return how many records an instance has put at its destination and into quarantine.

        Raises:
            NotFound: There is no such instance.
        """
        with self._moment() as connection:
            n = find_number(connection, instance_id)
            loaded: int = connection.execute(_LOADED, {"n": n}).fetchone()[0]
            rejected = sum(row.rejects.records for row in quarantine.rows(connection, instance_id))
        return loaded, rejected

    def transitions(self, *, machine: str | None = None) -> list[Transitions]:
        """Return the counters of moves, by machine, source, event and target."""
        sql = "SELECT machine, source, event, target, taken FROM transition_count"
        with self._moment() as connection:
            rows = [Transitions(*row) for row in connection.execute(sql)]
        return [row for row in rows if machine in (None, row.machine)]

    @contextmanager
    def _moment(self) -> Generator[sqlite3.Connection]:
        """Give the connection for as long as one answer is read, all of it at one moment."""
        try:
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise translated(error, path=self.path) from error

    def _dead(self, connection: sqlite3.Connection) -> frozenset[int]:
        return frozenset(
            worker.n
            for worker in liveness.workers(connection)
            if liveness.is_dead(worker, clock=self._clock)
        )


def _newest(
    connection: sqlite3.Connection, wanted: Filter, *, dead: Collection[int], limit: int
) -> list[int]:
    """Return the numbers of the newest instances that match, newest first."""
    facts: dict[str, Any] = {"limit": limit, "since_ms": wanted.since_ms}
    more = "" if wanted.since_ms is None else " AND updated_at_ms >= :since_ms"
    if wanted.states:
        names = [f":state{n}" for n in range(len(wanted.states))]
        facts |= {f"state{n}": state for n, state in enumerate(wanted.states)}
        more += f" AND state IN ({', '.join(names)})"
    if wanted.failed and wanted.stalled:
        more += " AND 0"  # nothing is both: what is stalled has not ended
    definitions = _definitions(connection, wanted.machine)
    if wanted.failed or wanted.stalled:
        if wanted.machine is not None:
            more += f" AND definition IN ({', '.join(f'{n:d}' for n in definitions)})"
        sql = _NEWEST_FAILED if wanted.failed else _NEWEST_STALLED
        listed = ", ".join(f"{n:d}" for n in dead)
        sql = sql.format(more=more, dead=listed)
        return [n for (n,) in connection.execute(sql, facts)]
    found: list[int] = []
    for definition, ends in definitions.items():
        with_done = wanted.all or not ends.isdisjoint(wanted.states)
        sql = (_NEWEST if with_done else _NEWEST_OPEN).format(more=more)
        rows = connection.execute(sql, {**facts, "definition": definition})
        found.extend(n for (n,) in rows)
    return nlargest(limit, found)


def _definitions(connection: sqlite3.Connection, machine: str | None) -> dict[int, frozenset[str]]:
    """Return the numbers of a machine's definitions (None: all), with the states that are done."""
    rows = connection.execute("SELECT n, machine, body FROM definition").fetchall()
    return {
        n: frozenset(inspection.successes(body))
        for n, name, body in rows
        if machine in (None, name)
    }


def _listed(row: tuple[Any, ...], dead: Collection[int]) -> Listed:
    _, id_, machine, state, status, worker, attempt, batches, wake_at_ms, *rest = row
    standing = _standing(status, worker, wake_at_ms, dead)
    return Listed(id_, machine, state, standing, attempt, batches, wake_at_ms, *rest)


def _standing(
    status: str, worker: int | None, wake_at_ms: int | None, dead: Collection[int]
) -> Standing:
    if status != Status.READY:
        return status  # type: ignore[return-value]  # the schema's CHECK: one of the others
    if worker is not None:
        return "stalled" if worker in dead else "running"
    return "ready" if wake_at_ms is None else "waiting"
