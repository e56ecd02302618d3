"""
Instances with several tasks, driven by two processes in any order of deaths and commands.

Here nothing is predicted row by row: a parent may be woken at any moment. What must hold is
looked at instead: whoever is asked to stop, its tasks stop; whoever is taken back, its tasks
go on; no task begins twice, or before what it needs; and all of it ends.
"""

from typing import Literal

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from statepipe.errors import Busy, Refused
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.taskgraph import Graph, GraphTask
from statepipe.store.care import checks
from statepipe.store.codec import encode
from statepipe.store.steering import instances as steering
from statepipe.store.steering.instances import NewInstance
from statepipe.store.walk import asking, resuming
from tests.spec.house import PICK, SLOTS, House, answered
from tests.spec.machines import SETTINGS, decide
from tests.spec.playing import HOWS, PARTS, played

ACTS = st.sampled_from([*["ok"] * 4, "throttled", "fatal"])
WORK = st.lists(st.tuples(PICK, ACTS), min_size=2, max_size=6)
PARENTS = ("p0", "p1")
TASKS = ("a", "b", "c")
#: After so many steps all rules of the store are asked.
CHECK_EACH = 4


def machine() -> Machine:
    """Return a machine with three tasks in a state: `c` needs `a`."""
    retry = {"errors": ["Throttled"], "max_attempts": 2, "interval": "1s", "jitter": "none"}
    graph = Graph(
        tasks=tuple(
            GraphTask(name=name, function=decide, needs=needs, retry=retry, settings=SETTINGS)
            for name, needs in (("a", ()), ("b", ()), ("c", ("a",)))
        )
    )
    on = (Transition(event="ok", target="done"),)
    return Machine(
        name="family",
        initial="working",
        states=(State(name="working", task=graph, on=on), State(name="done", final="success")),
    )


MACHINE = machine()

_NOW = """
SELECT i.id, i.n, i.status, i.request, p.id, p.status
  FROM instance i
  LEFT JOIN child c ON c.instance = i.n
  LEFT JOIN instance p ON p.n = c.parent
 ORDER BY i.n
"""
_BEFORE_ITS_NEED = """
SELECT i.id
  FROM child c
  JOIN journal born ON born.instance = c.instance AND born.seq = 1
  JOIN instance i ON i.n = c.instance
 WHERE c.task = 'c'
   AND NOT EXISTS (SELECT 1 FROM child a
                     JOIN journal j ON j.instance = a.instance AND j.target = 'done'
                    WHERE a.parent = c.parent AND a.task = 'a' AND j.n < born.n)
"""


class Families(House):
    """The rules Hypothesis draws from."""

    def __init__(self) -> None:
        super().__init__(MACHINE)
        self.steps = 0
        #: What a person asked to pause by its own id: only a person takes it back.
        self.paused: set[str] = set()
        #: What a person took back by its own id: it may go on without its parent.
        self.alone: set[str] = set()

    @initialize(does=WORK)
    def first(self, does: list[tuple[int, str]]) -> None:
        """Start with one process at work on two parents."""
        program = self.scene.programs(self.boot(0).store)[0]
        steering.create(
            self.people,
            machine="family",
            definition=program.definition,
            initial="working",
            instances=[NewInstance(each, encode({})) for each in PARENTS],
        )
        self.work(0, does)

    # ---- what happens -----------------------------------------------------------------

    @rule(slot=SLOTS, does=WORK)
    def work(self, slot: int, does: list[tuple[int, str]]) -> None:
        """Let a process turn its wheel, and its tasks end between the turns."""
        self.boot(slot)
        for pick, act in does:
            self._turn(slot)
            self.act(slot, pick, act)

    @rule(slot=SLOTS, pick=PICK, act=ACTS)
    def act(self, slot: int, pick: int, act: str) -> None:
        """Let a task end; its process has yet to notice."""
        play = self.pick(slot, pick)
        if play is not None:
            play.finish(act)

    @rule(ms=st.sampled_from([1, 200, 1_000, 31_000, 61_000]))
    def wait(self, ms: int) -> None:
        """Let time pass; leases and timeouts with it."""
        self.clock.advance(ms)

    # ---- faults -----------------------------------------------------------------------

    @rule(slot=SLOTS)
    def crash(self, slot: int) -> None:
        """Kill a process between two turns."""
        self.bury(slot)

    @rule(slot=SLOTS, nth=st.integers(1, 3), how=st.sampled_from(HOWS))
    def crash_in_a_commit(self, slot: int, nth: int, how: str) -> None:
        """Kill a process around one of its commits, or let its disk fail there."""
        process = self.boot(slot)
        self.clock.advance(200)
        process.tick_and_die(nth=nth, how=how)
        self.bury(slot)

    @rule()
    def reboot(self) -> None:
        """Switch the machine off and on."""
        for slot in (0, 1):
            self.bury(slot)
        self.clock.reboot()

    # ---- people -----------------------------------------------------------------------

    @rule(pick=PICK, wish=st.sampled_from(["cancel", "pause", "kill"]))
    def wish(self, pick: int, wish: Literal["cancel", "pause", "kill"]) -> None:
        """Cancel or pause a parent, or one of its tasks."""
        rows = self._rows()
        name, _, _, _, parent, _ = rows[pick % len(rows)]
        answer = answered(
            asking.request, self.people, instance_id=name, wish=wish, reason="a person"
        )
        if wish == "pause" and parent is not None and answer is not Refused:
            self.paused.add(name)

    @precondition(lambda self: any(self.slots))
    @rule(pick=PICK)
    def resume(self, pick: int) -> None:
        """Resume a parent, or one of its tasks; refused only if it is done, or is driven."""
        rows = self._rows()
        name, *_, parent, _ = rows[pick % len(rows)]
        if parent is not None:
            self.alone.add(name)
        self._take_back(name)

    # ---- what must hold ---------------------------------------------------------------

    @invariant()
    def tasks_stop_with_their_parent(self) -> None:
        """Whoever is cancelled or paused has no task that nobody has told."""
        for name, _, status, asked, parent, of_parent in self._rows():
            if parent is None or name in self.alone or status in ("done", "failed", "cancelled"):
                continue
            if of_parent == "cancelled":
                assert asked == "cancel", name
            if of_parent == "paused" and name not in self.paused:
                assert status == "paused" or asked is not None, name

    @invariant()
    def nothing_is_broken(self) -> None:
        """Ask the store's own rules, now and then."""
        self.steps += 1
        if self.cli is not None and self.steps % CHECK_EACH == 0:
            assert checks.violations(self.people.connection) == []

    def teardown(self) -> None:
        """Stop all faults: within a bound everything ends, each task begun once."""
        try:
            if self.cli is not None:
                self._end_well()
                self._each_task_began_once()
        finally:
            self.close()

    # ---- inside -----------------------------------------------------------------------

    def _rows(self) -> list[tuple[str, int, str, str | None, str | None, str | None]]:
        return [] if self.cli is None else self.people.connection.execute(_NOW).fetchall()

    def _turn(self, slot: int) -> None:
        process = self.slots[slot]
        if process is not None:
            self.clock.advance(200)
            process.loop.tick()

    def _take_back(self, name: str) -> None:
        process = self.slots[0] or self.slots[1]
        assert process is not None
        n, status = next((n, status) for id_, n, status, *_ in self._rows() if id_ == name)
        if n in process.loop.drives:
            return
        taken = answered(
            resuming.claim_resume,
            process.store,
            process.worker,
            instance_id=name,
            reason=None,
            definition=None,
        )
        if taken in (Refused, Busy):
            assert (taken is Refused) == (status == "done"), name
            return
        process.loop.adopt(taken)
        self.paused.discard(name)

    def _end_well(self) -> None:
        self.boot(0)
        for _ in range(80):
            rows = self._rows()
            if all(status == "done" for _, _, status, *_ in rows):
                return
            self.clock.advance(2_000)
            for slot in (1, 0):
                self._turn(slot)
            for name, _, status, _, parent, _ in self._rows():
                # Its tasks are not taken back one by one: they go on with it.
                if status in ("failed", "cancelled", "paused") and (
                    parent is None or name in self.paused
                ):
                    self._take_back(name)
            for slot in (1, 0):
                for _ in range(len(PARENTS) * len(TASKS)):
                    self.act(slot, 0, "ok")
        raise AssertionError(f"still open: {self._rows()}")

    def _each_task_began_once(self) -> None:
        connection = self.people.connection
        begun = connection.execute(
            "SELECT p.id, c.task, i.status FROM child c JOIN instance p ON p.n = c.parent"
            " JOIN instance i ON i.n = c.instance ORDER BY 1, 2"
        ).fetchall()
        assert begun == [(parent, task, "done") for parent in PARENTS for task in TASKS]
        assert connection.execute(_BEFORE_ITS_NEED).fetchall() == []
        assert checks.violations(connection) == []


@pytest.mark.parametrize("noticed", [False, True])
def test_tasks_that_have_yet_to_pause_go_on_with_their_parent(*, noticed: bool) -> None:
    """Whether their driver has seen the pause or not: nobody would take them back later."""
    families = Families()
    families.first(does=[])
    for _ in range(4):
        families._turn(0)
    families.wish(pick=0, wish="pause")
    if noticed:
        families._turn(0)
    driver, families.slots[0] = families.slots[0], None
    families.boot(1)
    families._take_back("p0")
    families.slots[0] = driver
    for _ in range(len(TASKS) * len(PARENTS)):
        families.act(0, 0, "throttled")

    families.teardown()


@pytest.mark.timeout(600)  # a failure is made small before it is shown
@pytest.mark.parametrize("nth", range(2))
def test_any_order_ends_each_task_of_each_family_once(nth: int) -> None:
    """R3, R12, R15 for instances that do part of another one's work: 120 schedules in all."""
    played(Families, schedules=60, steps=20, nth=nth)


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_any_order_ends_each_task_of_each_family_once_over_many_long_schedules() -> None:
    """The same, for an hour or so."""
    played(Families, schedules=10_000, steps=100, nth=PARTS)
