"""
Making instances that replay rejected records.

    look        what is known of an instance's rejects, at one moment
    create      make instances that replay some, and mark their records, in one transaction

The mark is what keeps a record from being replayed twice: two commands that want the same
one are put in order by their transactions, and the second is refused. The records lie in the
rows of batches, whatever their size, so there is no file that a crash could leave behind.
"""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from statepipe.errors import Refused
from statepipe.model import Plan, Staged, Stay
from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.lookups import lookup, quarantine
from statepipe.store.lookups.lookup import Found
from statepipe.store.lookups.quarantine import Row
from statepipe.store.metrics.counters import Counters
from statepipe.store.stage.rows import insert_plan
from statepipe.store.walk.admission import admit_of, judged
from statepipe.store.walk.asking import make_way
from statepipe.store.walk.claims import load_checkpoint, not_found
from statepipe.store.walk.making import New, free_id, insert
from statepipe.store.walk.replays import replaceable
from statepipe.terms import ANY, Terms

#: The stay that the records of a replay come from; no state can have its name.
INPUT = Stay(1, "(quarantine)", 1)

_ORIGIN = "SELECT n, generation FROM instance WHERE id = ?"

_MARKED = "SELECT id, entries FROM replayed WHERE reject = ?"

_BATCH = """
INSERT INTO batch (instance, generation, state, visit, task, number, epoch, records, bytes, sha256,
                   format, file, body, cursor, read)
VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)
"""


class Mark(NamedTuple):
    """Records of one reject: their places in it, and how many of them by reason."""

    reject: int
    entries: Sequence[int]
    reasons: Mapping[str, int]


class NewReplay(NamedTuple):
    """What `create` needs of one instance."""

    state: str  # that its records enter
    loads: bool  # and that loads them
    picture: bytes | None
    batches: Sequence[Staged]
    marks: Sequence[Mark]

    @property
    def records(self) -> int:
        """How many it replays."""
        return sum(batch.records for batch in self.batches)


class Origin(NamedTuple):
    """Whose rejects they are, and in which generation they were looked at."""

    id: str
    n: int
    generation: int


class Looked(NamedTuple):
    """What is known of an instance's rejects; `free` are replays that may be replaced."""

    found: Found
    generation: int
    params: bytes
    rows: list[Row]
    steps: list[tuple[int, int, str, str, str, bytes | None]]
    free: frozenset[str]

    @property
    def origin(self) -> Origin:
        """The instance, as it was when it was looked at."""
        return Origin(self.found.id, self.found.n, self.generation)


class Created(NamedTuple):
    """An instance that was made: its number and its id."""

    n: int
    id: str


def look(connection: sqlite3.Connection, instance_id: str) -> Looked:
    """
    Return what is known of an instance's rejects; the caller holds one transaction around it.

    Raises:
        NotFound: There is no such instance.
    """
    found = lookup.find_instance(connection, instance_id)
    checkpoint = load_checkpoint(connection, found.n)
    return Looked(
        found=found,
        generation=checkpoint.generation,
        params=checkpoint.params,
        rows=quarantine.rows(connection, instance_id),
        steps=lookup.steps_of(connection, found.n),
        free=replaceable(connection, instance_id),
    )


def create(  # noqa: PLR0913  (what was worked out of it before)
    store: Store,
    origin: Origin,
    replays: Sequence[NewReplay],
    *,
    machine: str,
    definition: int,
    params: bytes,
    reason: str,
    key: str | None = None,
    terms: Terms = ANY,
) -> list[Created]:
    """
    Make instances that replay records of `origin`, all of them or none.

    They have the key of their parameters, and are admitted like what is made anew.

    Raises:
        NotFound: The origin is gone.
        Refused: It was rewound, or one of the records was replayed meanwhile; or the key is taken,
            and they are not to be made then.
        Busy: As many of the machine are ready as may be.
    """
    made = []
    dead = judged(store, terms)
    with store.write() as connection:
        _refuse_moved(connection, origin)
        cancels = admit_of(
            connection,
            machine,
            [key] * len(replays),
            terms,
            origin=(origin.n, origin.id),
            meaning="nothing was changed; the records stay in quarantine",
        )
        retired = _refuse_marked(connection, origin, replays)
        counters = Counters()
        for new in replays:
            id_ = _free_id(connection, origin.id)
            n = insert(
                connection,
                New(
                    id=id_,
                    definition=definition,
                    params=params,
                    state=new.state,
                    now_ms=store.clock.now_ms(),
                    event="replay",
                    note=f"of {origin.id}: {reason}",
                    picture=new.picture,
                    records=new.records,
                    key=key,
                ),
            )
            _insert(connection, n, id_, origin, new)
            counters.transition(machine, "", "replay", new.state)
            counters.count("records", machine, new.state, "replayed", by=new.records)
            made.append(Created(n, id_))
        connection.executemany(
            "UPDATE replay SET replaced_by = ?"
            " WHERE instance = (SELECT n FROM instance WHERE id = ?)",
            [(made[0].id, old) for old in sorted(retired)],
        )
        counters.write(connection)
        make_way(connection, cancels, by=made[0].id, dead=dead, at_ms=store.clock.now_ms())
    return made


def _refuse_moved(connection: sqlite3.Connection, origin: Origin) -> None:
    row = connection.execute(_ORIGIN, (origin.id,)).fetchone()
    if row is None:
        raise not_found(connection, origin.id)
    if row != (origin.n, origin.generation):
        raise Refused(
            f"instance {origin.id!r} was rewound while the replay was prepared",
            meaning="nothing was changed; it may reject these records again",
            next_step=f"statepipe inspect {shlex.quote(origin.id)}",
        )


def _refuse_marked(
    connection: sqlite3.Connection, origin: Origin, replays: Iterable[NewReplay]
) -> set[str]:
    """Refuse records that somebody replays; return the replays that lose theirs to these."""
    free = replaceable(connection, origin.id)
    retired = set()
    for mark in (mark for new in replays for mark in new.marks):
        for id_, entries in connection.execute(_MARKED, (mark.reject,)).fetchall():
            both = set(mark.entries) & set(json.loads(entries))
            if both and id_ not in free:
                raise Refused(
                    f"{len(both):,} of these records of {origin.id!r} are replayed by {id_!r}",
                    meaning="nothing was changed; a record is replayed once",
                    next_step=f"statepipe inspect {shlex.quote(id_)}",
                )
            if both:
                retired.add(id_)
    for id_ in retired:
        connection.execute("DELETE FROM replayed WHERE id = ?", (id_,))
    return retired


def _free_id(connection: sqlite3.Connection, origin_id: str) -> str:
    """Return an id that shows where the records come from and that nobody ever had."""
    sql = "SELECT count(*) FROM replay WHERE origin = ?"
    made = connection.execute(sql, (origin_id,)).fetchone()[0]
    return free_id(connection, origin_id, "replay", after=made)


def _insert(
    connection: sqlite3.Connection, n: int, id_: str, origin: Origin, new: NewReplay
) -> None:
    """Insert what belongs to an instance that was just made."""
    connection.executemany(
        _BATCH,
        [(n, *INPUT, INPUT.state, *batch[:9]) for batch in new.batches],
    )
    if new.loads:  # what is loaded is fixed on entering, and this is entering
        insert_plan(connection, n, Plan(Stay(1, new.state, 1), INPUT))
    connection.execute("INSERT INTO replay VALUES (?, ?, ?, NULL)", (n, origin.id, new.records))
    connection.executemany(
        "INSERT INTO replayed VALUES (?, ?, ?, ?)",
        [
            (mark.reject, id_, json.dumps(list(mark.entries)), json.dumps(dict(mark.reasons)))
            for mark in new.marks
        ],
    )
