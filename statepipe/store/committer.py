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
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import compress

from statepipe.model import Attachment, Change, Plan, Rejects, Staged, Stay
from statepipe.sqlite import sqlite3
from statepipe.store.connection import Store

# Parameters are numbered: both statements take a Change as it is. ?34, its last
# field, is in every one of them, because SQLite wants exactly as many values as
# the highest number.

# An instance that stays with its worker: no indexed column is touched.
_KEEP = """
UPDATE instance
   SET seq           = ?3 + 1,
       state         = ?5,
       attempt       = ?7,
       lost          = ?8,
       batches       = ?9,
       picture       = ?10,
       error_class   = ?17,
       error         = ?18,
       entered_at_ms = ?19,
       updated_at_ms = ?34,
       change        = ?21
 WHERE n = ?1
   AND epoch = ?2
   AND seq = ?3
"""

_RELEASE = """
UPDATE instance
   SET seq            = ?3 + 1,
       status         = ?4,
       state          = ?5,
       attempt        = ?7,
       lost           = ?8,
       batches        = ?9,
       picture        = ?10,
       worker         = ?11,
       wake_at_ms     = ?12,
       wake_delay_ms  = ?13,
       wake_boot_ms   = ?14,
       wake_boot_id   = ?15,
       failed_state   = ?16,
       error_class    = ?17,
       error          = ?18,
       entered_at_ms  = ?19,
       finished_at_ms = ?20,
       request        = NULL,
       updated_at_ms  = ?34,
       change         = ?21
 WHERE n = ?1
   AND epoch = ?2
   AND seq = ?3
"""

_JOURNAL = """
INSERT INTO journal (instance, seq, epoch, generation, at_ms, kind, event, source, target, task,
                     attempt, took_ms, policy, records, bytes, rejected, error_class, error,
                     picture, note)
VALUES (?1, ?3 + 1, ?2, ?6, ?34, ?21, ?22, ?23, ?5, ?24,
        ?25, ?26, ?27, ?28, ?29, ?30, ?17, ?18, ?31, ?32)
"""

_FENCE = "SELECT epoch, seq FROM instance WHERE n = ?"

_COUNT = """
INSERT INTO transition_count (machine, source, event, target, taken)
VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET taken = taken + excluded.taken
"""

_BATCH = """
INSERT INTO batch (instance, generation, state, visit, task, number, epoch, records, bytes, sha256,
                   format, file, body, cursor, read)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_REJECT = """
INSERT INTO reject (instance, generation, state, visit, task, number, epoch, records, bytes, sha256,
                    file, body, reasons)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_LOADED = """
UPDATE plan
   SET loaded = ?
 WHERE instance = ? AND generation = ? AND state = ? AND visit = ? AND number = ?
   AND loaded IS NULL
"""

_PLAN = """
INSERT INTO plan (instance, generation, state, visit, number, source_generation, source_state,
                  source_visit, source_task, records, sha256)
SELECT instance, :generation, :state, :visit, number, generation, state, visit, task, records,
       sha256
  FROM batch
 WHERE instance = :instance
   AND generation = :source_generation
   AND state = :source_state
   AND visit = :source_visit
"""

_POLICY = "INSERT INTO policy (digest, body) VALUES (?, ?) ON CONFLICT DO NOTHING"


class Verdict(Enum):
    """What became of one change of a group."""

    COMMITTED = "committed"
    FENCED = "fenced"  # another process has taken the instance over
    STALE = "stale"  # the row moved on since the change was decided: read it again
    REFUSED = "refused"  # the change breaks a constraint of the schema: a bug of ours


class Committer:
    """The only writer of moves. Belongs to the thread that owns the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._policies_known: set[str] = set()

    def commit(
        self,
        changes: Sequence[Change],
        attached: Mapping[int, Attachment],
        *,
        policies: Mapping[str, str],
    ) -> list[Verdict]:
        """
        Commit a group; return what became of each change, in order.

        Args:
            changes: At most one an instance.
            attached: By index in `changes`, rows that go with it.
            policies: Body (JSON) by digest, of the policies the changes name.

        Raises:
            Busy, StoreFull, StoreUnusable: None of them was applied.
            StoreInDoubt: Nobody can say; the process must end.
        """
        try:
            with self._store.write() as connection:
                self._keep_policies(connection, policies)
                _apply_all(connection, changes, attached)
                _count(connection, changes)
        except (_SomeoneFencedError, sqlite3.IntegrityError):
            return self._commit_one_by_one(changes, attached, policies=policies)
        self._policies_known.update(policies)
        return [Verdict.COMMITTED] * len(changes)

    def _commit_one_by_one(
        self,
        changes: Sequence[Change],
        attached: Mapping[int, Attachment],
        *,
        policies: Mapping[str, str],
    ) -> list[Verdict]:
        with self._store.write() as connection:
            self._keep_policies(connection, policies)
            verdicts = [
                _apply_one(connection, change, attached.get(index))
                for index, change in enumerate(changes)
            ]
            landed = [verdict is Verdict.COMMITTED for verdict in verdicts]
            _count(connection, list(compress(changes, landed)))
        self._policies_known.update(policies)
        return verdicts

    def _keep_policies(self, connection: sqlite3.Connection, policies: Mapping[str, str]) -> None:
        new = [item for item in policies.items() if item[0] not in self._policies_known]
        if new:
            connection.executemany(_POLICY, new)


class _SomeoneFencedError(Exception):
    """Fewer rows were updated than changes given; the transaction is rolled back."""


def _apply_all(
    connection: sqlite3.Connection, changes: Sequence[Change], attached: Mapping[int, Attachment]
) -> None:
    """Write the group as if nobody were fenced; _SomeoneFencedError if somebody was."""
    keeping = [change for change in changes if change.worker is not None]
    leaving = [change for change in changes if change.worker is None]
    updated = 0
    if keeping:
        updated += connection.executemany(_KEEP, keeping).rowcount
    if leaving:
        updated += connection.executemany(_RELEASE, leaving).rowcount
    if updated != len(changes):
        raise _SomeoneFencedError
    connection.executemany(_JOURNAL, changes)
    for index, attachment in attached.items():
        _attach(connection, changes[index], attachment)


def _apply_one(
    connection: sqlite3.Connection, change: Change, attachment: Attachment | None
) -> Verdict:
    """Write one member in a savepoint of its own."""
    found = connection.execute(_FENCE, (change.n,)).fetchone()
    if found is None or found[0] != change.epoch:
        return Verdict.FENCED
    if found[1] != change.seq:
        return Verdict.STALE
    connection.execute("SAVEPOINT member")
    try:
        alone = {0: attachment} if attachment else {}
        _apply_all(connection, [change], alone)
    except sqlite3.IntegrityError:
        # After FULL or IOERR the savepoint is gone with the transaction (F3), and
        # the next member would run in autocommit; those errors are not caught
        # here. A constraint leaves the transaction open: this member alone is out.
        connection.execute("ROLLBACK TO member")
        connection.execute("RELEASE member")
        return Verdict.REFUSED
    connection.execute("RELEASE member")
    return Verdict.COMMITTED


def _count(connection: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """Add the group's transitions to the counters: one row an edge, not one a transition."""
    taken = Counter(
        (change.machine, change.source, change.event, change.state)
        for change in changes
        if change.kind == "move"
    )
    count_transitions(connection, taken)


def count_transitions(
    connection: sqlite3.Connection, taken: Mapping[tuple[str, str, str, str], int]
) -> None:
    """Add to the counters by (machine, source, event, target), inside the caller's transaction."""
    if taken:
        connection.executemany(_COUNT, [(*edge, times) for edge, times in taken.items()])


def _attach(connection: sqlite3.Connection, change: Change, attachment: Attachment) -> None:
    stay, task = attachment.stay, attachment.task
    if attachment.staged:
        _insert_staged(connection, change, stay, task, attachment.staged)
    if attachment.loaded:
        loaded = attachment.loaded
        connection.execute(_LOADED, (loaded.records, change.n, *stay, loaded.number))
        if loaded.rejects:
            whose = (change.n, *stay, task, loaded.number, change.epoch)
            _insert_rejects(connection, whose, loaded.rejects)
    if attachment.plan:
        _insert_plan(connection, change, attachment.plan)


def _insert_staged(
    connection: sqlite3.Connection, change: Change, stay: Stay, task: str, staged: Staged
) -> None:
    number, records, size, sha256, format_, file, body, cursor, read, rejects = staged
    facts = (change.n, *stay, task, number, change.epoch, records, size, sha256, format_, file)
    connection.execute(_BATCH, (*facts, body, cursor, read))
    if rejects:
        _insert_rejects(connection, (change.n, *stay, task, number, change.epoch), rejects)


def _insert_rejects(
    connection: sqlite3.Connection, whose: tuple[object, ...], rejects: Rejects
) -> None:
    records, size, sha256, file, body, reasons = rejects
    facts = (*whose, records, size, sha256, file, body, json.dumps(dict(reasons)))
    connection.execute(_REJECT, facts)


def _insert_plan(connection: sqlite3.Connection, change: Change, plan: Plan) -> None:
    generation, state, visit = plan.stay
    source_generation, source_state, source_visit = plan.source
    connection.execute(
        _PLAN,
        {
            "instance": change.n,
            "generation": generation,
            "state": state,
            "visit": visit,
            "source_generation": source_generation,
            "source_state": source_state,
            "source_visit": source_visit,
        },
    )
