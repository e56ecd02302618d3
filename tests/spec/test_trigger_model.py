"""
Two workers and a person look after triggers that have more to start than one transaction takes.

What they do is what `starters` has; the clock jumps by days, and back, under schedules of every
second hour and each catchup. Nothing that is started is driven: that is `test_model.py`'s.
"""

from typing import get_args

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from statepipe.machine.triggers.events import Emitted
from statepipe.machine.triggers.schedules import Catchup, Schedule
from statepipe.machine.triggers.trigger import Trigger
from statepipe.store.care import checks
from statepipe.store.walk import emissions
from tests.runtime.triggered import at_ms, machine
from tests.spec.house import SLOTS
from tests.spec.occasions import DAY_MS, HOUR_MS, Emits, Ticks
from tests.spec.playing import PARTS, played
from tests.spec.starters import Starters

CATCHUPS: tuple[Catchup, ...] = get_args(Catchup)
MACHINE = machine(
    *(
        Trigger(name=f"{name}-missed", on=Schedule(cron="0 */2 * * *", catchup=name))
        for name in CATCHUPS
    ),
    Trigger(name="on-order", on=Emitted(event="order"), params={"key": "{event.key}"}),
)
MINUTE_MS = 60_000
#: Nine days are more ticks than go into one transaction.
JUMPS_MS = (1, MINUTE_MS, HOUR_MS - MINUTE_MS, 2 * HOUR_MS, DAY_MS + HOUR_MS, 9 * DAY_MS)


class Occasions(Starters):
    """The rules Hypothesis draws from."""

    periods_ms = (HOUR_MS, *JUMPS_MS)
    started_max = 10_000

    def __init__(self) -> None:
        self.orders = Emits()
        ticks = {f"m.{name}-missed": Ticks(catchup=name) for name in CATCHUPS}
        super().__init__(MACHINE, triggers={**ticks, "m.on-order": self.orders})
        self.clock.set_wall(at_ms("2026-03-01T00:30:00Z"))

    @initialize()
    def first(self) -> None:
        """Begin with a worker: a trigger starts from when it is first seen."""
        self.look(0)

    @rule(key=st.sampled_from(["a", "b", "ключ", "d", "e", "f"]))
    def emit(self, key: str) -> None:
        """Emit an event; the first one of a key is an occasion."""
        emissions.emit(self.people, "order", key, {}, reason=None)
        if key not in self.orders.there:
            self.orders.emitted(key, len(self.orders.there) + 1, self.clock.now_ms())

    @rule(ms=st.sampled_from(JUMPS_MS))
    def wait(self, ms: int) -> None:
        """Let time pass."""
        self.clock.advance(ms)

    @rule(ms=st.sampled_from(JUMPS_MS))
    def set_the_clock_back(self, ms: int) -> None:
        """Let the wall clock show again what it has shown."""
        self.clock.set_wall(self.clock.now_ms() - ms)

    @rule(slot=SLOTS)
    def crash(self, slot: int) -> None:
        """Kill a worker between two looks."""
        self.bury(slot)

    def teardown(self) -> None:
        """Stop all faults: with the next look everything that is due is started."""
        try:
            if self.declared:
                self._go_on()
                self.look(1)
                self.each_occasion_has_one_instance()
                assert checks.violations(self.people.connection) == []
        finally:
            self.close()


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
