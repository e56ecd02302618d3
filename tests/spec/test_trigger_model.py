"""
Two workers and a person look after triggers of one real store, in any order.

Hypothesis plays looks, emits, pauses, backfills, clocks that jump, and workers that die around
their commits, or are overtaken between a look and its decision. After each step what was started
is compared with `occasions`, key for key: each occasion has one instance, and none is lost.
"""

import random
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import Refused, StoreInDoubt
from statepipe.machine.triggers.events import Emitted
from statepipe.machine.triggers.schedules import Schedule
from statepipe.machine.triggers.trigger import Trigger
from statepipe.runtime.triggers.asking import missing
from statepipe.runtime.triggers.watch import Watch, registered
from statepipe.store.care import checks
from statepipe.store.file.opening import open_store
from statepipe.store.triggers import deciding
from statepipe.testing import ManualClock
from tests.runtime.triggered import at_ms, machine
from tests.spec.occasions import DAY_MS, HOUR_MS, Emits, Listener, Ticks
from tests.spec.playing import HOWS, PARTS, Died, dying, played, with_empty_store

SCHEDULES = {
    name: Trigger(name=f"{name}-missed", on=Schedule(cron="0 */2 * * *", catchup=name))
    for name in ("all", "last", "none")
}
ON_ORDER = Trigger(name="on-order", on=Emitted(event="order"), params={"key": "{event.key}"})
TRIGGERS = {each.name: each for each in (*SCHEDULES.values(), ON_ORDER)}
MACHINE = machine(*TRIGGERS.values())

SLOTS = st.integers(0, 1)
NAMES = st.sampled_from(sorted(TRIGGERS))
MINUTE_MS = 60_000
#: Nine days are more ticks than go into one transaction.
JUMPS_MS = [1, MINUTE_MS, HOUR_MS - MINUTE_MS, 2 * HOUR_MS, DAY_MS + HOUR_MS, 9 * DAY_MS]

_STARTED = """
SELECT t.name, t.position, o.key, i.n
  FROM machine_trigger t
  LEFT JOIN occasion o ON o.trigger = t.n
  LEFT JOIN instance i ON i.id = o.instance
"""


class Worker:
    """What one worker looks at triggers with."""

    def __init__(self, engine: Engine, clock: ManualClock, *, nth: int) -> None:
        self.store = open_store(engine._store.path, create=False, clock=clock)
        watched = registered(self.store, [engine._program(MACHINE.name)])
        draws = random.Random(nth)
        self.watch = Watch(self.store, watched, observers=engine._observers, rng=draws)

    def vanish(self) -> None:
        """Leave nothing but what is on the disk."""
        self.store.connection.close()
        if self.store._guard is not None:
            self.store._guard.close()


class Occasions(RuleBasedStateMachine):
    """The rules Hypothesis draws from."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = with_empty_store()
        self.clock = ManualClock(now_ms=at_ms("2026-03-01T00:30:00Z"))
        config = load_config(start=Path(self._folder.name), environ={})
        self.engine = Engine(config, machines=[MACHINE], clock=self.clock)
        self.workers: list[Worker | None] = [None, None]
        self.begun = 0
        now_ms = self.clock.now_ms()
        self.emits = Emits(0)
        self.triggers: dict[str, Listener] = {
            each.name: Ticks(now_ms, catchup=name) for name, each in SCHEDULES.items()
        } | {ON_ORDER.name: self.emits}

    @initialize()
    def first(self) -> None:
        """Begin with a worker: a trigger starts from when it is first seen."""
        self._worker(0)

    # ---- what happens -----------------------------------------------------------------

    @rule(slot=SLOTS)
    def look(self, slot: int) -> None:
        """Let a worker look; after it nothing is left that it should have started."""
        self._worker(slot).watch.turn()
        self._decide_all()

    @rule(key=st.sampled_from(["a", "b", "ключ", "d", "e", "f"]))
    def emit(self, key: str) -> None:
        """Emit an event; the first one of a key is an occasion."""
        self.engine.emit("order", key)
        self.emits.emitted.setdefault(key, self.clock.now_ms())

    @rule(ms=st.sampled_from(JUMPS_MS))
    def wait(self, ms: int) -> None:
        """Let time pass."""
        self.clock.advance(ms)

    @rule(ms=st.sampled_from(JUMPS_MS))
    def set_the_clock_back(self, ms: int) -> None:
        """Let the wall clock show again what it has shown."""
        self.clock.set_wall(self.clock.now_ms() - ms)

    # ---- faults -----------------------------------------------------------------------

    @rule(slot=SLOTS)
    def crash(self, slot: int) -> None:
        """Kill a worker between two looks."""
        self._bury(slot)

    @rule(slot=SLOTS, nth=st.integers(1, 5), how=st.sampled_from(HOWS))
    def crash_in_a_commit(self, slot: int, nth: int, how: str) -> None:
        """Kill a worker around one of its commits, or let its disk fail there."""
        worker = self._worker(slot)
        dying(worker.store, nth=nth, how=how)
        try:
            worker.watch.turn()
        except (Died, StoreInDoubt):
            pass
        else:
            self._decide_all()
        self._bury(slot)
        for name, (position, keys) in self._started().items():
            self.triggers[name].decide_until(keys, position, self.clock.now_ms())

    @rule(slot=SLOTS, name=st.none() | NAMES)
    def be_overtaken(self, slot: int, name: str | None) -> None:
        """Between a look and its decision another worker decides, or a person pauses a trigger."""
        worker, other = self._worker(slot), self._worker(1 - slot)
        decide = deciding.decide
        meanwhile = [True]

        def slow(*args: Any, **kwargs: Any) -> list[int] | None:  # noqa: ANN401  (as it is called)
            if meanwhile and meanwhile.pop():
                if name is None:
                    other.watch.turn()
                elif not self.triggers[name].paused:
                    self._pause(name)
            return decide(*args, **kwargs)

        with mock.patch.object(deciding, "decide", slow):
            worker.watch.turn()
        self._decide_all()

    # ---- people -----------------------------------------------------------------------

    @rule(name=NAMES)
    def pause(self, name: str) -> None:
        """Pause a trigger, unless it is paused."""
        if not self.triggers[name].paused:
            self._pause(name)
            return
        with pytest.raises(Refused):
            self.engine.triggers.pause(f"m.{name}", reason="a person")

    @rule(name=NAMES)
    def unpause(self, name: str) -> None:
        """Let a trigger go on: what came meanwhile is decided upon with the next look."""
        if self.triggers[name].paused:
            self.engine.triggers.unpause(f"m.{name}", reason="a person")
            self.triggers[name].paused = False

    @rule(name=NAMES, from_ms=st.sampled_from(JUMPS_MS), until_ms=st.sampled_from([0, HOUR_MS]))
    def backfill(self, name: str, from_ms: int, until_ms: int) -> None:
        """Start what a period of the past has not had, paused or not; no occasion has two."""
        now_ms = self.clock.now_ms()
        period = {"from_ms": now_ms - from_ms, "until_ms": now_ms - until_ms}
        found = missing(
            MACHINE, TRIGGERS[name], self.engine._store.connection, **period, now_ms=now_ms
        )
        made = self.engine.triggers.backfill(f"m.{name}", found.occasions, reason="a person")
        trigger = self.triggers[name]
        asked = trigger.between(**period)
        assert len(made) == len(asked - trigger.had)
        trigger.had |= asked

    # ---- what must hold ---------------------------------------------------------------

    @invariant()
    def each_occasion_has_one_instance(self) -> None:
        """Compare what was started with what must have been, and count the instances."""
        if self.begun:
            for name, (position, keys) in self._started().items():
                trigger = self.triggers[name]
                assert (keys, position) == (trigger.had, trigger.position), name

    def teardown(self) -> None:
        """Stop all faults: with the next look everything that is due is started."""
        try:
            for name in self.triggers:
                self.unpause(name=name)
            self.look(slot=1)
            self.each_occasion_has_one_instance()
            assert checks.violations(self.engine._store.connection) == []
        finally:
            for slot in (0, 1):
                self._bury(slot)
            self.engine.close()
            self._folder.cleanup()

    # ---- inside -----------------------------------------------------------------------

    def _worker(self, slot: int) -> Worker:
        worker = self.workers[slot]
        if worker is None:
            self.begun += 1
            worker = self.workers[slot] = Worker(self.engine, self.clock, nth=self.begun)
        return worker

    def _bury(self, slot: int) -> None:
        worker, self.workers[slot] = self.workers[slot], None
        if worker is not None:
            worker.vanish()

    def _pause(self, name: str) -> None:
        self.engine.triggers.pause(f"m.{name}", reason="a person")
        self.triggers[name].paused = True

    def _decide_all(self) -> None:
        for trigger in self.triggers.values():
            trigger.decide_all(self.clock.now_ms())

    def _started(self) -> dict[str, tuple[int, set[str]]]:
        """Return how far each trigger has come, and the keys that have an instance of their own."""
        connection = self.engine._store.connection
        started: dict[str, tuple[int, set[str]]] = {}
        numbers = set()
        for name, position, key, n in connection.execute(_STARTED):
            _, keys = started.setdefault(name, (int(position), set()))
            if key is not None:
                assert n is not None, "what was started is there"
                assert n not in numbers, "and started once"
                numbers.add(n)
                keys.add(key)
        ((instances,),) = connection.execute("SELECT count(*) FROM instance").fetchall()
        assert instances == len(numbers), "and none without an occasion"
        return started


@pytest.mark.timeout(600)  # a failure is made small before it is shown
@pytest.mark.parametrize("nth", range(2))
def test_any_order_starts_one_instance_for_each_occasion(nth: int) -> None:
    """None lost within its catchup and none doubled: 240 schedules in all."""
    played(Occasions, schedules=120, steps=20, nth=nth)


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_any_order_starts_one_instance_for_each_occasion_over_many_long_schedules() -> None:
    """The same, for an hour or so."""
    played(Occasions, schedules=20_000, steps=100, nth=PARTS)
