"""
Where each trigger of a machine goes on.

    register    one that a process sees: new, as it was, or changed
    standing    how some of them stand now
    pause       let one rest, or go on; journaled with the reason
    counted     what became of occasions, inside the caller's transaction
    tell        why one cannot look at what it listens to, or that it can again
    note        a row in the journal of a trigger, inside the caller's transaction

The first time a trigger is seen it begins with the position it is given, from now on. So it
does if what it listens to has changed: then the process that saw it last decides, and others
that know it as it was leave it alone. A key of another event or machine names another occasion,
so that its occasions are another series; a tick and a file are the same whoever listens to them.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from statepipe.errors import Refused
from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.lookups.triggers import MENDED
from statepipe.store.metrics.counters import Counters

_FIND: Final = "SELECT n, listens FROM machine_trigger WHERE machine = ? AND name = ?"

_INSERT: Final = """
INSERT INTO machine_trigger (machine, name, kind, listens, position, follows, series)
VALUES (:machine, :name, :kind, :listens, :position, :follows, :anew)
"""

_CHANGE: Final = """
UPDATE machine_trigger
   SET kind = :kind, listens = :listens, position = :position, follows = :follows,
       series = CASE WHEN :anew
                THEN (SELECT coalesce(max(series), 0) + 1 FROM occasion WHERE trigger = :n)
                ELSE 0 END
 WHERE n = :n
"""

_STANDING: Final = """
SELECT n, listens, position, paused_at_ms IS NOT NULL
  FROM machine_trigger
 WHERE n IN (SELECT value FROM json_each(?))
"""

_LAST_ERROR: Final = """
SELECT note FROM trigger_journal WHERE trigger = ? AND kind = 'error' ORDER BY n DESC LIMIT 1
"""

_NOTE: Final = """
INSERT INTO trigger_journal (trigger, at_ms, kind, count, note) VALUES (?, ?, ?, ?, ?)
"""


#: Whose occasions are a new series whenever what they listen to has changed.
_ANEW: Final = ("event", "after")

#: What may become of an occasion, as it is counted.
OUTCOMES: Final = ("started", "refused", "skipped", "passed over")


class Standing(NamedTuple):
    """How a trigger stands: what it listens to and its position are JSON."""

    n: int
    listens: str
    position: str
    is_paused: bool


def register(
    store: Store, machine: str, name: str, *, listens: Mapping[str, Any], position: object
) -> int:
    """
    Return the number of a trigger; write it down if it is new, or listens to something else now.

    Args:
        store: The open store.
        machine: Whose it is.
        name: Its name.
        listens: Its kind under "kind", and what makes it another one, as plain JSON.
        position: Where it begins if it is new, as plain JSON.
    """
    said = written(listens)
    row = store.connection.execute(_FIND, (machine, name)).fetchone()
    if row is not None and row[1] == said:
        return int(row[0])
    facts = {
        "machine": machine,
        "name": name,
        "kind": listens["kind"],
        "listens": said,
        "position": json.dumps(position),
        # Only then is each instance of that machine written down that is done.
        "anew": listens["kind"] in _ANEW,
        "follows": listens["machine"] if listens.get("form") == "instance" else None,
    }
    at_ms = store.clock.now_ms()
    with store.write() as connection:
        row = connection.execute(_FIND, (machine, name)).fetchone()  # another may have been quicker
        if row is None:
            n = connection.execute(_INSERT, facts).lastrowid
            assert isinstance(n, int)
            for outcome in OUTCOMES:  # so that the first one is a rise
                counted(connection, f"{machine}.{name}", outcome, by=0)
            note(connection, n, "seen", at_ms=at_ms, text=said)
            return n
        n = int(row[0])
        if row[1] != said:
            connection.execute(_CHANGE, {**facts, "n": n})
            note(connection, n, "changed", at_ms=at_ms, text=f"{row[1]} -> {said}")
    return n


def written(listens: Mapping[str, Any]) -> str:
    """Return what a trigger listens to as the store keeps it."""
    return json.dumps(listens, sort_keys=True)


def standing(connection: sqlite3.Connection, numbers: Collection[int]) -> dict[int, Standing]:
    """Return how some triggers stand, by their numbers."""
    rows = connection.execute(_STANDING, (json.dumps(sorted(numbers)),))
    return {
        n: Standing(n, listens, position, bool(paused)) for n, listens, position, paused in rows
    }


def pause(store: Store, n: int, *, name: str, paused: bool, reason: str) -> None:
    """
    Let a trigger rest, or go on.

    Raises:
        Refused: It is so already.
    """
    now_ms = store.clock.now_ms()
    sql = f"""
UPDATE machine_trigger SET paused_at_ms = ?
 WHERE n = ? AND paused_at_ms IS {"NULL" if paused else "NOT NULL"}
"""  # noqa: S608  (our own words)
    with store.write() as connection:
        if connection.execute(sql, (now_ms if paused else None, n)).rowcount == 0:
            raise Refused(
                f"trigger {name} is {'already paused' if paused else 'not paused'}",
                meaning="nothing was changed",
                next_step="statepipe triggers ls",
            )
        note(connection, n, "pause" if paused else "unpause", at_ms=now_ms, text=reason)


def counted(connection: sqlite3.Connection, name: str, outcome: str, *, by: int) -> None:
    """Count `by` occasions of the trigger called "machine.trigger"."""
    machine, _, own = name.partition(".")
    counters = Counters()
    counters.count("occasions", machine, own, outcome, by=by)
    counters.write(connection)


def tell(store: Store, n: int, *, error: str | None) -> None:
    """Write down why a trigger cannot look at what it listens to, or that it can again."""
    now = error or MENDED
    if now == _last_told(store.connection, n):
        return
    with store.write() as connection:
        if now != _last_told(connection, n):  # else another process was quicker
            note(connection, n, "error", at_ms=store.clock.now_ms(), text=now)


def _last_told(connection: sqlite3.Connection, n: int) -> str:
    row = connection.execute(_LAST_ERROR, (n,)).fetchone()
    return MENDED if row is None else str(row[0])


def note(
    connection: sqlite3.Connection,
    n: int,
    kind: str,
    *,
    at_ms: int,
    text: str,
    count: int | None = None,
) -> None:
    """Write what happened to trigger number `n` into its journal."""
    connection.execute(_NOTE, (n, at_ms, kind, count, text))
