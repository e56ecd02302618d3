"""
What a change does to those that do part of its instance's work, in its own transaction.

    apply       begin some, take over what they have staged, ask them to stop

A child reads what its parent and its siblings have staged where it lies. What a parent takes
over of a child's batches are rows of its own that name the same files; the child's rows stay
until the parent is done, and with them the files.

A child machine that has a key is admitted like an instance of its own, in the commit that begins
it: it waits for its turn, or has the others cancelled. Whether it is skipped was decided before,
and is looked at again here.
"""

from collections.abc import Sequence
from typing import Final

from statepipe.model import Change, Family, NewChild, Status, Stay, Taken
from statepipe.sqlite import sqlite3
from statepipe.store.metrics.counters import Counters
from statepipe.store.walk import children, making
from statepipe.store.walk.admission import admit
from statepipe.store.walk.asking import ask_now, make_way
from statepipe.store.walk.interventions import ASK, JOURNAL_OF_STEERING
from statepipe.store.walk.making import New
from statepipe.wishes import KILL, Wish

#: Of a child's id, left free for what counts those that would have the same.
_COUNT_CHARS: Final = 10

_PARENT = "SELECT id, coalesce(root, n) FROM instance WHERE n = ?"

_CHILD = """
INSERT INTO child (instance, parent, generation, state, visit, task, element)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""

_TAKE = """
INSERT INTO batch (instance, generation, state, visit, task, number, epoch, records, bytes, sha256,
                   format, file, body, cursor, read)
SELECT :n, :generation, :state, :visit, :state, number + :after, 0, records, bytes, sha256, format,
       file, body, NULL, records
  FROM batch
 WHERE instance = :source AND generation = :source_generation AND state = :source_state
   AND visit = :source_visit
"""

_NONE_SKIPPED = """
INSERT INTO counter (metric, machine, state, label, value)
VALUES ('skipped', ?, ?, '', 0)
    ON CONFLICT DO NOTHING
"""

_SKIPPED = "INSERT INTO skipped (instance, seq, state, task) VALUES (?, ?, ?, ?)"

_ADOPT = """
UPDATE instance
   SET seq           = seq + 1,
       definition    = :definition,
       updated_at_ms = :now_ms,
       change        = 'request'
 WHERE n = :n AND status = 'ready' AND worker IS NULL
   AND (SELECT machine FROM definition WHERE n = instance.definition)
       = (SELECT machine FROM definition WHERE n = :definition)
RETURNING state
"""


def apply(connection: sqlite3.Connection, change: Change, family: Family) -> bool:
    """
    Do what `change` does to the children of a stay, inside the caller's transaction.

    Returns False if it cannot be done any more: nothing of the change may stay.
    """
    if not all(_begin(connection, change, family.stay, child) for child in family.begins):
        return False
    if family.begins:
        connection.execute(_NONE_SKIPPED, (change.machine, family.stay.state))
    if family.skips:
        _skip(connection, change, family)
    for n, definition in family.adopts:
        facts = {"n": n, "definition": definition, "now_ms": change.at_ms}
        for (state,) in connection.execute(_ADOPT, facts).fetchall():
            note = "as the machine of its parent is now"
            said = {"n": n, "event": "adopt", "source": state, "note": note}
            connection.execute(JOURNAL_OF_STEERING, said)
    _take(connection, change.n, family.stay, family.takes)
    if family.stops is not None:
        _stop(connection, change.n, family.stops, at_ms=change.at_ms)
    return True


def _stop(connection: sqlite3.Connection, parent: int, wish: Wish, *, at_ms: int) -> None:
    """Ask the children that have not ended to stop."""
    note = "its parent was asked to"
    for each in children.unfinished(connection, parent):
        is_ending = each.is_being_cancelled or each.request in ("cancel", KILL)
        if (is_ending and wish != KILL) or (each.status, wish) == (Status.PAUSED, "pause"):
            continue
        # Nobody drives these. One might wait long for the key that it does not need any more; the
        # other has none, and would be claimed beside whoever has it now.
        if each.awaits_turn or each.status == Status.PAUSED:
            ask_now(connection, each.n, wish=wish, reason=note, at_ms=at_ms)
            continue
        # Whoever drives it, or claims it next, honours the wish as one that was asked of it alone.
        connection.execute(ASK, {"n": each.n, "wish": wish, "now_ms": at_ms})
        said = {"n": each.n, "event": wish, "source": each.state, "note": note}
        connection.execute(JOURNAL_OF_STEERING, said)


def _skip(connection: sqlite3.Connection, change: Change, family: Family) -> None:
    state = family.stay.state
    rows = [(change.n, change.seq + 1, state, task) for task in family.skips]
    connection.executemany(_SKIPPED, rows)
    counters = Counters()
    counters.count("skipped", change.machine, state, by=len(rows))
    counters.write(connection)


def _begin(connection: sqlite3.Connection, change: Change, stay: Stay, child: NewChild) -> bool:
    """Make a child; False if another one has taken its key since it was decided to begin."""
    admitted = admit(connection, child.machine, [child.key], child.terms)
    if admitted.taken_by is not None:
        return False
    parent_id, root = connection.execute(_PARENT, (change.n,)).fetchone()
    id_ = _free_id(connection, parent_id, stay.state, child)
    make_way(connection, admitted.cancels, by=id_, dead=child.dead, at_ms=change.at_ms)
    new = New(
        id=id_,
        definition=child.definition,
        params=child.params,
        state=child.state,
        now_ms=change.at_ms,
        note=f"for {stay.state} of {parent_id}",
        picture=child.picture,
        root=root,
        key=child.key,
    )
    n = making.insert(connection, new)
    connection.execute(_CHILD, (n, change.n, *stay, child.task, child.element))
    counters = Counters()
    counters.transition(child.machine, "", new.event, child.state)
    counters.write(connection)
    return True


def _free_id(connection: sqlite3.Connection, parent_id: str, state: str, child: NewChild) -> str:
    """
    Return an id that says whose child it is, and for what; later stays are counted.

    Of the parent's id there is as much in it as fits beside the names, of 64 characters each.
    """
    task = "" if child.task == state else f".{child.task}"
    element = "" if child.element is None else f"[{child.element}]"
    what = f"/{state}{task}{element}"
    room = making.ID_CHARS_MAX - _COUNT_CHARS - len(what)
    return making.first_free(connection, f"{parent_id[:room]}{what}")


def _take(connection: sqlite3.Connection, n: int, stay: Stay, takes: Sequence[Taken]) -> None:
    """Let instance `n` have batches of its children as those of `stay`, one after another."""
    after = 0
    for each in takes:
        facts = {
            "n": n,
            **stay._asdict(),
            "after": after,
            "source": each.child,
            "source_generation": each.stay.generation,
            "source_state": each.stay.state,
            "source_visit": each.stay.visit,
        }
        after += connection.execute(_TAKE, facts).rowcount
