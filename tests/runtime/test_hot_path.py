"""
The short cuts of the walk: what is worked out beforehand, who goes first, what is heard again.

A short cut must lead where the long way leads, or not exist.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import TaskCancelled
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Load, Run
from statepipe.machine.table import Table
from statepipe.model import Checkpoint, Status, Task
from statepipe.policy import ExecutorKind, Policy
from statepipe.runtime.driving.agenda import Agenda
from statepipe.runtime.driving.deadlines import Deadlines
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.inbox import Finished, Inbox, Question
from statepipe.runtime.driving.permits import Permits
from statepipe.runtime.driving.pools import Pools
from statepipe.runtime.driving.waiting import Waiting
from statepipe.runtime.output.capture import Capture, Outbox
from statepipe.runtime.program import Part, PlainMove, Program
from statepipe.testing import ManualClock
from tests.store import stores


@pytest.fixture(autouse=True)
def _stores_are_closed() -> Iterator[None]:
    """Close the stores a test has opened."""
    yield
    stores.close_all()


def nothing(task: Task) -> None:
    """Do nothing."""
    del task


def program(
    *states: State, executors: Mapping[str, ExecutorKind] | None = None, load: str = ""
) -> Program:
    """Return a machine of these states, ready to be driven."""
    ends = (State(name="done", final="success"), State(name="failed", final="failure"))
    machine = Machine(name="short", initial=states[0].name, states=(*states, *ends))
    parts = {
        state.name: Part(
            work="load" if state.name == load else "run",
            policy=Policy(executor=(executors or {}).get(state.name, "thread")),
            policy_digest="0123456789abcdef",
            call={},
        )
        for state in states
    }
    return Program(
        name="short",
        definition=1,
        table=Table.compile(machine),
        parts=parts,
        policies={},
        deadline_ms=None,
    )


def permits_of(folder: Path) -> Permits:
    """Return the permits of a worker of a store in `folder`."""
    store = stores.opened(folder)
    return Permits(store, stores.registered(store), Agenda(store.clock), staged_bytes_max=None)


def acting(name: str, *on: Transition) -> State:
    """Return a state that runs something."""
    return State(name=name, task=Run(function=nothing), on=on)


def drive(of: Program, n: int, state: str) -> Drive:
    """Return an instance at rest in `state`."""
    facts: dict[str, Any] = dict.fromkeys(Checkpoint._fields)
    facts |= {"n": n, "id": f"i{n}", "params": b"\x80", "state": state, "epoch": 1, "seq": 1}
    facts |= {"generation": 1, "attempt": 0, "lost": 0, "batches": 0, "entered_at_ms": 0}
    facts["priority"] = 0
    return Drive(Checkpoint(**facts), of)


def test_a_plain_move_leads_where_the_rules_lead() -> None:
    """Every move worked out beforehand is what the table decides, whatever the facts."""
    of = program(
        acting("first", Transition(event="ok", target="second")),
        acting(
            "second", Transition(event="ok", target="done"), Transition(event="odd", target="third")
        ),
        acting("third", Transition(event="ok", target="done")),
    )

    assert of.plain == {
        ("first", "ok"): PlainMove("second", Status.READY),
        ("second", "ok"): PlainMove("done", Status.DONE),
        ("second", "odd"): PlainMove("third", Status.READY),
        ("third", "ok"): PlainMove("done", Status.DONE),
    }
    for (state, event), plain in of.plain.items():
        assert of.table.decide(state, event, {}) == plain.target


def test_a_guarded_counted_failing_or_planning_move_is_not_plain() -> None:
    """Each of them depends on the instance, or writes more than a plain move does."""
    to_load = State(
        name="loading",
        task=Load(to="sqlite:///w.db", table="t", key=("id",)),
        on=(Transition(event="ok", target="done"),),
    )
    of = program(
        acting(
            "first",
            Transition(event="ok", target="second", when="attempt > 1"),
            Transition(event="ok", target="third"),
            Transition(event="bad", target="failed"),
        ),
        acting(
            "second",
            Transition(event="again", target="first", max_visits=2),
            Transition(event="ok", target="loading"),
        ),
        acting("third", Transition(event="ok", target="done")),
        to_load,
        load="loading",
    )

    assert of.plain == {
        ("third", "ok"): PlainMove("done", Status.DONE),
        ("loading", "ok"): PlainMove("done", Status.DONE),
    }


def test_a_full_executor_holds_up_only_its_own(tmp_path: Path) -> None:
    """Those for another kind go on, in the order they came."""
    of = program(
        acting("slow", Transition(event="ok", target="light")),
        acting("light", Transition(event="ok", target="done")),
        executors={"slow": "process", "light": "thread"},
    )
    pools = Pools(processes=1, threads=8)
    pools.busy["process"] = 1
    waiting = Waiting(pools.slots, permits_of(tmp_path))
    states = ("slow", "light", "slow", "light")
    drives = [drive(of, n, state) for n, state in enumerate(states)]
    for each in drives:
        waiting.put(each)

    assert waiting.next(pools) is drives[1]
    assert waiting.next(pools) is drives[3]
    assert waiting.next(pools) is None

    pools.busy["process"] = 0

    assert waiting.next(pools) is drives[0]


def test_one_that_wants_to_be_let_go_needs_no_executor(tmp_path: Path) -> None:
    """A cancel or a pause does not wait behind work for which there is no room."""
    of = program(acting("slow", Transition(event="ok", target="done")))
    pools = Pools(threads=1)
    pools.busy["thread"] = 1
    waiting = Waiting(pools.slots, permits_of(tmp_path))
    first, second = drive(of, 1, "slow"), drive(of, 2, "slow")
    waiting.put(first)
    waiting.put(second)

    waiting.hurry(second)
    assert waiting.next(pools) is None

    second.wish = "cancel"
    waiting.hurry(second)

    assert waiting.next(pools) is second
    assert waiting.next(pools) is None


def test_what_is_kept_is_heard_again_first_and_nothing_twice() -> None:
    """A message that came while a change was under way keeps its place."""
    of = program(acting("slow", Transition(event="ok", target="done")))
    inbox = Inbox()
    silent = Capture(Outbox(ManualClock()), (1, 1, 1, "slow", 1))
    ended = Finished(drive(of, 1, "slow"), "thread", silent, inbox)
    future: Future[Mapping[str, Any]] = Future()
    future.add_done_callback(ended)
    question = Question(drive(of, 2, "slow"), 0, {"ask": "beat"})

    inbox.put(question)
    assert inbox.take(wait_ms=0, limit=8) == [question]
    inbox.keep(question)
    future.set_result({})

    assert inbox.take(wait_ms=0, limit=1) == [question]
    assert inbox.take(wait_ms=0, limit=8) == [ended]
    assert ended.future is future
    assert inbox.take(wait_ms=0, limit=8) == []


def test_nobody_waits_for_an_answer_of_a_loop_that_ends() -> None:
    """Whoever asks is told to stop, kept questions included."""
    of = program(acting("slow", Transition(event="ok", target="done")))
    inbox = Inbox()
    questions = [Question(drive(of, n, "slow"), 0, {"ask": "beat"}) for n in range(3)]
    inbox.keep(questions[0])
    inbox.put(questions[1])
    inbox.put(questions[2])

    inbox.refuse_all()

    for question in questions:
        with pytest.raises(TaskCancelled):
            question.wait()


def test_two_drives_of_one_instance_may_be_due_at_the_same_moment() -> None:
    """A lease passed, a rewind took it away, it was claimed again: all within a millisecond."""
    of = program(acting("a", Transition(event="ok", target="done")))
    deadlines = Deadlines(ManualClock())
    first, second = drive(of, 1, "a"), drive(of, 1, "a")

    for each in (first, second):
        each.future = Future()
        deadlines.watch(each)

    assert deadlines.next_ms() == first.part.policy.timeout_ms
