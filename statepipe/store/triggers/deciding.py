"""
What a trigger starts: its occasions and their instances, in one transaction.

    Decision    what is to be started, and where the trigger goes on
    decide      do it, unless another process has decided meanwhile
    fill_in     do it for occasions of the past; the trigger's position stays

Whatever dies, and however many processes decide at once: the row of the occasion, which there
can be only once, lands with the instance and the new position, or nothing does.
"""

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.metrics.counters import Counters
from statepipe.store.triggers.standing import Standing, counted, note
from statepipe.store.walk.making import New, insert

#: Occasions in one transaction: others can write between two of them.
GROUP: Final = 100

_HAS: Final = "SELECT 1 FROM occasion WHERE trigger = ? AND key = ? AND instance IS NOT NULL"

# One that was refused is tried again by whoever asks for it once more.
_OCCASION: Final = """
INSERT INTO occasion (trigger, key, decided_at_ms, instance, refusal)
VALUES (:trigger, :key, :now_ms, :instance, :refusal)
    ON CONFLICT (trigger, key) DO UPDATE
   SET decided_at_ms = :now_ms, instance = :instance, refusal = :refusal
 WHERE instance IS NULL
"""

_POSITION: Final = """
UPDATE machine_trigger
   SET position = :position
 WHERE n = :n AND listens = :listens AND position = :before AND paused_at_ms IS NULL
"""


class Wanted(NamedTuple):
    """
    An instance to be made for one occasion; or why there is to be none.

    Attributes:
        key: The occasion's.
        id: Of the instance.
        params: Its parameters, encoded; None if there is to be none.
        refusal: Why there is to be none; None if there is.
        concurrency_key: What only so many may have at a time; None if it has none.
    """

    key: str
    id: str
    params: bytes | None
    refusal: str | None = None
    concurrency_key: str | None = None


class Starts(NamedTuple):
    """Of which machine: its name, its definition, where it begins, who of others goes first."""

    machine: str
    definition: int
    initial: str
    priority: int


class Decision(NamedTuple):
    """
    What one look at a trigger leads to.

    Attributes:
        wanted: The occasions that are due.
        position: Where the trigger goes on, as plain JSON.
        passed: How many occasions were passed over.
        note: Which and why, for its journal; None if none were.
    """

    wanted: Sequence[Wanted]
    position: object
    passed: int = 0
    note: str | None = None


def decide(
    store: Store, name: str, seen: Standing, decision: Decision, *, starts: Starts
) -> list[int] | None:
    """
    Start what is due; return the numbers of the new instances.

    Args:
        store: The open store.
        name: The trigger's.
        seen: How it stood when the decision was made; None is returned if it does no more.
        decision: What is to be started.
        starts: Of which machine.

    Raises:
        InstanceExists: One of the ids is taken; nothing was started.
    """
    moved = {
        "n": seen.n,
        "listens": seen.listens,
        "before": seen.position,
        "position": json.dumps(decision.position),
    }
    now_ms = store.clock.now_ms()
    with store.write() as connection:
        if connection.execute(_POSITION, moved).rowcount == 0:
            return None
        if decision.note is not None:
            count = decision.passed
            note(connection, seen.n, "passed", at_ms=now_ms, count=count, text=decision.note)
            counted(connection, name, "passed over", by=count)
        return _start(connection, name, seen.n, decision.wanted, starts=starts, now_ms=now_ms)


def fill_in(
    store: Store, name: str, n: int, wanted: Sequence[Wanted], *, starts: Starts, reason: str
) -> list[int]:
    """Start occasions of the past, but those that had theirs; else as `decide`."""
    now_ms = store.clock.now_ms()
    with store.write() as connection:
        made = _start(connection, name, n, wanted, starts=starts, now_ms=now_ms)
        note(connection, n, "backfill", at_ms=now_ms, count=len(made), text=reason)
    return made


def _start(
    connection: sqlite3.Connection,
    name: str,
    n: int,
    wanted: Sequence[Wanted],
    *,
    starts: Starts,
    now_ms: int,
) -> list[int]:
    made, refused = [], 0
    for each in wanted:
        if connection.execute(_HAS, (n, each.key)).fetchone() is not None:
            continue
        occasion = {
            "trigger": n,
            "key": each.key,
            "now_ms": now_ms,
            "instance": None if each.params is None else each.id,
            "refusal": each.refusal,
        }
        if each.params is not None:
            new = New(
                id=each.id,
                definition=starts.definition,
                params=each.params,
                state=starts.initial,
                now_ms=now_ms,
                note=f"trigger {name}, {each.key}",
                priority=starts.priority,
                key=each.concurrency_key,
            )
            made.append(insert(connection, new))
        else:
            refused += 1
        connection.execute(_OCCASION, occasion)
    counters = Counters()
    if made:
        counters.transition(starts.machine, "", "create", starts.initial, times=len(made))
    counters.write(connection)
    counted(connection, name, "started", by=len(made))
    counted(connection, name, "refused", by=refused)
    return made
