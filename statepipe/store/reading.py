"""
What people ask of a store: lists, inspections, histories; looked up, never changed.

    Reader          a read-only connection and the questions
    Entry           one row of a journal

Lists are made by `listing.py`, what one instance shows by `inspection.py`, rejected
records by `quarantine.py`, what takes more than a look by `questions/`; the store's own
health is `health.py`'s. Each answer is read whole in one short transaction, so that nobody
holds a snapshot, and with it the WAL, while it is printed.
"""

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from statepipe.clock import Clock, SystemClock
from statepipe.said import Fact
from statepipe.sqlite import sqlite3
from statepipe.store import liveness
from statepipe.store.file.connection import translated
from statepipe.store.file.opening import open_reader
from statepipe.store.file.stamp import Environment
from statepipe.store.lookups import groups, inspection, listing, lookup, lying, output, quarantine
from statepipe.store.lookups.groups import Summary
from statepipe.store.lookups.inspection import Inspection, find_number
from statepipe.store.lookups.listing import Filter, Kind, Listed, Resumable
from statepipe.store.lookups.lying import Held, Lying
from statepipe.store.lookups.output import Said
from statepipe.store.lookups.quarantine import Reason, Rejected
from statepipe.store.metrics import recount
from statepipe.store.metrics.recount import Difference
from statepipe.store.stage.directory import Stage, stage_directory
from statepipe.store.steering import replaying
from statepipe.store.steering.replaying import Looked

_HISTORY = """
SELECT seq, at_ms, kind, event, source, target, task, attempt, took_ms, records, bytes, rejected,
       error_class, error, note, epoch, generation, policy
  FROM journal
 WHERE instance = :n AND seq > :after_seq
 ORDER BY seq {order}
 LIMIT :limit
"""

_LOADED = """
SELECT coalesce(sum(loaded), 0)
  FROM plan
 WHERE instance = :n
   AND generation = (SELECT max(generation) FROM plan WHERE instance = :n)
"""


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


class Reader:
    """
    Looks into a store, from any number of processes, while others write to it.

    Args:
        path: The store's file.
        clock: Time; a test may own it.
        environment: Whose process this is; None to let in whoever it is.

    Attributes:
        path: The store's file.
        clock: Time.

    Raises:
        StoreUnusable: Missing, a folder, empty, foreign, newer, or damaged.
        WrongEnvironment: It belongs to another environment.
    """

    def __init__(
        self, path: Path, *, clock: Clock | None = None, environment: Environment | None = None
    ) -> None:
        self.path = path
        self.clock = clock or SystemClock()
        self._connection = open_reader(path, environment=environment)

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
        with self.moment() as connection:
            return listing.instances(
                connection, wanted or Filter(), dead=self._dead(connection), limit=limit
            )

    def group(self, group_id: str) -> Summary:
        """
        Return how a group stands.

        Raises:
            NotFound: There is no such group.
        """
        with self.moment() as connection:
            found = groups.known(connection, group_id)
            return groups.summary(connection, found, dead=self._dead(connection))

    def groups(self, *, machine: str | None = None, limit: int = 50) -> list[Summary]:
        """Return how up to `limit` groups stand, of one machine or of all, newest first."""
        with self.moment() as connection:
            dead = self._dead(connection)
            return groups.summaries(connection, machine=machine, limit=limit, dead=dead)

    def inspect(self, instance_id: str) -> Inspection:
        """
        Return everything about one instance, as of one moment.

        Raises:
            NotFound: There is no such instance.
        """
        with self.moment() as connection:
            return inspection.inspect(connection, instance_id, clock=self.clock)

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
        with self.moment() as connection:
            n = find_number(connection, instance_id)
            facts = {"n": n, "after_seq": after_seq, "limit": limit}
            return [Entry(*row) for row in connection.execute(sql, facts)]

    def facts(self, instance_id: str) -> list[Fact]:
        """
        Return the whole journal of an instance as facts, oldest first.

        Raises:
            NotFound: There is no such instance.
        """
        with self.moment() as connection:
            return lookup.facts(connection, find_number(connection, instance_id))

    def store_id(self) -> str:
        """Return the 32 hex digits that name this store."""
        with self.moment() as connection:
            row = connection.execute("SELECT store_id FROM store").fetchone()
        name: str = row[0]
        return name

    def output(
        self,
        instance_id: str,
        *,
        after: int = 0,
        state: str | None = None,
        attempt: int | None = None,
        level: str | None = None,
        limit: int = 500,
        newest: bool = False,
    ) -> list[Said]:
        """
        Return up to `limit` lines that an instance printed or logged, in their order.

        Args:
            instance_id: Whose.
            after: Only lines with a higher `n`.
            state: Only of attempts in this state.
            attempt: Only of attempts of this number.
            level: Only log records of at least this level, one of `output.LEVELS`.
            limit: At most so many lines, at least 1.
            newest: The last ones instead of the first.

        Raises:
            NotFound: There is no such instance.
        """
        wanted = output.Wanted(after, state, attempt, level)
        with self.moment() as connection:
            n = find_number(connection, instance_id)
            return output.read(connection, n, wanted, limit=limit, newest=newest)

    def status(self, instance_id: str) -> str:
        """
        Return the status of one instance.

        Raises:
            NotFound: There is no such instance.
        """
        with self.moment() as connection:
            n = find_number(connection, instance_id)
            row = connection.execute("SELECT status FROM instance WHERE n = ?", (n,)).fetchone()
        status: str = row[0]
        return status

    def resumable(self, wanted: Filter) -> list[Resumable]:
        """
        Return what a bulk resume takes: the failed and, unless only they, the stalled and ready.

        Of `wanted` the machine counts, `failed` and `since_ms`. What a live process drives,
        what is done, and what a person cancelled or paused is left out.
        """
        with self.moment() as connection:
            return listing.resumable(connection, wanted, dead=self._dead(connection))

    def resumable_counts(self, wanted: Filter) -> Counter[Kind]:
        """Return how many `resumable` there are of each kind."""
        with self.moment() as connection:
            return listing.resumable_counts(connection, wanted, dead=self._dead(connection))

    def quarantine(self, subject: str | None = None) -> list[Reason]:
        """
        Return the reasons for which records were rejected, the most frequent first.

        Args:
            subject: The id of an instance or the name of a machine; None for everything.

        Raises:
            NotFound: It is neither.
        """
        with self.moment() as connection:
            return quarantine.reasons(connection, subject)

    def rejected_again(self, origin_id: str) -> list[tuple[str, int]]:
        """Return the replays of an instance that rejected some once more, and how many."""
        with self.moment() as connection:
            return quarantine.again(connection, origin_id)

    def rejected(self, instance_id: str, *, limit: int = 20) -> list[Rejected]:
        """Return the first `limit` of what `each_rejected` yields; raises as it does."""
        return list(islice(self.each_rejected(instance_id), limit))

    def each_rejected(self, instance_id: str) -> Iterator[Rejected]:
        """
        Yield the rejected records of an instance, in the order they were met.

        Which there are is known when this returns; each batch is read when it is come to.

        Raises:
            NotFound: There is no such instance.
            StagedDataDamaged: A quarantine file is missing or not what was committed.
        """
        with self.moment() as connection:
            rows = quarantine.rows(connection, instance_id)
        return quarantine.read(rows, stage=self.stage())

    def staged(self, subject: str | None = None) -> list[Held]:
        """
        Return what lies in the stage, by stay; of an instance that is done, its raw data.

        Args:
            subject: The id of an instance or the name of a machine; None for everything.

        Raises:
            NotFound: It is neither.
        """
        with self.moment() as connection:
            return lying.held(connection, subject)

    def staged_records(self, instance_id: str, state: str) -> Iterator[Lying]:
        """
        Yield the records that `state` has staged, in the order of its batches.

        Which batches there are is known when this returns; each is read when it is come to.

        Raises:
            NotFound: There is no such instance.
            StagedDataDamaged: A staged batch is missing or not what was committed.
        """
        with self.moment() as connection:
            found = lying.references(connection, instance_id, state)
        return lying.read(found, stage=self.stage())

    def loaded_and_rejected(self, instance_id: str) -> tuple[int, int]:
        """
        Return how many records an instance has put at its destination and into quarantine.

        Raises:
            NotFound: There is no such instance.
        """
        with self.moment() as connection:
            n = find_number(connection, instance_id)
            loaded: int = connection.execute(_LOADED, {"n": n}).fetchone()[0]
            rejected = sum(row.rejects.records for row in quarantine.rows(connection, instance_id))
        return loaded, rejected

    def miscounted(self) -> list[Difference]:
        """Return every figure that is not what the journal says; reads the whole journal."""
        with self.moment() as connection:
            return recount.differences(connection)

    @contextmanager
    def moment(self) -> Generator[sqlite3.Connection]:
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

    def rejects(self, instance_id: str) -> Looked:
        """
        Return what is known of the rejects of an instance, for a replay.

        Raises:
            NotFound: There is no such instance.
        """
        with self.moment() as connection:
            return replaying.look(connection, instance_id)

    def stage(self) -> Stage:
        """Return where staged batches and rejects lie."""
        with self.moment() as connection:
            store_id = connection.execute("SELECT store_id FROM store").fetchone()[0]
        return Stage(stage_directory(self.path, store_id=store_id))

    def _dead(self, connection: sqlite3.Connection) -> frozenset[int]:
        return frozenset(
            worker.n
            for worker in liveness.workers(connection)
            if liveness.is_dead(worker, clock=self.clock)
        )
