"""
Why an instance is where it is: the stored facts that tell, as of one moment.

    evidence        reads them; `gathered` does, of a connection
    Evidence        the instance, its journal without the batches, and who could drive it
    Excerpt, Row    some of that journal, and one row of it
    Driver          one process that drives instances, or did
    Newest          the machine as it was last used with this store
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from statepipe.clock import Clock
from statepipe.model import Status
from statepipe.sqlite import sqlite3
from statepipe.store import liveness
from statepipe.store.liveness import Death
from statepipe.store.lookups import inspection
from statepipe.store.lookups.inspection import Inspection
from statepipe.store.questions.outdated import outdated
from statepipe.store.questions.roster import serves_of
from statepipe.store.questions.turns import Turn, turn_of
from statepipe.store.questions.usage import User, usage
from statepipe.store.reading import Reader

#: Rows of the journal that are read, the newest; who wants all of them asks for the history.
ROWS_MAX: Final = 500

#: How many failed instances are looked at, the newest, for others that failed alike.
ALIKE_MAX: Final = 1_000

# seq has no gaps, so what lies between two rows that are no batches are batches.
_ROWS = """
SELECT *, count(*) OVER () AS matching
  FROM (SELECT seq, at_ms, kind, event, source, target, attempt, took_ms, records, rejected,
               error_class, error, note, generation, policy, stayed_ms,
               seq - lag(seq, 1, 0) OVER (ORDER BY seq) - 1 AS batches
          FROM journal
         WHERE instance = :n AND kind <> 'batch')
 WHERE :state IS NULL OR source = :state OR target = :state
 ORDER BY seq DESC
 LIMIT :limit
"""

_COUNTS = """
SELECT iif(kind = 'claim' OR kind = 'interrupt' AND event = 'wait', event, kind), count(*)
  FROM journal
 WHERE instance = ? AND kind <> 'batch'
 GROUP BY 1
"""

_POLICY = "SELECT body FROM policy WHERE digest = ?"

_NEWEST = """
SELECT version, digest, body, created_at_ms
  FROM definition
 WHERE machine = ?
 ORDER BY n DESC
 LIMIT 1
"""

_HELD = """
SELECT worker, count(*)
  FROM instance
 WHERE worker IS NOT NULL
 GROUP BY worker
"""

# The condition of the partial index stands there word for word, as in `listing.py`.
_ALIKE = """
SELECT count(*)
  FROM (SELECT definition, failed_state, error_class, n
          FROM instance INDEXED BY instance_unfinished_business
         WHERE status = 'failed' AND status IN ('failed', 'cancelled', 'paused')
         ORDER BY n DESC
         LIMIT :limit) i
  JOIN definition d ON d.n = i.definition
 WHERE d.machine = :machine AND i.n <> :n
   AND i.failed_state = :failed_state AND i.error_class = :error_class
"""


class Row(NamedTuple):
    """One row of the journal that is no batch; `batches` lie between it and the one before."""

    seq: int
    at_ms: int
    kind: str
    event: str
    source: str
    target: str
    attempt: int | None
    took_ms: int | None
    records: int | None
    rejected: int | None
    error_class: str | None
    error: str | None
    note: str | None
    generation: int
    policy: str | None  # digest of what governed the attempt
    stayed_ms: int | None  # of a move: how long it was in the state it left
    batches: int

    @property
    def ends_attempt(self) -> bool:
        """True if an attempt had begun; the deadline ends what was about to begin as well."""
        is_late = self.took_ms is None and self.error_class == "DeadlineExceeded"
        return self.attempt is not None and not is_late


class Excerpt(NamedTuple):
    """Rows of a journal without its batches, oldest first; the newest `ROWS_MAX` of them."""

    rows: tuple[Row, ...]
    left_out: int  # how many there are that are older


class Driver(NamedTuple):
    """A process that drives instances; `death` is None while it lives."""

    name: str
    host: str
    pid: int
    death: Death | None
    drives: int  # instances it holds
    slots: int  # and at most; 0 if it does not say
    queues: tuple[str, ...] | None = None  # whose instances it drives; None: what it was given
    machines: tuple[str, ...] | None = None  # and of which machines; likewise
    outdated: tuple[str, ...] = ()  # those of them that it drives as they were before they changed


class Newest(NamedTuple):
    """The definition of a machine that came to the store last; `form` as in `Inspection`."""

    version: int
    digest: str
    form: Mapping[str, Any]
    since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """
    What the store knows about why an instance is where it is.

    Attributes:
        found: The instance.
        journal: What happened to it.
        there: What of that comes from, or leads to, the state that was asked for; None if
            none was.
        counts: How many rows there are, by kind; of claims, by event.
        policies: What governed the attempts that are told, by digest.
        drivers: Every process that the store knows of.
        newest: The machine's last definition here.
        alike: How many others failed in the same state with the same error, among the
            newest `ALIKE_MAX` that failed.
        users: How each resource is used now.
        turn: What decides when it is claimed.
    """

    found: Inspection
    journal: Excerpt
    there: Excerpt | None
    counts: Mapping[str, int]
    policies: Mapping[str, Mapping[str, Any]]
    drivers: tuple[Driver, ...]
    newest: Newest
    alike: int
    users: tuple[User, ...]
    turn: Turn


def evidence(reader: Reader, instance_id: str, *, state: str | None = None) -> Evidence:
    """
    Return what tells why an instance is where it is, or what became of one of its states.

    Raises:
        NotFound: There is no such instance.
    """
    with reader.moment() as connection:
        return gathered(connection, instance_id, state=state, clock=reader.clock)


def gathered(
    connection: sqlite3.Connection, instance_id: str, *, state: str | None, clock: Clock
) -> Evidence:
    """Return what `evidence` does, of a connection on which nothing changes meanwhile."""
    found = inspection.inspect(connection, instance_id, clock=clock)
    journal = _excerpt(connection, found.n)
    there = None if state is None else _excerpt(connection, found.n, state=state)
    told = journal.rows + (there.rows if there else ())
    return Evidence(
        found=found,
        journal=journal,
        there=there,
        counts=dict(connection.execute(_COUNTS, (found.n,)).fetchall()),
        policies=_policies(connection, told),
        drivers=_drivers(connection, clock=clock),
        newest=_newest(connection, found.machine),
        alike=_alike(connection, found),
        users=usage(connection, clock=clock),
        turn=turn_of(connection, found.n),
    )


def _excerpt(connection: sqlite3.Connection, n: int, *, state: str | None = None) -> Excerpt:
    facts = {"n": n, "state": state, "limit": ROWS_MAX}
    newest_first = connection.execute(_ROWS, facts).fetchall()
    rows = tuple(Row(*row[:-1]) for row in reversed(newest_first))
    return Excerpt(rows, newest_first[0][-1] - len(rows) if rows else 0)


def _policies(
    connection: sqlite3.Connection, rows: tuple[Row, ...]
) -> dict[str, Mapping[str, Any]]:
    digests = {row.policy for row in rows if row.policy is not None}
    bodies = {
        digest: connection.execute(_POLICY, (digest,)).fetchone()[0] for digest in sorted(digests)
    }
    return {digest: json.loads(body) for digest, body in bodies.items()}


def _drivers(connection: sqlite3.Connection, *, clock: Clock) -> tuple[Driver, ...]:
    held: dict[int, int] = dict(connection.execute(_HELD).fetchall())
    return tuple(
        Driver(
            worker.name,
            worker.host,
            worker.pid,
            liveness.death(worker, clock=clock),
            held.get(worker.n, 0),
            worker.slots,
            serves_of(worker)[1],
            serves_of(worker)[0],
            outdated(connection, worker),
        )
        for worker in liveness.workers(connection)
    )


def _newest(connection: sqlite3.Connection, machine: str) -> Newest:
    version, digest, body, since_ms = connection.execute(_NEWEST, (machine,)).fetchone()
    return Newest(version, digest, json.loads(body), since_ms)


def _alike(connection: sqlite3.Connection, found: Inspection) -> int:
    if found.status != Status.FAILED or found.failure is None:
        return 0
    facts = {
        "n": found.n,
        "machine": found.machine,
        "failed_state": found.failed_state,
        "error_class": found.failure.error_class,
        "limit": ALIKE_MAX,
    }
    alike: int = connection.execute(_ALIKE, facts).fetchone()[0]
    return alike
