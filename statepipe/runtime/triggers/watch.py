"""
Looking at triggers, and starting what is due.

    registered      the triggers of some machines, known to the store
    Watch           looks at them, for one thread
    Watch.turn      start everything that is due
    Watch.again     start what waited for room, if there is some now
    wanted          the instance that an occasion asks for, or why there is none
    bound           its parameters
    starts_of       of which machine it is
    tell_of         log what became of occasions
"""

import json
import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from statepipe.errors import BadParameter, InstanceExists, ValueRefused
from statepipe.machine.definition import Machine
from statepipe.machine.params import bind_params
from statepipe.machine.triggers.trigger import Trigger
from statepipe.runtime.catalog import new_id
from statepipe.runtime.driving.observers import Observers
from statepipe.runtime.program import Program
from statepipe.runtime.triggers.kinds import Asked, Due, Occasion
from statepipe.runtime.triggers.known import KINDS, listens_of, register
from statepipe.store.codec import encode
from statepipe.store.file.connection import Store
from statepipe.store.triggers import deciding
from statepipe.store.triggers.deciding import GROUP, Crowded, Decided, Decision, Starts, Wanted
from statepipe.store.triggers.standing import Standing, standing, tell, written

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Watched:
    """A trigger, and what is known of it since the last look."""

    n: int
    name: str
    trigger: Trigger
    program: Program
    listens: str = field(init=False)
    seen: Standing | None = None
    look_at_ms: int | None = 0  # None: once something was written
    error: str | None = ""  # nothing told yet: another process may have told of one
    memory: dict[str, Any] = field(default_factory=dict)
    waits: bool = False  # for room: as many of its machine are ready as may be

    def __post_init__(self) -> None:
        self.listens = written(listens_of(self.trigger))


def registered(store: Store, programs: Iterable[Program]) -> list[Watched]:
    """Return the triggers of some machines; those that are new begin now."""
    return [
        Watched(
            n=register(store, program.name, trigger),
            name=f"{program.name}.{trigger.name}",
            trigger=trigger,
            program=program,
        )
        for program in programs
        for trigger in program.table.machine.triggers
    ]


class Watch:
    """
    Looks at triggers.

    Args:
        store: The open store of the thread that turns.
        watched: Which.
        observers: Told of each instance that is created.
        rng: For ids.
    """

    def __init__(
        self,
        store: Store,
        watched: Sequence[Watched],
        *,
        observers: Observers,
        rng: random.Random,
    ) -> None:
        self._store = store
        self._observers = observers
        self._rng = rng
        self._last_ms = 0
        # Until a turn has come to its end: what it was cut off from, the next one looks at.
        self._wrote = self._is_back = False
        self._watched = list(watched)

    def turn(self) -> None:
        """
        Start everything that is due; costs next to nothing if nothing is.

        Raises:
            Busy, StoreUnusable: As `Store.write`; what was started before that, is, and the
                next turn goes on with the rest.
        """
        now_ms = self._store.clock.now_ms()
        self._is_back |= now_ms < self._last_ms
        self._last_ms = now_ms
        with self._store.translating():
            self._wrote |= self._store.others_wrote()
            is_changed = self._wrote or self._is_back
            if not (is_changed or any(_is_due(each, now_ms) for each in self._watched)):
                return
            stand = standing(self._store.connection, [each.n for each in self._watched])
            for each in tuple(self._watched):
                seen = stand[each.n]
                is_moved = self._is_back or seen != each.seen
                if is_moved or _is_due(each, now_ms) or (self._wrote and self._is_woken(each)):
                    self._start_all(each, seen)
        self._wrote = self._is_back = False

    def again(self) -> bool:
        """Start what waited for room, if there is some now; True if somebody has started some."""
        is_moved = False
        with self._store.translating():
            for each in tuple(self._watched):
                if each.waits:
                    before = each.seen
                    self._start_all(each, standing(self._store.connection, [each.n])[each.n])
                    is_moved |= each.seen != before
        return is_moved

    def _is_woken(self, each: Watched) -> bool:
        """Return whether what was written may be what it waits for."""
        if each.waits:
            return deciding.room(self._store.connection, starts_of(each.program)) > 0
        return each.look_at_ms is None

    def _start_all(self, each: Watched, seen: Standing) -> None:
        """Start what is due of one; if that fails, it is due until it was looked at."""
        each.seen, each.look_at_ms, each.waits = seen, 0, False
        each.look_at_ms = self._started(each, seen)

    def _started(self, each: Watched, seen: Standing) -> int | None:
        """Start what is due of one; return when to look again, None for once somebody wrote."""
        is_first = True
        # A process that saw it with another definition since decides upon it now.
        while not seen.is_paused and seen.listens == each.listens:
            now_ms = self._store.clock.now_ms()
            boot_ms, connection = self._store.clock.boot_ms(), self._store.connection
            room = deciding.room(connection, starts_of(each.program))
            most = max(1, min(GROUP, room))
            asked = Asked(each.name, each.trigger, now_ms, connection, boot_ms, each.memory, most)
            due = KINDS[each.trigger.on.kind].look(asked, json.loads(seen.position))
            self._tell(each, due.error)
            if json.dumps(due.position) == seen.position:
                assert not due.occasions, "a position moves with the occasions"
                return due.look_at_ms
            if due.occasions and room <= 0:
                self._wait(each, is_first=is_first)
                is_over = due.look_at_ms is not None and due.look_at_ms <= now_ms
                return None if is_over else due.look_at_ms
            is_first = not self._decide(each, seen, due) and is_first
            # It may be paused by now: as that it is known, so that it is seen to go on.
            each.seen = seen = standing(self._store.connection, [each.n])[each.n]
        return None

    def _tell(self, each: Watched, error: str | None) -> None:
        """Write down that it could not be looked, or can be again."""
        if error != each.error:
            tell(self._store, each.n, error=error)
            each.error = error
            if error is not None:
                _log.warning("trigger %s: %s", each.name, error)

    def _wait(self, each: Watched, *, is_first: bool) -> None:
        """Leave what is due undecided, until something is written: that may have made room."""
        each.waits = True
        if not is_first:  # it had its share: another one of its machine is asked before it
            self._watched.remove(each)
            self._watched.append(each)

    def _decide(self, each: Watched, seen: Standing, due: Due) -> bool:
        """Start what is due; False if nothing was, because another process has done it."""
        starts = starts_of(each.program)
        while True:
            now_ms = self._store.clock.now_ms()
            decision = Decision(
                [
                    wanted(each.program, each.trigger, occasion, at_ms=now_ms, rng=self._rng)
                    for occasion in due.occasions
                ],
                due.position,
                due.passed,
                due.note,
            )
            try:
                decided = deciding.decide(self._store, each.name, seen, decision, starts=starts)
            except InstanceExists:  # among many made-up ids two are the same
                continue
            except Crowded:  # another process has filled the queue: there is less room
                return False
            break
        if decided is None:
            return False
        if due.note is not None:
            _log.warning("trigger %s: %s", each.name, due.note)
        for occasion in decision.wanted:
            if occasion.refusal is not None:
                said = (each.name, occasion.key, occasion.refusal)
                _log.warning("trigger %s started nothing for %s: %s", *said)
        tell_of(decided, each.name, self._store, self._observers)
        return True


def tell_of(decided: Decided, name: str, store: Store, observers: Observers) -> None:
    """Tell what became of occasions of a trigger."""
    for key, why in decided.skipped.items():
        _log.info("trigger %s skipped %s: %s", name, key, why)
    for n in decided.made:
        observers.journaled(store, n, seq=1)
    for id_, done in decided.cancelled.items():
        observers.asked(store, id_, kind="cancel" if done else "request")


def starts_of(program: Program) -> Starts:
    """Return what the store needs to know of the machine whose instances are started."""
    initial, sharing = program.table.machine.initial, program.sharing
    return Starts(program.name, program.definition, initial, sharing.priority, sharing.terms)


def wanted(
    program: Program, trigger: Trigger, occasion: Occasion, *, at_ms: int, rng: random.Random
) -> Wanted:
    """Return the instance that an occasion asks for, or why its parameters make none."""
    name = new_id(program.name, at_ms=at_ms, rng=rng)
    try:
        params = bound(program.table.machine, trigger, occasion, at_ms=at_ms)
        key = program.sharing.key_of(program.name, params)
        return Wanted(occasion.key, name, encode(params), concurrency_key=key)
    except (BadParameter, ValueRefused) as error:
        return Wanted(occasion.key, name, None, error.message)


def bound(machine: Machine, trigger: Trigger, occasion: Occasion, *, at_ms: int) -> dict[str, Any]:
    """
    Return the parameters of what an occasion starts at `at_ms`.

    Raises:
        BadParameter: As `bind_params`.
    """
    today = datetime.fromtimestamp(at_ms / 1000, tz=UTC).date()
    return bind_params(machine, trigger.given(occasion.facts), today=today)


def _is_due(each: Watched, now_ms: int) -> bool:
    return each.look_at_ms is not None and now_ms >= each.look_at_ms
