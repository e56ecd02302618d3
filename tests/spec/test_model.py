"""
Two workers and a person over one real store, in any order, against the promises.

Hypothesis plays start, claim, batches, outcomes, crashes in the middle of commits, leases
that pass, reboots, clocks that jump, signals and emits, cancel, kill, pause, resume and rewind;
and triggers that are looked at, paused and filled in, on an event, a clock and partitions.
After each step every new row of the journal is judged by `promises`, every instance's row is
compared with its model, and each occasion has one instance (`starters`). At the end all faults
stop, and everything must end (R15), what is started meanwhile as well.

Triggers with more to start than one transaction takes are played by `test_trigger_model.py`,
states of several tasks by `test_family_model.py`.
"""

from typing import Any, Literal
from unittest import mock

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
)

from statepipe.errors import Busy, Refused
from statepipe.store.care import checks
from statepipe.store.codec import encode
from statepipe.store.steering import instances as steering
from statepipe.store.steering.instances import NewInstance
from statepipe.store.walk import asking, resuming
from tests.spec.house import PICK, SLOTS, answered
from tests.spec.machines import KEYS
from tests.spec.playing import HOWS, PARTS, played
from tests.spec.senders import EMITTED, Senders

ACTS = st.sampled_from([*["ok"] * 4, *["batch", "throttled"] * 2, "again", "fatal"])
WORK = st.lists(st.tuples(PICK, ACTS), min_size=3, max_size=12)
INSTANCES_MAX = 4


class Promises(Senders):
    """The rules Hypothesis draws from."""

    @initialize(does=WORK, looks=st.booleans())
    def first(self, does: list[tuple[int, str]], *, looks: bool) -> None:
        """Start with one process at work on two instances; perhaps it sees triggers at once."""
        self.boot(0)
        if looks:
            self.look(0)
        self.start()
        self.start()
        self.work(0, does)

    # ---- what happens -----------------------------------------------------------------

    @rule(slot=SLOTS)
    def start_process(self, slot: int) -> None:
        """Start a process where there is none."""
        self.boot(slot)

    @precondition(lambda self: len(self.instances) < INSTANCES_MAX)
    @rule()
    def start(self) -> None:
        """Create an instance."""
        name, key = f"i{len(self.instances)}", KEYS[len(self.instances) % 2]
        made = steering.create(
            self.people,
            machine="model",
            definition=self._programs()[0].definition,
            initial="extracting",
            instances=[NewInstance(name, encode({"key": key}))],
        )
        self._judge(None)
        assert list(made.numbers) == list(self.instances)[-1:]

    @rule(slot=SLOTS, does=WORK)
    def work(self, slot: int, does: list[tuple[int, str]]) -> None:
        """Let a process turn its wheel, and its tasks do something between the turns."""
        self.boot(slot)
        for pick, act in does:
            self._act(slot, pick, act)
            self.tick(slot)
            self.every_row_is_as_the_model_says()

    @rule(slot=SLOTS, pick=PICK, act=ACTS)
    def act(self, slot: int, pick: int, act: str) -> None:
        """Let a task do something that its process has yet to notice."""
        self._act(slot, pick, act)

    @rule(slot=SLOTS)
    def tick(self, slot: int) -> None:
        """Let a process turn its wheel; after it nothing is left that it should have taken."""
        process = self.slots[slot]
        if process is None:
            return
        self.clock.advance(200)
        begun = len(process.plays)
        process.loop.tick()
        if process.loop._group:  # decided once more: a loop turns at once, not after a while
            process.loop.tick()
        at = self._judge(process)
        if not process.ending:
            late = [each.id for each in self.instances.values() if each.is_claimable(at)]
            assert not late, f"{late} should be driven by now"
        for play in process.plays[begun:]:
            self._judge_call(play)

    # ---- faults -----------------------------------------------------------------------

    @rule(slot=SLOTS)
    def crash(self, slot: int) -> None:
        """Kill a process between two turns."""
        self.bury(slot)

    @rule(
        slot=SLOTS,
        nth=st.integers(1, 4),
        how=st.sampled_from(HOWS),
    )
    def crash_in_a_commit(self, slot: int, nth: int, how: str) -> None:
        """Kill a process around one of its commits, or let its disk fail there."""
        process = self.boot(slot)
        self.clock.advance(200)
        process.tick_and_die(nth=nth, how=how)
        self._judge(process)
        self.bury(slot)

    @rule(ms=st.sampled_from([1, 150, 999, 1_000, 2_000, 29_900, 31_000, 61_000]))
    def wait(self, ms: int) -> None:
        """Let time pass; leases and timeouts with it."""
        self.clock.advance(ms)

    @rule(ms=st.sampled_from([-86_400_000, -3_600_000, -1_000, 1_000, 3_600_000, 10**12]))
    def set_the_wall_clock(self, ms: int) -> None:
        """Let the wall clock jump; nothing may follow from it."""
        self.clock.set_wall(max(0, self.clock.now_ms() + ms))

    @rule(down_ms=st.sampled_from([1_000, 60_000, 86_400_000]))
    def reboot(self, down_ms: int) -> None:
        """Switch the machine off and on."""
        for slot in (0, 1):
            self.bury(slot)
        self.clock.reboot(down_ms=down_ms)

    @rule(slot=SLOTS)
    def stop(self, slot: int) -> None:
        """Ask a process to end in order."""
        process = self.slots[slot]
        if process is not None:
            process.stop()
            for _ in range(4):
                self.tick(slot)
            held = [each.id for each in self.instances.values() if each.holder == process.worker.n]
            assert not held, f"it kept {held}"
            self.bury(slot)

    @rule(slot=SLOTS, pick=PICK, event=st.sampled_from(EMITTED), is_emit=st.booleans())
    def be_told_meanwhile(self, slot: int, pick: int, event: str, *, is_emit: bool) -> None:
        """Send or emit between what a process has decided and its commit."""
        process = self.slots[slot]
        if process is None:
            return
        group, meanwhile = process.loop._group, [True]
        commit = group.commit

        def slow() -> Any:  # noqa: ANN401  (as it is)
            if meanwhile and meanwhile.pop():
                self._judge(process)
                if is_emit:
                    self.emit(key=self._any(pick).key, event=event)
                else:
                    self.signal(pick=pick, event=event)
            return commit()

        self.clock.advance(200)
        with mock.patch.object(group, "commit", slow):
            process.loop.tick()
        self._judge(process)
        self.tick(slot=slot)

    # ---- people -----------------------------------------------------------------------

    @rule(pick=PICK, wish=st.sampled_from(["cancel", "kill", "pause"]))
    def wish(self, pick: int, wish: Literal["cancel", "kill", "pause"]) -> None:
        """Cancel, kill or pause; the answer must be what the model expects, and the store says."""
        instance = self._any(pick)
        at = self._moment(None)
        refused = (
            instance.status in ("done", "cancelled")
            or (instance.status, wish) == ("failed", "pause")
            or (instance.status, wish) == ("paused", "pause")
            or (instance.request, wish) == ("cancel", "pause")  # a promised end stays promised
            or (instance.request == "kill" and wish != "kill")
        )
        driven = instance.is_driven(at)
        answer = answered(
            asking.request, self.people, instance_id=instance.id, wish=wish, reason="a person"
        )
        self._judge(None)
        assert answer is (Refused if refused else not driven)
        if answer is True:
            assert instance.status == ("paused" if wish == "pause" else "cancelled")
        elif answer is False:
            assert instance.request == wish

    @rule(slot=SLOTS, pick=PICK)
    def resume(self, slot: int, pick: int) -> None:
        """Resume by a process that is not driving it."""
        process = self.slots[slot]
        instance = self._any(pick)
        if process is None or process.ending or instance.n in process.loop.drives:
            return
        expected: object = None
        at = self._moment(process)
        if instance.status == "done":
            expected = Refused
        elif instance.holder != process.worker.n and instance.is_driven(at):
            expected = Busy
        elif instance.holder == process.worker.n:
            return  # its own, and lost by a fence it has not noticed: Engine waits for it
        answer = answered(
            resuming.claim_resume,
            process.store,
            process.worker,
            instance_id=instance.id,
            reason=None,
            definition=None,
        )
        self._judge(process)
        if expected is None:
            assert not isinstance(answer, type), answer
            process.loop.adopt(answer)
            assert instance.holder == process.worker.n
        else:
            assert answer is expected

    @rule(pick=PICK)
    def rewind(self, pick: int) -> None:
        """Rewind to the first state; refused only while a live process drives it."""
        instance = self._any(pick)
        driven = instance.is_driven(self._moment(None))
        answer = answered(
            steering.rewind,
            self.people,
            instance_id=instance.id,
            seq=instance.seq,
            state="extracting",
            picture=None,
            reason="a person",
        )
        self._judge(None)
        assert answer is (Busy if driven else None)

    def teardown(self) -> None:
        """Stop all faults: within a bound, everything ends (R15)."""
        try:
            if self.cli is not None:
                self._end_well()
                # Of rows that are never taken back: what broke a promise on the way is there now.
                assert checks.violations(self.people.connection) == [], "R2, R5, R17"
        finally:
            self.close()

    def _end_well(self) -> None:
        self.boot(0)
        for key in KEYS:
            self.emit(key=key, event="approved")
        self.look(0)
        self._go_on()
        for _ in range(60):
            self.look(0)
            self.each_occasion_has_one_instance()
            open_ones = [each for each in self.instances.values() if each.status != "done"]
            if not open_ones:
                return
            self.clock.advance(5_000)
            for slot in (1, 0):  # also the one that only slept, for it may hold slots
                self.tick(slot)
            for index, instance in enumerate(self.instances.values()):
                if instance.status in ("failed", "cancelled", "paused"):
                    self.resume(0, index)
            for slot in (1, 0):
                for _ in self.instances:
                    self._act(slot, 0, "ok")
            self.every_row_is_as_the_model_says()
        raise AssertionError(f"still open: {open_ones}")


@pytest.mark.timeout(600)  # a failure is made small before it is shown
@pytest.mark.parametrize("nth", range(PARTS))
def test_any_order_of_steps_faults_and_commands_keeps_the_promises(nth: int) -> None:
    """R2, R3, R6, R12 at each step, R15 at the end; with the other two models 2,000 schedules."""
    played(Promises, schedules=1_640 // PARTS, steps=20, nth=nth)


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_any_order_keeps_the_promises_over_many_long_schedules() -> None:
    """The same, for an hour or so."""
    played(Promises, schedules=20_000, steps=120, nth=PARTS)
