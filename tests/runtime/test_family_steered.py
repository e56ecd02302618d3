"""A state with several tasks, resumed, cancelled, paused, rewound; and one with another machine."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import Busy, DefinitionChanged, Refused
from statepipe.machine.definition import State, Transition
from statepipe.machine.parameter import Param
from statepipe.machine.partition import Partition
from statepipe.machine.states.taskgraph import Child, Graph
from statepipe.model import Change, Outcome, Task
from statepipe.runtime.driving.drive import Drive
from statepipe.testing import ManualClock
from tests.runtime.families import Scene, acting, machine_of, task, working

SOON_S = 30
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def test_a_resume_does_only_what_is_not_done(tmp_path: Path) -> None:
    """The others are not called again, and what waited for the failed one begins then."""
    called: list[str] = []
    is_broken = True

    def note(it: Task) -> None:
        called.append(it.name)
        if it.name == "b" and is_broken:
            raise RuntimeError("not yet")

    graph = Graph(tasks=(task("a", note), task("b", note), task("c", note, "b")))
    scene = Scene(tmp_path, machine_of(working(graph)))

    assert scene.run() == "failed"
    ((error,),) = scene.ask("SELECT error FROM instance WHERE id = 'i'")
    assert "b is failed: not yet" in error
    assert sorted(called) == ["a", "b"]
    assert scene.sound()

    is_broken = False
    called.clear()
    assert scene.resume() == "done"
    assert called == ["b", "c"]
    assert scene.sound()


def test_a_resumed_task_alone_goes_on_with_its_parent(tmp_path: Path) -> None:
    """Who resumes a task by its own id need not know of the parent, if that still waits."""
    is_broken = True
    entered, leave = threading.Event(), threading.Event()

    def slow(_it: Task) -> None:
        entered.set()
        assert leave.wait(SOON_S)

    def shaky(_it: Task) -> None:
        if is_broken:
            raise RuntimeError("not yet")

    graph = Graph(tasks=(task("slow", slow), task("shaky", shaky)))
    scene = Scene(tmp_path, machine_of(working(graph)))
    done: list[str] = []
    driver = threading.Thread(target=lambda: done.append(scene.run()))
    driver.start()
    try:
        assert entered.wait(SOON_S)
        while scene.children().get("i/work.shaky") != "failed":
            assert driver.is_alive()
        is_broken = False
        assert scene.resume("i/work.shaky") == "done"
    finally:
        leave.set()
        driver.join(SOON_S)
    assert done == ["done"]
    assert scene.sound()


def test_a_child_machine_that_is_named_goes_on_with_its_tasks(tmp_path: Path) -> None:
    """They are part of its work, though the instance at the top is another one."""
    is_broken = True

    def shaky(_it: Task) -> None:
        if is_broken:
            raise RuntimeError("not yet")

    graph = Graph(tasks=(task("a", lambda _: None), task("b", shaky), task("c", shaky, "b")))
    child = machine_of(working(graph), name="child")
    middle = machine_of(replace(working(Child(machine="child")), name="part"), name="middle")
    top = machine_of(replace(working(Child(machine="middle")), name="part"))
    scene = Scene(tmp_path, top, middle, child)
    assert scene.run() == "failed"
    is_broken = False

    assert scene.resume("i/part") == "done"
    assert scene.children()["i/part/part/work.c"] == "done"
    assert scene.sound()


def test_a_group_is_driven_with_what_its_partitions_begin(tmp_path: Path) -> None:
    """Tasks of a state, and theirs, are no partitions, but part of one's work."""
    called: list[str] = []
    graph = Graph(tasks=(task("a", lambda it: called.append(it.instance)),))
    parent = machine_of(
        working(Child(machine="child")),
        params=(Param(name="day"),),
        partition=Partition(by="list", source=lambda _: ["x", "y"]),
    )
    scene = Scene(tmp_path, parent, machine_of(working(graph), name="child"))

    with scene.engine() as engine:
        group = engine.groups.create("m", ["x", "y"])
        assert group is not None
        assert engine.groups.run(group) == "done"

    assert len(called) == 2
    assert scene.sound()


def test_a_timeout_of_the_state_stops_its_tasks(tmp_path: Path) -> None:
    """It ends with `timeout`; a task under way is asked to stop and ends cancelled."""

    def slow(it: Task) -> None:
        clock.advance(HOUR_MS)
        while not it.cancelled:
            threading.Event().wait(0.01)

    graph = Graph(tasks=(task("slow", slow),))
    scene = Scene(tmp_path, machine_of(working(graph, settings={"timeout": "1h"})))
    scene.clock = clock = ManualClock()

    assert scene.run() == "failed"
    with scene.engine() as engine:
        engine.work(["m"], until_idle=True)
    assert scene.children() == {"i/work.slow": "cancelled"}
    assert scene.ask("SELECT error_class FROM instance WHERE id = 'i'") == [("TaskTimeout",)]
    assert scene.sound()


def failing(_it: Task) -> None:
    """Fail, and be tried again in an hour."""
    raise RuntimeError("again")


PATIENT = {"interval": "1h", "max_attempts": 3, "errors": ["RuntimeError"]}


def test_a_cancel_reaches_the_tasks(tmp_path: Path) -> None:
    """The one under way is asked to stop, the one that waits for its next attempt does not."""
    entered = threading.Event()

    def slow(it: Task) -> None:
        entered.set()
        while not it.cancelled:
            threading.Event().wait(0.01)
        it.heartbeat()

    graph = Graph(tasks=(task("slow", slow), task("waits", failing, retry=PATIENT)))
    scene = Scene(tmp_path, machine_of(working(graph)))
    ended: list[str] = []
    driver = threading.Thread(target=lambda: ended.append(scene.run()))
    driver.start()
    assert entered.wait(SOON_S)
    with scene.engine() as other:
        assert other.cancel("i"), "nobody drives the parent"
    driver.join(SOON_S)

    assert ended == ["cancelled"]
    assert scene.children() == {"i/work.slow": "cancelled", "i/work.waits": "cancelled"}
    assert scene.sound()


def test_a_pause_reaches_the_tasks(tmp_path: Path) -> None:
    """The one under way comes to its boundary first; a resume lets the others go on."""
    entered, leave = threading.Event(), threading.Event()
    is_broken = True

    def slow(_it: Task) -> None:
        entered.set()
        assert leave.wait(SOON_S)

    def shaky(_it: Task) -> None:
        if is_broken:
            raise RuntimeError("again")

    graph = Graph(tasks=(task("slow", slow), task("waits", shaky, retry=PATIENT)))
    scene = Scene(tmp_path, machine_of(working(graph)))
    ended: list[str] = []
    driver = threading.Thread(target=lambda: ended.append(scene.run()))
    driver.start()
    assert entered.wait(SOON_S)
    with scene.engine() as other:
        assert other.pause("i"), "nobody drives the parent"
    leave.set()
    driver.join(SOON_S)
    assert ended == ["paused"]
    assert scene.children()["i/work.waits"] == "paused"

    is_broken = False
    assert scene.resume() == "done"
    assert set(scene.children().values()) == {"done"}
    assert scene.sound()


def test_a_child_is_no_instance_of_its_own(tmp_path: Path) -> None:
    """It cannot be parted from its parent, nor can that be put elsewhere meanwhile."""
    graph = Graph(tasks=(task("a", lambda _it: 1),))
    reading = acting("reading", lambda _it: 1, to="work")
    scene = Scene(tmp_path, machine_of(reading, working(graph)))
    scene.run()
    with scene.engine() as engine:
        with pytest.raises(Refused, match="part of the work of 'i'"):
            engine.rewind("i/work.a", to="a")
        with pytest.raises(Refused, match="part of the work of 'i'"):
            engine.copies.restart("i/work.a")
    assert scene.sound()


def test_a_rewound_state_does_all_its_tasks_again(tmp_path: Path) -> None:
    """In a new generation, by new children; those of the old one stay as they are."""
    called: list[str] = []
    graph = Graph(tasks=(task("a", lambda it: called.append(it.instance)),))
    scene = Scene(tmp_path, machine_of(working(graph), name="m"))
    assert scene.run() == "done"
    with scene.engine() as engine:
        engine.rewind("i", to="work")
        assert engine.run(["i"]) == {"i": "done"}

    assert called == ["i/work.a", "i/work.a~2"]
    assert scene.sound()


def test_another_machine_does_the_work(tmp_path: Path) -> None:
    """An instance of it is begun with the parameters, followed, and its results are the state's."""
    seen: dict[str, Any] = {}

    def count(it: Task) -> Outcome:
        return Outcome("ok", {"day": it.params["day"], "full": it.params["full"]})

    params = (Param(name="day", type="text"), Param(name="full", type="bool", default=False))
    child = machine_of(acting("counting", count), name="refresh", params=params)
    work = working(Child(machine="refresh", params={"day": "{params.day}", "full": True}), "after")
    after = acting("after", lambda it: seen.update(it.results))
    parent = machine_of(work, after, params=(Param(name="day", type="text"),))
    scene = Scene(tmp_path, parent, child)

    assert scene.run(day="monday") == "done"
    assert seen == {"work": {"counting": {"day": "monday", "full": True}}}
    assert scene.children() == {"i/work": "done"}
    assert scene.sound()


def test_a_failed_machine_fails_its_parent_and_is_resumed_with_it(tmp_path: Path) -> None:
    """From where it failed, not from its start."""
    called: list[str] = []
    is_broken = True

    def second(it: Task) -> None:
        called.append(it.state)
        if is_broken:
            raise RuntimeError("not yet")

    first = acting("first", lambda it: called.append(it.state), to="second")
    child = machine_of(first, acting("second", second), name="refresh")
    scene = Scene(tmp_path, machine_of(working(Child(machine="refresh"))), child)

    assert scene.run() == "failed"
    is_broken = False
    assert scene.resume() == "done"
    assert called == ["first", "second", "second"]
    assert scene.sound()


def test_a_parent_cannot_be_rewound_while_others_work_for_it(tmp_path: Path) -> None:
    """They would go on for a stay that is over."""
    entered, leave = threading.Event(), threading.Event()

    def slow(_it: Task) -> None:
        entered.set()
        assert leave.wait(SOON_S)

    scene = Scene(tmp_path, machine_of(working(Graph(tasks=(task("slow", slow),)))))
    driver = threading.Thread(target=scene.run)
    driver.start()
    try:
        assert entered.wait(SOON_S)
        with scene.engine() as engine, pytest.raises(Busy, match="part of the work"):
            engine.rewind("i", to="work")
    finally:
        leave.set()
        driver.join(SOON_S)
    assert scene.sound()


def test_what_has_not_done_its_work_goes_on_by_the_machine_as_it_is_now(tmp_path: Path) -> None:
    """If its parent was resumed with the machine of now; what is done stays done."""
    called: list[str] = []

    def first(_it: Task) -> int:
        called.append("first")
        return 1

    def broken(_it: Task) -> None:
        called.append("broken")
        raise RuntimeError("wrong code")

    def mended(_it: Task) -> None:
        called.append("mended")

    scene = Scene(tmp_path, machine_of(working(Graph(tasks=(task("a", first), task("b", broken))))))
    assert scene.run() == "failed"
    scene.machines = (machine_of(working(Graph(tasks=(task("a", first), task("b", mended))))),)
    with pytest.raises(DefinitionChanged):
        scene.resume()

    called.clear()
    assert scene.resume(definition="latest") == "done"
    assert called == ["mended"]
    assert scene.sound()


def test_a_task_that_was_taken_out_of_the_machine_holds_nobody_up(tmp_path: Path) -> None:
    """The others go on by the machine of now; it is asked to stop once they are done."""
    called = threading.Barrier(3)
    is_broken = True

    def shaky(_it: Task) -> None:
        if is_broken:
            called.wait(SOON_S)
            raise RuntimeError("again")

    stays, gone = (task(name, shaky, retry=PATIENT) for name in ("stays", "gone"))
    scene = Scene(tmp_path, machine_of(working(Graph(tasks=(gone, stays)))))
    ended: list[str] = []
    driver = threading.Thread(target=lambda: ended.append(scene.run()))
    driver.start()
    called.wait(SOON_S)
    with scene.engine() as other:
        assert other.pause("i"), "nobody drives the parent"
    driver.join(SOON_S)
    assert ended == ["paused"]

    scene.machines = (machine_of(working(Graph(tasks=(stays,)))),)
    is_broken = False
    assert scene.resume(definition="latest") == "done"
    assert scene.children()["i/work.stays"] == "done"
    assert scene.sound()


def test_a_resume_leaves_the_tasks_of_an_earlier_stay_alone(tmp_path: Path) -> None:
    """The new stay has begun none of its own yet, and those of the old one are nobody's work."""
    broken = Graph(tasks=(task("shaky", failing, retry={"max_attempts": 1}),))
    back = (Transition(event="ok", target="done"), Transition(event="error", target="breath"))
    work = State(name="work", task=broken, on=back)
    scene = Scene(tmp_path, machine_of(work, acting("breath", lambda _: None, to="work")))

    def pause_on_return(drive: Drive, change: Change) -> None:
        if drive.id == "i" and change.source == "breath" and change.state == "work":
            other.pause("i")

    scene.also = pause_on_return
    with scene.engine() as other:
        assert scene.run() == "paused"
        other.unpause("i")
    assert scene.children() == {"i/work.shaky": "failed"}
    assert scene.sound()


def test_a_resume_takes_a_cancel_back_that_nobody_has_obeyed_yet(tmp_path: Path) -> None:
    """A task whose parent took too long goes on with it, if no process drove it meanwhile."""
    patient = True

    def waits(_it: Task) -> None:
        if patient:
            raise RuntimeError("again")

    def pass_time(drive: Drive, change: Change) -> None:
        if drive.id == "i/work.waits" and change.detail and change.detail.kind == "retry":
            clock.advance(MINUTE_MS)

    graph = Graph(tasks=(task("waits", waits, retry=PATIENT),))
    scene = Scene(tmp_path, machine_of(working(graph, settings={"timeout": "1m"})))
    scene.clock = clock = ManualClock()
    scene.also = pass_time

    assert scene.run() == "failed"
    assert scene.children() == {"i/work.waits": "ready"}
    patient = False
    assert scene.resume() == "done"
    assert scene.sound()
