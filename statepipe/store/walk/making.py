"""
How an instance comes into the store: its row, and the first one of its journal.

    New         what is known of it
    insert      both rows, inside the caller's transaction
    free_id, first_free     ids that nobody has

Whoever makes instances counts them as well.
"""

import shlex
from typing import Final, NamedTuple

from statepipe.errors import BadParameter, InstanceExists, InstancePruned
from statepipe.sqlite import sqlite3

#: As the schema says.
ID_CHARS_MAX: Final = 200

_ORIGIN_CHARS_MAX: Final = 180  # of an id that another one is made of

# Not SQLite's own choice, which is the highest that is there and one more: a process that sleeps
# with an instance that was pruned meanwhile would wake with the right to another one (R3).
_CREATE = """
INSERT INTO instance (n, id, definition, params, created_at_ms, epoch, seq, generation, status,
                      state, attempt, lost, batches, picture, entered_at_ms, updated_at_ms, change,
                      member_of, partition, root, priority, concurrency_key, awaits_turn)
VALUES (max(coalesce((SELECT max(n) FROM instance), 0), (SELECT highest_pruned FROM store)) + 1,
        :id, :definition, :params, :now_ms, 0, 1, 1, 'ready', :state, 0, 0, 0, :picture, :now_ms,
        :now_ms, 'create', :member_of, :partition, :root,
        coalesce(:priority, (SELECT priority FROM instance WHERE n = :root), 0), :key,
        :key IS NOT NULL)
"""

_JOURNAL = """
INSERT INTO journal (instance, seq, epoch, generation, at_ms, kind, event, source, target, records,
                     picture, note)
SELECT n, seq, epoch, generation, updated_at_ms, change, :event, '', state, :records, picture,
       :note
  FROM instance
 WHERE n = :n
"""

_TAKEN = "SELECT 1 FROM instance WHERE id = :id UNION ALL SELECT 1 FROM pruned WHERE id = :id"


class New(NamedTuple):
    """
    An instance to be made, at rest.

    Attributes:
        id: Its id.
        definition: Number of its definition.
        params: Its parameters, encoded.
        state: The state it begins in.
        now_ms: When it is made.
        event: What its journal says of how it came to be.
        note: Why.
        picture: What it knows from the beginning, encoded.
        records: How many records it is given, if they are counted.
        member_of: Number of the group that it is a partition of.
        partition: And the key of that partition, or of the one that it is made of.
        root: Number of the instance at the top that it is a part of.
        priority: The higher goes first; None for that of `root`, or 0.
        key: What only so many may have at a time; it waits for its turn. None if it has none.
    """

    id: str
    definition: int
    params: bytes
    state: str
    now_ms: int
    event: str = "create"
    note: str | None = None
    picture: bytes | None = None
    records: int | None = None
    member_of: int | None = None
    partition: str | None = None
    root: int | None = None
    priority: int | None = None
    key: str | None = None


def insert(connection: sqlite3.Connection, new: New) -> int:
    """
    Insert an instance with the first row of its journal; return its number.

    Raises:
        InstanceExists: The id is taken.
        InstancePruned: It was taken, and its instance pruned.
        BadParameter: It is empty or too long, or has a NUL in it.
    """
    _refuse_bad_id(new.id)
    _refuse_pruned(connection, new.id)
    facts = new._asdict()
    try:
        n = connection.execute(_CREATE, facts).lastrowid
    except sqlite3.IntegrityError as error:
        if "instance.id" not in str(error):
            raise  # what else the schema refuses is a defect of ours, and no id would help
        raise InstanceExists(
            f"there is already an instance {new.id!r} in this store",
            meaning="nothing was created or changed",
            next_step=f"statepipe resume {shlex.quote(new.id)}   # goes on with it;"
            " or --if-exists attach|skip, or another --id",
        ) from error
    assert isinstance(n, int)
    connection.execute(_JOURNAL, {**facts, "n": n})
    return n


def first_free(connection: sqlite3.Connection, id_: str) -> str:
    """Return `id_`, or with a number behind it, if nobody has or had that."""
    number, found = 1, id_
    while connection.execute(_TAKEN, {"id": found}).fetchone() is not None:
        number += 1
        found = f"{id_}~{number}"
    return found


def free_id(connection: sqlite3.Connection, origin_id: str, event: str, *, after: int) -> str:
    """Return an id that shows what an instance is made of, from number `after` + 1 on."""
    while True:
        after += 1
        id_ = f"{origin_id[:_ORIGIN_CHARS_MAX]}-{event}-{after}"
        if connection.execute(_TAKEN, {"id": id_}).fetchone() is None:
            return id_


def _refuse_bad_id(instance_id: str) -> None:
    if "\0" in instance_id:  # SQLite's text would end there
        raise BadParameter(
            f"an instance's id cannot have the character NUL in it: {instance_id!r}",
            meaning="nothing was created or changed",
            next_step="statepipe run MACHINE --id ID   # choose another, or let one be made",
        )
    if not 1 <= len(instance_id) <= ID_CHARS_MAX:
        raise BadParameter(
            f"an instance's id has 1 to {ID_CHARS_MAX} characters, this one {len(instance_id)}",
            meaning="nothing was created or changed",
            next_step="statepipe run MACHINE --id ID   # choose a shorter one, or let one be made",
        )


def _refuse_pruned(connection: sqlite3.Connection, instance_id: str) -> None:
    sql = "SELECT 1 FROM pruned WHERE id = ?"
    if connection.execute(sql, (instance_id,)).fetchone() is not None:
        raise InstancePruned(
            f"there was an instance {instance_id!r} in this store; it was pruned",
            meaning="nothing was created: destinations keep their ledgers by the id, and would"
            " take what a new one loads for what the old one had loaded",
            next_step="choose another --id, or let one be made",
        )
