"""
Jobs that are done elsewhere: submitted once, polled until they are over, stopped if need be.

    Job         what is known of one
    live        the one that an instance has in a stay; newest, its last one wherever it is
    submitted   how many it has submitted there
    encoded     a handle as the store keeps it
    keep        what a change says of it, in the transaction of the change
    take_lost   one that nobody waits for any more, for a process that can stop it
    stopped     it was, or could not be

Nobody waits for a job whose instance was cancelled, was put back, or gave up for its time:
wherever that was decided, the rows say so without anybody's help. It stays until a process
that has the machine's functions has called its `cancel`.
"""

import json
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from statepipe.errors import BadParameter
from statepipe.jobfacts import JobFact
from statepipe.model import Change, Stay
from statepipe.sqlite import sqlite3
from statepipe.store import liveness
from statepipe.store.codec import encode
from statepipe.store.file.connection import Store
from statepipe.store.walk.claims import dead_workers

#: Of one handle, encoded.
BYTES_MAX: Final = 65_536
NOTE_CHARS_MAX: Final = 1_000

_COLUMNS = """
SELECT j.n, j.instance, j.generation, j.state, j.visit, j.number, j.handle,
       j.can_stop, j.submitted_at_ms, j.boot_ms, j.boot_id, j.polls, j.polled_at_ms,
       j.stopping, j.worker, j.over_at_ms, j.note
  FROM job j
"""
_STAY = "instance = :n AND generation = :generation AND state = :state AND visit = :visit"

_LIVE = f"{_COLUMNS} WHERE {_STAY} AND over_at_ms IS NULL AND stopping = 0"
_NEWEST = f"{_COLUMNS} WHERE j.instance = :n ORDER BY j.n DESC LIMIT 1"
_COUNT = f"SELECT count(*) FROM job WHERE {_STAY}"  # noqa: S608  (our own text)

_SUBMIT = f"""
INSERT INTO job (instance, generation, state, visit, number, handle, can_stop, submitted_at_ms,
                 boot_ms, boot_id)
VALUES (:n, :generation, :state, :visit, ({_COUNT}), :handle, :can_stop, :at_ms, :boot_ms, :boot_id)
"""  # noqa: S608  (made of constants)

_POLLED = f"""
UPDATE job
   SET polls        = polls + 1,
       polled_at_ms = :at_ms,
       stopping     = :stopping,
       over_at_ms   = iif(:over, :at_ms, NULL)
 WHERE {_STAY} AND over_at_ms IS NULL AND stopping = 0
"""  # noqa: S608  (made of constants)

#: Of a job `j` of instance `i`: nobody waits for it, and it is yet to be stopped. The instance has
#: left the stay; one that failed there may come back, and goes on with the job.
LOST: Final = """
       j.over_at_ms IS NULL AND j.can_stop = 1
   AND (j.stopping = 1
        OR i.generation <> j.generation
        OR i.state <> j.state AND (i.status <> 'failed' OR i.failed_state IS NOT j.state))
"""

_NEXT_LOST = f"""{_COLUMNS}
  JOIN instance i ON i.n = j.instance
 WHERE {LOST}
   AND i.definition IN (SELECT value FROM json_each(:definitions))
   AND (j.worker IS NULL OR j.worker NOT IN (SELECT value FROM json_each(:living)))
 ORDER BY j.n
 LIMIT 1
"""  # noqa: S608  (made of constants)

_TAKE = "UPDATE job SET worker = ?, stopping = 1 WHERE n = ?"
# Its number may be another job's by now, if its instance was pruned meanwhile.
_STOPPED = """
UPDATE job SET over_at_ms = ?, note = ? WHERE n = ? AND instance = ? AND over_at_ms IS NULL
"""


class Job(NamedTuple):
    """
    One job, as last committed.

    Attributes:
        n: Number of its row.
        instance: Number of the instance's row.
        generation: Of the stay that submitted it; so are `state` and `visit`.
        state: The state.
        visit: The visit to it, from 1.
        number: How many the stay had submitted before.
        handle: What `submit` returned, encoded.
        can_stop: 1 if its machine said how to stop it.
        submitted_at_ms: When it was submitted.
        boot_ms: The same by the boot clock.
        boot_id: Of that boot.
        polls: How many polls have said how it stands.
        polled_at_ms: When the last did; None if none has.
        stopping: 1 if nobody waits for it any more, and it is to be stopped.
        worker: Number of the process that stops it, or did.
        over_at_ms: When it was found to be over, or was stopped; None if neither.
        note: What came of stopping it, if that went wrong.
    """

    n: int
    instance: int
    generation: int
    state: str
    visit: int
    number: int
    handle: bytes
    can_stop: int
    submitted_at_ms: int
    boot_ms: int
    boot_id: str
    polls: int
    polled_at_ms: int | None
    stopping: int
    worker: int | None
    over_at_ms: int | None
    note: str | None

    def age_ms(self, *, now_ms: int, boot_ms: int, boot_id: str) -> int:
        """Return how long ago it was submitted: by the boot clock, if it was on this boot."""
        return boot_ms - self.boot_ms if boot_id == self.boot_id else now_ms - self.submitted_at_ms


def live(connection: sqlite3.Connection, n: int, stay: Stay) -> Job | None:
    """Return the job that instance number `n` waits for in `stay`; None if it has none yet."""
    row = connection.execute(_LIVE, _of(n, stay)).fetchone()
    return None if row is None else Job(*row)


def newest(connection: sqlite3.Connection, n: int) -> Job | None:
    """Return the last job that instance number `n` submitted, whatever became of it."""
    row = connection.execute(_NEWEST, {"n": n}).fetchone()
    return None if row is None else Job(*row)


def submitted(connection: sqlite3.Connection, n: int, stay: Stay) -> int:
    """Return how many jobs instance number `n` has submitted in `stay`."""
    count: int = connection.execute(_COUNT, _of(n, stay)).fetchone()[0]
    return count


def encoded(handle: object) -> bytes:
    """
    Return a handle as the store keeps it.

    Raises:
        ValueRefused: It is no plain data.
        BadParameter: It is too large.
    """
    data = encode(handle)
    if len(data) > BYTES_MAX:
        raise BadParameter(
            f"the handle of the job takes {len(data):,} bytes, more than {BYTES_MAX:,}",
            meaning="it is not kept; the job goes on elsewhere, and nobody knows its name",
            next_step="return what is needed to find it again: an id, an address",
        )
    return data


def keep(connection: sqlite3.Connection, change: Change, stay: Stay, fact: JobFact) -> None:
    """Write down what a change says of a job, inside the caller's transaction."""
    facts = {**_of(change.n, stay), **fact._asdict(), "at_ms": change.at_ms}
    connection.execute(_POLLED if fact.handle is None else _SUBMIT, facts)


def take_lost(store: Store, worker: int, definitions: Collection[int]) -> Job | None:
    """
    Take one job that nobody waits for; None if there is none.

    One that was taken is left alone while its process lives; whoever comes after its death takes
    it once more.
    """
    dead = dead_workers(store, me=None)

    def lost(connection: sqlite3.Connection) -> Any:  # noqa: ANN401  (a row)
        living = sorted(liveness.living(connection, dead=dead))
        facts = {"definitions": json.dumps([*definitions]), "living": json.dumps(living)}
        return connection.execute(_NEXT_LOST, facts).fetchone()

    if lost(store.connection) is None:
        return None
    with store.write() as connection:
        row = lost(connection)
        if row is None:
            return None
        job = Job(*row)
        connection.execute(_TAKE, (worker, job.n))
    return job


def stopped(store: Store, job: Job, *, note: str | None) -> None:
    """Note that a job was stopped, or in `note` why nobody knows whether it was."""
    with store.write() as connection:
        said = note and note[:NOTE_CHARS_MAX]
        connection.execute(_STOPPED, (store.clock.now_ms(), said, job.n, job.instance))


def _of(n: int, stay: Stay) -> dict[str, Any]:
    return {"n": n, **stay._asdict()}
