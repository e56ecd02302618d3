"""
Making an instance of another one: its row, and what it is given of what the other had staged.

    look        what is known of the origin
    Given       a stay of the origin, whose batches the copy is given
    create      make the copy, in one transaction, on the terms of what is made anew

Files come first and rows after (R5 of docs/reliability.md), each file a copy of its own, so
that whatever becomes of the origin is nothing to the copy. A crash before the commit leaves
files that no row names; they are swept as all such files are. What a copy is given is of
generation 0: nothing that it stages itself can have the same name.
"""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import NamedTuple

from statepipe.errors import Refused, StagedDataDamaged, StatepipeError, StoreUnusable
from statepipe.model import Plan, Staged, Stay
from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.lookups import lookup
from statepipe.store.lookups.lookup import Found
from statepipe.store.metrics.counters import Counters
from statepipe.store.stage.directory import Stage
from statepipe.store.stage.lock import filling
from statepipe.store.stage.rows import insert_plan
from statepipe.store.walk import making
from statepipe.store.walk.admission import admit_of, judged
from statepipe.store.walk.asking import make_way
from statepipe.store.walk.claims import load_checkpoint
from statepipe.store.walk.making import New
from statepipe.store.walk.replays import origin_of
from statepipe.terms import Terms

#: The generation of what a copy is given; its own begin at 1.
GIVEN = 0

_STAY = "instance = :origin AND generation = :generation AND state = :state AND visit = :visit"

_PARTITION = "SELECT partition FROM instance WHERE n = ?"

_STAGED = """
SELECT generation, state, visit, count(*)
  FROM batch
 WHERE instance = ?
 GROUP BY generation, state, visit
"""

_FILES = f"""
SELECT number, records, bytes, sha256, format, file
  FROM batch
 WHERE {_STAY} AND file IS NOT NULL
 ORDER BY number
"""  # noqa: S608  (made of constants)

_GIVE = f"""
INSERT INTO batch (instance, generation, state, visit, task, number, epoch, records, bytes, sha256,
                   format, file, body, cursor, read)
SELECT :n, {GIVEN}, state, visit, task, number, 0, records, bytes, sha256, format, :copied, body,
       cursor, read
  FROM batch
 WHERE {_STAY}
"""  # noqa: S608  (made of constants)

_GIVE_INLINE = f"{_GIVE} AND file IS NULL"

_GIVE_FILE = f"{_GIVE} AND task = :state AND number = :number AND file = :file"


class Looked(NamedTuple):
    """What is known of an instance that is to be copied, all of one moment."""

    found: Found
    params: bytes
    partition: str | None  # its key, if it is a partition or a copy of one
    steps: list[tuple[int, int, str, str, str, bytes | None]]
    loaded: dict[str, int]  # batches that each loading state has put at a destination
    staged: dict[Stay, int]  # batches that are still there
    replays: str | None  # whose rejected records it replays


class Given(NamedTuple):
    """What a copy is given: `batches` batches of a stay of instance number `n`."""

    n: int
    stay: Stay
    batches: int
    loads: Stay | None  # the stay of the copy that loads them; None if it does not

    @property
    def as_given(self) -> Stay:
        """The stay that the batches are of in the copy."""
        return self.stay._replace(generation=GIVEN)


def look(store: Store, instance_id: str) -> Looked:
    """
    Return what is known of an instance that is to be copied.

    Raises:
        NotFound: There is no such instance.
    """
    with store.moment() as connection:
        found = lookup.find_instance(connection, instance_id)
        replays = origin_of(connection, found.n)
        (partition,) = connection.execute(_PARTITION, (found.n,)).fetchone()
        return Looked(
            found=found,
            params=load_checkpoint(connection, found.n).params,
            partition=partition,
            steps=lookup.steps_of(connection, found.n),
            loaded=lookup.batches_loaded(connection, found.n),
            staged={Stay(*stay): count for *stay, count in connection.execute(_STAGED, (found.n,))},
            replays=None if replays is None else replays[0],
        )


def free_id(connection: sqlite3.Connection, origin_id: str, event: str) -> str:
    """Return an id for a copy that nobody has or had."""
    sql = "SELECT count(*) FROM copy WHERE origin = ? AND event = ?"
    made = connection.execute(sql, (origin_id, event)).fetchone()[0]
    return making.free_id(connection, origin_id, event, after=made)


class Made(NamedTuple):
    """A copy that was made: its number, and who was cancelled for it, and whether that is done."""

    n: int
    cancelled: Mapping[str, bool]


def create(
    store: Store,
    new: New,
    *,
    origin: Found,
    given: Given | None,
    stage: Stage,
    terms: Terms,
) -> Made:
    """
    Make an instance of another one, which is not cancelled for it.

    Args:
        store: The open store.
        new: What it is.
        origin: What it is made of, of the same machine.
        given: What it is given of what that one has staged; None for nothing.
        stage: Where staged batches lie.
        terms: Whether it may be made, and what becomes of others that have its key.

    Raises:
        InstanceExists, InstancePruned, BadParameter: As `making.insert`.
        Refused: What it was to be given is gone, or its key is taken; nothing was made.
        Busy: As many of the machine are ready as may be.
        StagedDataDamaged: It is not what was committed.
        StoreFull, StoreUnusable: The disk is full, or fails.
    """
    dead = judged(store, terms)
    with ExitStack() as held:
        copied: list[tuple[int, str, str]] = []
        try:
            if given is not None:
                held.enter_context(filling(stage.directory, clock=store.clock))
                for each in _copied(store, stage, given, origin.id, new.id):
                    copied.append(each)  # noqa: PERF402  (what was copied before one fails goes)
            with store.write() as connection:
                cancels = admit_of(
                    connection,
                    origin.machine,
                    [new.key],
                    terms,
                    origin=(origin.n, origin.id),
                    meaning="nothing was made",
                )
                n = making.insert(connection, new)
                connection.execute("INSERT INTO copy VALUES (?, ?, ?)", (n, origin.id, new.event))
                if given is not None:
                    _give(connection, n, given, origin.id, copied)
                counters = Counters()
                counters.transition(origin.machine, "", new.event, new.state)
                counters.write(connection)
                cancelled = make_way(connection, cancels, by=new.id, dead=dead, at_ms=new.now_ms)
        except BaseException:
            if not store.in_doubt:
                with suppress(StatepipeError):  # what cannot be removed is left to the sweep
                    stage.remove([name for _, _, name in copied])
            raise
    return Made(n, cancelled)


def _facts(given: Given) -> dict[str, object]:
    return {"origin": given.n, **given.stay._asdict()}


def _copied(
    store: Store, stage: Stage, given: Given, origin_id: str, instance_id: str
) -> Iterator[tuple[int, str, str]]:
    """Copy the files of a stay; yield of each its batch, its name, and the copy's name."""
    # Listed whole, names only: nobody holds a snapshot while files are copied.
    with store.translating():
        rows = store.connection.execute(_FILES, _facts(given)).fetchall()
    for number, records, size, sha256, format_, file in rows:
        was = Staged(number, records, size, sha256, format_, file, None, None, records, None)
        try:
            payload = stage.read(was)
        except StagedDataDamaged:
            if look(store, origin_id).staged.get(given.stay) != given.batches:
                raise _gone(origin_id) from None
            raise
        try:
            put = stage.put(
                payload,
                instance_key=instance_id,
                **given.as_given._asdict(),
                task=given.stay.state,
                number=number,
                epoch=0,
                format=format_,
                inline_bytes_max=0,
            )
        except StoreUnusable as error:
            error.meaning = "nothing was made"  # there is no instance yet that could be resumed
            error.next_step = f"df -h {stage.directory.parent.parent}   # then repeat the command"
            raise
        assert put.file is not None, "a batch that had a file has one"
        yield number, file, put.file


def _give(
    connection: sqlite3.Connection,
    n: int,
    given: Given,
    origin_id: str,
    copied: list[tuple[int, str, str]],
) -> None:
    """Insert the batches, and the plan if they are loaded, inside the caller's transaction."""
    facts = {**_facts(given), "n": n, "copied": None}
    connection.execute(_GIVE_INLINE, facts)
    connection.executemany(
        _GIVE_FILE,
        [
            {**facts, "number": number, "file": file, "copied": name}
            for number, file, name in copied
        ],
    )
    sql = "SELECT count(*) FROM batch WHERE instance = ?"
    if connection.execute(sql, (n,)).fetchone()[0] != given.batches:
        raise _gone(origin_id)
    if given.loads is not None:  # what is loaded is fixed on entering, and this is entering
        insert_plan(connection, n, Plan(given.loads, given.as_given))


def _gone(origin_id: str) -> Refused:
    return Refused(
        f"the batches that {origin_id!r} had staged were given back, or pruned, meanwhile",
        meaning="nothing was made",
        next_step=f"statepipe restart {shlex.quote(origin_id)}   # from the start",
    )
