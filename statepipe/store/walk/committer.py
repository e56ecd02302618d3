"""
The group commit: everything that became ready, as one transaction with one fsync.

    Committer.commit(changes)   returns one verdict a change, or raises for the whole group

Each change names the epoch and seq it was decided at, in the WHERE clause of the
statement that writes it: that is the fence. A group is first tried as two
`executemany` calls; if SQLite counts fewer rows than changes, somebody was
fenced, the whole transaction is rolled back, and the group is done again member
by member in savepoints, so that the cost of a savepoint is paid only then
(docs/decisions/0004). Either way no change lands without its journal row.
"""

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import compress
from typing import Protocol

from statepipe.model import Attachment, Change, Detail, Rejects, Staged, Status, Stay
from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.metrics.counters import Counters
from statepipe.store.stage.rows import give_back, insert_plan
from statepipe.store.walk import datasets, emissions, families, jobs, notices, shapes
from statepipe.store.walk.refusals import REFUSALS, raise_if_of_all

# A plain move, in 8 values: ?1 n, ?2 epoch, ?3 seq, ?4 state, ?5 at_ms, ?6 event,
# ?7 took_ms, ?8 policy. The journal takes the rest from the row, before it is updated.
# ?8 is in each statement, because SQLite wants as many values as the highest number.
_JOURNAL_PLAIN = """
INSERT INTO journal (instance, seq, epoch, generation, at_ms, kind, event, source, target, task,
                     attempt, took_ms, policy, stayed_ms, ended)
SELECT n, seq + 1, epoch, generation, ?5, 'move', ?6, state, ?4, state, attempt + 1, ?7, ?8,
       max(0, ?5 - entered_at_ms), {ended}
  FROM instance
 WHERE n = ?1 AND epoch = ?2 AND seq = ?3
"""
_JOURNAL_MOVE = _JOURNAL_PLAIN.format(ended="NULL")
_JOURNAL_FINISH = _JOURNAL_PLAIN.format(ended="'done'")

# An instance that stays with its worker: no indexed column is touched.
_MOVE = """
UPDATE instance
   SET seq           = ?3 + 1,
       state         = ?4,
       attempt       = 0,
       lost          = 0,
       batches       = 0,
       error_class   = NULL,
       error         = NULL,
       entered_at_ms = ?5,
       updated_at_ms = ?5,
       change        = 'move'
 WHERE n = ?1 AND epoch = ?2 AND seq = ?3 AND ?8 IS ?8
"""

_FINISH = """
UPDATE instance
   SET seq            = ?3 + 1,
       state          = ?4,
       status         = 'done',
       worker         = NULL,
       attempt        = 0,
       lost           = 0,
       batches        = 0,
       error_class    = NULL,
       error          = NULL,
       request        = NULL,
       entered_at_ms  = ?5,
       updated_at_ms  = ?5,
       finished_at_ms = ?5,
       change         = 'move'
 WHERE n = ?1 AND epoch = ?2 AND seq = ?3 AND ?8 IS ?8
"""

# Everything else, in all its detail.
_JOURNAL = """
INSERT INTO journal (instance, seq, epoch, generation, at_ms, kind, event, source, target, task,
                     attempt, took_ms, policy, records, bytes, rejected, error_class, error,
                     picture, note, stayed_ms, ended, error_kind, read, waited_ms)
SELECT n, seq + 1, epoch, generation, :at_ms, :kind, :event, state, :state, :task, :tried, :took_ms,
       :policy, :records, :bytes, :rejected, :error_class, :error, :learned, :note,
       CASE :kind WHEN 'move' THEN max(0, :at_ms - entered_at_ms) END,
       CASE WHEN :status IN ('done', 'failed', 'cancelled') THEN :status END, :error_kind, :read,
       :waited_ms
  FROM instance
 WHERE n = :n AND epoch = :epoch AND seq = :seq
"""

_KEEP = """
UPDATE instance
   SET seq           = :seq + 1,
       state         = :state,
       attempt       = :attempt,
       lost          = :lost,
       batches       = :batches,
       picture       = :picture,
       error_class   = :error_class,
       error         = :error,
       entered_at_ms = :entered_at_ms,
       updated_at_ms = :at_ms,
       change        = :kind
 WHERE n = :n AND epoch = :epoch AND seq = :seq
"""

# An attempt that failed while a cancel was pending is told by the journal alone: no failure is what
# the instance ends by, or its `on_cancel` begins with.
_RELEASE = """
UPDATE instance
   SET seq            = :seq + 1,
       status         = :status,
       state          = :state,
       attempt        = :attempt,
       lost           = :lost,
       batches        = :batches,
       picture        = :picture,
       worker         = NULL,
       wake_at_ms     = :wake_at_ms,
       wake_delay_ms  = :wake_delay_ms,
       wake_boot_ms   = :wake_boot_ms,
       wake_boot_id   = :wake_boot_id,
       failed_state   = :failed_state,
       error_class    = CASE :kind WHEN 'cancel' THEN NULL ELSE :error_class END,
       error          = CASE :kind WHEN 'cancel' THEN NULL ELSE :error END,
       request        = NULL,
       entered_at_ms  = :entered_at_ms,
       updated_at_ms  = :at_ms,
       finished_at_ms = :finished_at_ms,
       change         = :kind
 WHERE n = :n AND epoch = :epoch AND seq = :seq
"""

_FENCE = "SELECT epoch, seq FROM instance WHERE n = ?"

_BATCH = """
INSERT INTO batch (instance, generation, state, visit, task, number, epoch, records, bytes, sha256,
                   format, file, body, cursor, read)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_REJECT = """
INSERT INTO reject (instance, generation, state, visit, task, number, epoch, records, bytes, sha256,
                    file, body, reasons, arrow_schema)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_LOADED = """
UPDATE plan
   SET loaded = ?
 WHERE instance = ? AND generation = ? AND state = ? AND visit = ? AND number = ?
   AND loaded IS NULL
"""


_POLICY = "INSERT INTO policy (digest, body) VALUES (?, ?) ON CONFLICT DO NOTHING"

#: How many of a change's fields the plain statements take.
_BOUND = 8


class Besides(Protocol):
    """Rows of other tables that go with a group: what attempts said, what they gave back."""

    def write(self, connection: sqlite3.Connection) -> None:
        """Write them, inside the group's transaction."""


class Verdict(Enum):
    """What became of one change of a group."""

    COMMITTED = "committed"
    FENCED = "fenced"  # another process has taken the instance over
    STALE = "stale"  # the row moved on since the change was decided: read it again
    REFUSED = "refused"  # the store does not take this one: `Committer.refusals` has the reason


class Committer:
    """
    The only writer of moves. Belongs to the thread that owns the store.

    Attributes:
        refusals: What refused a change of the last group, by its index.
    """

    def __init__(self, store: Store) -> None:
        self.refusals: dict[int, Exception] = {}
        self._store = store
        self._policies_known: set[str] = set()

    def commit(
        self,
        changes: Sequence[Change],
        attached: Mapping[int, Attachment],
        *,
        policies: Mapping[str, str],
        besides: Sequence[Besides] = (),
    ) -> list[Verdict]:
        """
        Commit a group; return what became of each change, in order.

        Args:
            changes: At most one an instance.
            attached: By index in `changes`, rows that go with it.
            policies: Body (JSON) by digest, of the policies the changes name.
            besides: What else is to be written; it needs no change, and may be written twice if
                the first time was undone.

        Raises:
            Busy, StoreFull, StoreUnusable: None of them was applied.
            StoreInDoubt: Nobody can say; the process must end.
        """
        self.refusals.clear()
        try:
            with self._store.write() as connection:
                self._keep_policies(connection, policies)
                try:
                    _apply_all(connection, changes, attached)
                except REFUSALS as error:
                    raise_if_of_all(error, connection)
                    raise _SomeoneFencedError from error
                if changes:
                    self._count(connection, changes)
                for each in besides:
                    each.write(connection)
        except (_SomeoneFencedError, sqlite3.IntegrityError):
            return self._commit_one_by_one(changes, attached, policies=policies, besides=besides)
        self._policies_known.update(policies)
        return [Verdict.COMMITTED] * len(changes)

    def _commit_one_by_one(
        self,
        changes: Sequence[Change],
        attached: Mapping[int, Attachment],
        *,
        policies: Mapping[str, str],
        besides: Sequence[Besides],
    ) -> list[Verdict]:
        with self._store.write() as connection:
            self._keep_policies(connection, policies)
            verdicts = []
            for index, change in enumerate(changes):
                verdict, refusal = _apply_one(connection, change, attached.get(index))
                verdicts.append(verdict)
                if refusal is not None:
                    self.refusals[index] = refusal
            landed = [verdict is Verdict.COMMITTED for verdict in verdicts]
            fenced = [verdict is Verdict.FENCED for verdict in verdicts]
            self._count(
                connection,
                list(compress(changes, landed)),
                fenced=[change.machine for change in compress(changes, fenced)],
            )
            for each in besides:
                each.write(connection)
        self._policies_known.update(policies)
        return verdicts

    def _keep_policies(self, connection: sqlite3.Connection, policies: Mapping[str, str]) -> None:
        new = [item for item in policies.items() if item[0] not in self._policies_known]
        if new:
            connection.executemany(_POLICY, new)

    def _count(
        self, connection: sqlite3.Connection, changes: Sequence[Change], fenced: Sequence[str] = ()
    ) -> None:
        """Add the group to the figures: one row for all alike, not one each."""
        counters = Counters()
        counters.changes(changes)
        for machine in fenced:
            counters.count("fenced", machine)
        self._store.timings.hand_over(counters)
        counters.write(connection)


class _SomeoneFencedError(Exception):
    """A change was decided on what is no longer so; the transaction is rolled back."""


def _apply_all(
    connection: sqlite3.Connection, changes: Sequence[Change], attached: Mapping[int, Attachment]
) -> None:
    """Write the group as if nobody were fenced; _SomeoneFencedError if somebody was."""
    moves: list[tuple[object, ...]] = []
    finishes: list[tuple[object, ...]] = []
    updated = 0
    for change in changes:
        if change.detail is not None:
            updated += _apply_detailed(connection, change, change.detail)
        elif change.status == Status.READY:
            moves.append(change[:_BOUND])
        else:
            assert change.status == Status.DONE, "every other end has its detail"
            finishes.append(change[:_BOUND])
    for journal, update, plain in (
        (_JOURNAL_MOVE, _MOVE, moves),
        (_JOURNAL_FINISH, _FINISH, finishes),
    ):
        if plain:
            connection.executemany(journal, plain)
            updated += connection.executemany(update, plain).rowcount
    if updated != len(changes):
        raise _SomeoneFencedError
    for index, attachment in attached.items():
        _attach(connection, changes[index], attachment)


def _apply_detailed(connection: sqlite3.Connection, change: Change, detail: Detail) -> int:
    """Write one change that is no plain move; return how many rows were updated: 0 or 1."""
    facts = {**change._asdict(), **detail._asdict()}
    del facts["detail"]
    connection.execute(_JOURNAL, facts)
    keeps = detail.worker is not None
    updated: int = connection.execute(_KEEP if keeps else _RELEASE, facts).rowcount
    if detail.drifts:
        shapes.insert_drifts(connection, change, detail.drifts)
    return updated


def _apply_one(
    connection: sqlite3.Connection, change: Change, attachment: Attachment | None
) -> tuple[Verdict, Exception | None]:
    """Write one member in a savepoint of its own; return also what refused it, if so."""
    found = connection.execute(_FENCE, (change.n,)).fetchone()
    if found is None or found[0] != change.epoch:
        return Verdict.FENCED, None
    if found[1] != change.seq:
        return Verdict.STALE, None
    connection.execute("SAVEPOINT member")
    try:
        alone = {0: attachment} if attachment else {}
        _apply_all(connection, [change], alone)
    except (*REFUSALS, _SomeoneFencedError) as error:
        # After FULL or IOERR the savepoint is gone with the transaction (F3), and
        # the next member would run in autocommit; those errors are not taken for one
        # of a member. What is leaves the transaction open: this member alone is out.
        raise_if_of_all(error, connection)
        connection.execute("ROLLBACK TO member")
        connection.execute("RELEASE member")
        if isinstance(error, _SomeoneFencedError):
            return Verdict.STALE, None
        return Verdict.REFUSED, error
    connection.execute("RELEASE member")
    return Verdict.COMMITTED, None


def _attach(connection: sqlite3.Connection, change: Change, attachment: Attachment) -> None:
    stay, task = attachment.stay, attachment.task
    family = attachment.family  # first: what it takes may be what is planned
    if family and not families.apply(connection, change, family):
        raise _SomeoneFencedError  # the key of a child was taken since it was to begin
    if attachment.staged:
        _insert_staged(connection, change, stay, task, attachment.staged)
    if attachment.loaded:
        loaded = attachment.loaded
        connection.execute(_LOADED, (loaded.records, change.n, *stay, loaded.number))
        if loaded.rejects:
            whose = (change.n, *stay, task, loaded.number, change.epoch)
            _insert_rejects(connection, whose, loaded.rejects)
    if attachment.plan:
        insert_plan(connection, change.n, attachment.plan)
    if attachment.releases:
        give_back(connection, change.n, keeps=attachment.keeps)
    if attachment.reached or attachment.delivers:
        datasets.record(connection, change, attachment)
    if attachment.notices:
        notices.insert(connection, attachment.notices)
    if not _keep_rest(connection, change, attachment):
        raise _SomeoneFencedError  # it was emitted since the rest was decided


def _keep_rest(connection: sqlite3.Connection, change: Change, attachment: Attachment) -> bool:
    """Write down what it rests for, or did: a job, events; False if it must not rest."""
    if attachment.job:
        jobs.keep(connection, change, attachment.stay, attachment.job)
    return emissions.keep_wait(connection, change, attachment)


def _insert_staged(
    connection: sqlite3.Connection, change: Change, stay: Stay, task: str, staged: Staged
) -> None:
    number, records, size, sha256, format_, file, body, cursor, read, rejects, seen = staged
    facts = (change.n, *stay, task, number, change.epoch, records, size, sha256, format_, file)
    connection.execute(_BATCH, (*facts, body, cursor, read))
    if rejects:
        _insert_rejects(connection, (change.n, *stay, task, number, change.epoch), rejects)
    if seen:
        shapes.accept(connection, change.machine, stay.state, seen, at_ms=change.at_ms)


def _insert_rejects(
    connection: sqlite3.Connection, whose: tuple[object, ...], rejects: Rejects
) -> None:
    *facts, reasons, schema = rejects
    connection.execute(_REJECT, (*whose, *facts, json.dumps(dict(reasons)), schema))
