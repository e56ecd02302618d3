"""
What a trigger starts: its occasions and their instances, in one transaction.

    Decision    what is to be started, and where the trigger goes on
    Decided     what became of it
    Crowded     there is no room for all of it: nothing was decided
    decide      do it, unless another process has decided meanwhile
    fill_in     do it for occasions of the past; the trigger's position stays

Whatever dies, and however many processes decide at once: the row of the occasion, which there
can be only once, lands with the instance and the new position, or nothing does. What is started
is admitted like what a person makes, in the order of the occasions: one whose key is taken may
be skipped, or have the others cancelled; and without room nothing is decided, so that it is
found again.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.metrics.counters import Counters
from statepipe.store.triggers.standing import Standing, counted, note
from statepipe.store.walk.admission import admit, crowd, judged
from statepipe.store.walk.asking import make_way
from statepipe.store.walk.making import New, insert
from statepipe.terms import ANY, Terms

#: Occasions in one transaction: others can write between two of them.
GROUP: Final = 100
#: More than there ever is room for.
ROOM_MAX: Final = 1 << 62

_WAS: Final = """
SELECT o.instance IS NOT NULL, o.skipped IS NOT NULL
  FROM machine_trigger t
  JOIN occasion o ON o.trigger = t.n AND o.series = t.series
 WHERE t.n = ? AND o.key = ?
"""

# One that was refused is tried again by whoever asks for it once more; one that was skipped, by
# a person who does.
_OCCASION: Final = """
INSERT INTO occasion (trigger, series, key, decided_at_ms, instance, refusal, skipped)
SELECT n, series, :key, :now_ms, :instance, :refusal, :skipped
  FROM machine_trigger
 WHERE n = :trigger
    ON CONFLICT (trigger, series, key) DO UPDATE
   SET decided_at_ms = :now_ms, instance = :instance, refusal = :refusal, skipped = :skipped
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
    """
    Of which machine.

    Attributes:
        machine: Its name.
        definition: The number of its definition.
        initial: Where its instances begin.
        priority: Who of others goes first.
        terms: On what terms they are made.
    """

    machine: str
    definition: int
    initial: str
    priority: int
    terms: Terms = ANY


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


class Decided(NamedTuple):
    """
    What became of some occasions.

    Attributes:
        made: Numbers of the new instances.
        skipped: Why nothing was made, by the key of the occasion.
        cancelled: Ids of those that had the key of a new one, and whether they are cancelled.
    """

    made: list[int]
    skipped: dict[str, str]
    cancelled: dict[str, bool]


class Crowded(Exception):
    """As many of the machine are ready as may be, or would be: nothing was decided."""


def decide(
    store: Store, name: str, seen: Standing, decision: Decision, *, starts: Starts
) -> Decided | None:
    """
    Start what is due; return what became of it.

    Args:
        store: The open store.
        name: The trigger's.
        seen: How it stood when the decision was made; None is returned if it does no more.
        decision: What is to be started.
        starts: Of which machine.

    Raises:
        InstanceExists: One of the ids is taken; nothing was started.
        Crowded: There is no room for all of them; nothing was started.
    """
    dead = judged(store, starts.terms)
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
        start = _Start(connection, name, seen.n, starts=starts, dead=dead, now_ms=now_ms)
        return start.all(decision.wanted)


def fill_in(
    store: Store, name: str, n: int, wanted: Sequence[Wanted], *, starts: Starts, reason: str
) -> Decided:
    """Start occasions of the past, but those that had theirs; else as `decide`."""
    dead = judged(store, starts.terms)
    now_ms = store.clock.now_ms()
    with store.write() as connection:
        start = _Start(connection, name, n, starts=starts, dead=dead, now_ms=now_ms, by_hand=True)
        decided = start.all(wanted)
        note(connection, n, "backfill", at_ms=now_ms, count=len(decided.made), text=reason)
    return decided


def room(connection: sqlite3.Connection, starts: Starts) -> int:
    """Return how many of a machine may be made now."""
    most = starts.terms.ready_max
    return ROOM_MAX if most is None else most - crowd(connection, starts.machine, most=most)


class _Start:
    """Occasions of one trigger that are started, inside the caller's transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        name: str,
        n: int,
        *,
        starts: Starts,
        dead: Mapping[tuple[int, int], str],
        now_ms: int,
        by_hand: bool = False,
    ) -> None:
        self._connection = connection
        self._name = name
        self._n = n
        self._starts = starts
        self._dead = dead
        self._now_ms = now_ms
        self._by_hand = by_hand
        self._decided = Decided([], {}, {})

    def all(self, wanted: Sequence[Wanted]) -> Decided:
        """Start them in their order, but those that were decided."""
        left, refused = room(self._connection, self._starts), 0
        for each in wanted:
            if self._is_decided(each.key):
                continue
            taken = None if each.params is None else self._taken(each)
            if each.params is None:
                refused += 1
            elif taken is None:
                if len(self._decided.made) == left:
                    raise Crowded
                self._make(each, each.params)
            self._write_down(each, skipped=taken)
        made, skipped, _ = self._decided
        if made:
            counters = Counters()
            machine, initial = self._starts.machine, self._starts.initial
            counters.transition(machine, "", "create", initial, times=len(made))
            counters.write(self._connection)
        for outcome, by in (("started", made), ("skipped", skipped)):
            counted(self._connection, self._name, outcome, by=len(by))
        counted(self._connection, self._name, "refused", by=refused)
        return self._decided

    def _is_decided(self, key: str) -> bool:
        was = self._connection.execute(_WAS, (self._n, key)).fetchone()
        if was is None:
            return False
        started, skipped = was
        return bool(started or (skipped and not self._by_hand))

    def _taken(self, each: Wanted) -> str | None:
        """Return who has its key, if it is skipped because of that; else make way for it."""
        starts, keys = self._starts, [each.concurrency_key]
        terms = starts.terms._replace(ready_max=None)
        admitted = admit(self._connection, starts.machine, keys, terms)
        if admitted.taken_by is not None:
            _, _, shown = (each.concurrency_key or "").partition(":")
            said = f"key {shown!r} is taken by {admitted.taken_by}"
            self._decided.skipped[each.key] = said
            return said
        self._decided.cancelled.update(
            make_way(
                self._connection, admitted.cancels, by=each.id, dead=self._dead, at_ms=self._now_ms
            )
        )
        return None

    def _make(self, each: Wanted, params: bytes) -> None:
        new = New(
            id=each.id,
            definition=self._starts.definition,
            params=params,
            state=self._starts.initial,
            now_ms=self._now_ms,
            note=f"trigger {self._name}, {each.key}",
            priority=self._starts.priority,
            key=each.concurrency_key,
        )
        self._decided.made.append(insert(self._connection, new))

    def _write_down(self, each: Wanted, *, skipped: str | None) -> None:
        occasion = {
            "trigger": self._n,
            "key": each.key,
            "now_ms": self._now_ms,
            "instance": each.id if each.params is not None and skipped is None else None,
            "refusal": each.refusal,
            "skipped": skipped,
        }
        self._connection.execute(_OCCASION, occasion)
