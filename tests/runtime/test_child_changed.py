"""A child machine that was changed while its instance did part of another one's work."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from statepipe.engine import Engine
from statepipe.errors import DefinitionChanged
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.parameter import Param
from statepipe.machine.partition import Partition
from statepipe.machine.states.taskgraph import Child, Graph
from statepipe.machine.states.waits import Wait
from statepipe.model import Change, Task
from statepipe.runtime.driving.drive import Drive
from statepipe.store.walk import children
from statepipe.store.walk.children import Adoption
from tests.runtime.families import Scene, acting, machine_of, task, working

PARENT = machine_of(working(Child(machine="child")))
PATIENT = {"max_attempts": 1}


def waiting(name: str = "asked", to: str = "last") -> State:
    """Return a state that waits for the event `yes`."""
    on = (Transition(event="yes", target=to),)
    return State(name=name, task=Wait(events=("yes",), ms=3_600_000), on=on)


def nothing(_it: Task) -> None:
    """Do nothing."""


def asking(*states: State, name: str = "child") -> Machine:
    """Return the child machine: it waits, and ends; `states` are those of it in another version."""
    return machine_of(*(states or (waiting(), acting("last", nothing))), name=name)


def longer(called: list[str]) -> Machine:
    """Return it with a state more, which says that it was called."""
    extra = acting("extra", lambda it: called.append(it.instance), to="last")
    return asking(waiting(to="extra"), extra, acting("last", nothing))


RENAMED = asking(waiting("renamed"), acting("last", nothing))


def waits(scene: Scene) -> None:
    """Let instance `i` of the parent wait for its child, which waits for `yes`."""
    with scene.engine() as engine:
        engine.create("m", instance_id="i")
        engine.work(until_idle=True)
    assert scene.children() == {"i/work": "ready"}


def rows(scene: Scene) -> list[tuple[object, ...]]:
    """Return where each instance stands."""
    return scene.ask("SELECT id, seq, status, state, definition FROM instance ORDER BY id")


def resumed(engine: Engine) -> None:
    """Resume the parent as it is."""
    engine.resume(["i"])


def run(engine: Engine) -> None:
    """Drive the parent as it is."""
    engine.run(["i"])


def retried(engine: Engine) -> None:
    """Retry the child."""
    engine.retry("i", "i/work")


def child_resumed(engine: Engine) -> None:
    """Resume the child itself."""
    engine.resume(["i/work"])


def unpaused(engine: Engine) -> None:
    """Let the parent go on, which is paused."""
    engine.unpause("i")


@pytest.mark.parametrize("changed", [longer([]), RENAMED], ids=["longer", "renamed"])
@pytest.mark.parametrize("way", [resumed, run, retried, child_resumed, unpaused])
def test_who_names_it_is_refused(
    tmp_path: Path, changed: Machine, way: Callable[[Engine], None]
) -> None:
    """It says which machine has changed and what to do; nothing moves."""
    scene = Scene(tmp_path, PARENT, asking())
    waits(scene)
    if way is unpaused:
        with scene.engine() as engine:
            engine.pause("i")
    scene.machines = (PARENT, changed)
    before = rows(scene)

    with scene.engine() as engine, pytest.raises(DefinitionChanged, match="'child' changed") as no:
        way(engine)

    who = "i/work" if way is child_resumed else "i"
    latest = f"statepipe resume {who} --definition latest"
    assert (latest in str(no.value.next_step)) is (changed is not RENAMED)
    assert rows(scene) == before
    assert scene.sound()


@pytest.mark.parametrize("changed", [longer([]), RENAMED], ids=["longer", "renamed"])
@pytest.mark.parametrize("steered", [False, True])
def test_a_worker_leaves_it_alone(tmp_path: Path, changed: Machine, *, steered: bool) -> None:
    """Also when its parent was paused meanwhile; once the machine is back it goes on."""
    scene = Scene(tmp_path, PARENT, asking())
    waits(scene)
    (before,) = scene.ask("SELECT state, definition FROM instance WHERE id = 'i/work'")
    if steered:
        with scene.engine() as engine:
            engine.pause("i")
            engine.unpause("i")
    scene.machines = (PARENT, changed)

    with scene.engine() as engine:
        engine.signal("i/work", "yes")
        engine.work(until_idle=True)

    assert scene.ask("SELECT state, definition FROM instance WHERE id = 'i/work'") == [before]
    assert scene.ask("SELECT 1 FROM journal WHERE event = 'adopt'") == []
    scene.machines = (PARENT, asking())
    assert scene.resume() == "done"
    assert scene.sound()


@pytest.mark.parametrize("changes", [False, True])
def test_it_goes_on_as_it_is_now_if_its_parent_is_told_so(tmp_path: Path, *, changes: bool) -> None:
    """In the transaction of that resume, whether the parent's own machine has changed or not."""
    called: list[str] = []
    scene = Scene(tmp_path, PARENT, asking())
    waits(scene)
    parent = machine_of(working(Child(machine="child")), version=2) if changes else PARENT
    scene.machines = (parent, longer(called))

    with scene.engine() as engine:
        engine.signal("i/work", "yes")
        assert engine.resume(["i"], definition="latest") == {"i": "done"}

    assert called == ["i/work"]
    adopted = "SELECT id, note FROM journal j JOIN instance i ON i.n = j.instance"
    note = "as its machine is now, with its parent"
    assert (
        "i/work",
        note,
    ) in scene.ask(f"{adopted} WHERE event = 'adopt'")
    assert scene.sound()


def test_a_state_that_is_gone_is_refused_with_the_machine_as_it_is_now(tmp_path: Path) -> None:
    """Its child can go on only with what has the state that it rests in."""
    scene = Scene(tmp_path, PARENT, asking())
    waits(scene)
    scene.machines = (PARENT, RENAMED)
    before = rows(scene)

    with scene.engine() as engine:
        for each in ("i", "i/work"):
            with pytest.raises(DefinitionChanged, match="'child' changed") as no:
                engine.resume([each], definition="latest")
            assert "restore the machine as it was" in str(no.value.next_step)

    assert rows(scene) == before


def test_of_one_that_failed_likewise(tmp_path: Path) -> None:
    """It is taken back with its parent, or not at all."""
    calls: list[str] = []

    def shaky(it: Task) -> None:
        calls.append(it.state)
        if len(calls) == 1:
            raise RuntimeError("not yet")

    first = State(
        name="first",
        task=acting("first", shaky).task,
        on=(Transition(event="ok", target="done"),),
        settings={"executor": "thread"},
        retry=PATIENT,
    )
    scene = Scene(tmp_path, PARENT, asking(first))
    assert scene.run() == "failed"
    scene.machines = (PARENT, machine_of(first, name="child", version=2))
    before = rows(scene)

    with scene.engine() as engine, pytest.raises(DefinitionChanged, match="'child' changed"):
        engine.resume(["i"])
    assert rows(scene) == before

    assert scene.resume(definition="latest") == "done"
    assert calls == ["first", "first"]
    assert scene.sound()


def test_a_child_of_a_child_goes_on_too(tmp_path: Path) -> None:
    """And the tasks of one that goes on by its machine of now, which nobody had begun."""
    called: list[str] = []
    middle = machine_of(working(Child(machine="child")), name="middle")
    top = machine_of(replace(working(Child(machine="middle")), name="part"))
    scene = Scene(tmp_path, top, middle, asking())
    with scene.engine() as engine:
        engine.create("m", instance_id="i")
        engine.work(until_idle=True)
        assert scene.children() == {"i/part": "ready", "i/part/work": "ready"}
    scene.machines = (top, machine_of(*middle.states[:1], name="middle", version=2), longer(called))

    with scene.engine() as engine:
        engine.signal("i/part/work", "yes")
        with pytest.raises(DefinitionChanged, match="'middle' changed"):
            engine.resume(["i"])
        assert engine.resume(["i"], definition="latest") == {"i": "done"}

    assert called == ["i/part/work"]
    assert scene.sound()


def test_the_tasks_of_a_child_go_on_with_it(tmp_path: Path) -> None:
    """They are part of its definition: it looks at them at once, whatever its timer says."""
    called: list[str] = []
    slow = {"errors": ["*"], "max_attempts": 5, "interval": "1ms", "jitter": "none"}

    def broken(_it: Task) -> None:
        called.append("broken")
        raise RuntimeError("again")

    def mended(_it: Task) -> None:
        called.append("mended")

    def child_of(function: Callable[[Task], None]) -> Machine:
        graph = Graph(tasks=(task("a", function, retry=slow),))
        return machine_of(working(graph, settings={"timeout": "1d"}), name="child")

    parent = machine_of(replace(working(Child(machine="child")), name="part"))
    scene = Scene(tmp_path, parent, child_of(broken))
    with scene.engine() as engine:

        def stop_then(_drive: Drive, change: Change) -> None:
            if change.event == "error":
                engine.stop("it waits for its next try")

        scene.also = stop_then
        engine.create("m", instance_id="i")
        engine.work()
    assert scene.children() == {"i/part": "ready", "i/part/work.a": "ready"}
    scene.also = None
    scene.machines = (parent, child_of(mended))
    assert scene.resume(definition="latest") == "done"

    assert called == ["broken", "mended"]
    assert scene.sound()


def test_partitions_of_a_group_likewise(tmp_path: Path) -> None:
    """None of them is taken back, or each with its child."""
    called: list[str] = []
    days = Partition(by="list", source=lambda _: ["a", "b"])
    parent = machine_of(
        working(Child(machine="child")), params=(Param(name="day"),), partition=days
    )
    scene = Scene(tmp_path, parent, asking())
    with scene.engine() as engine:
        group = engine.groups.create("m", ["a", "b"], group_id="g")
        assert group is not None
        engine.work(until_idle=True)
    parts = sorted(scene.children())
    assert len(parts) == 2
    scene.machines = (parent, longer(called))
    before = rows(scene)

    with scene.engine() as engine:
        for way in (engine.groups.run, engine.groups.resume):
            with pytest.raises(DefinitionChanged, match="'child' changed"):
                way(group)
        assert rows(scene) == before
        for each in parts:
            engine.signal(each, "yes")
        assert engine.groups.resume(group, adopts=True) == (2, "done")

    assert sorted(called) == parts
    assert scene.sound()


def astray(scene: Scene) -> None:
    """Let the child of `i` be in a state that its machine does not have."""
    waits(scene)
    scene.machines = (PARENT, RENAMED)
    with scene.engine() as engine:
        engine.create("child", instance_id="other")
        ((number,),) = scene.ask("SELECT max(n) FROM definition")
        ((n, seq),) = scene.ask("SELECT n, seq FROM instance WHERE id = 'i/work'")
        with engine._store.write() as connection:
            children.adopt(connection, [Adoption(n, seq, number)], at_ms=1)


@pytest.mark.parametrize("way", [resumed, run, retried, child_resumed])
def test_a_state_that_its_machine_does_not_have_is_no_place_to_go_on_in(
    tmp_path: Path, way: Callable[[Engine], None]
) -> None:
    """However it came there, it is refused, and what to do is said."""
    scene = Scene(tmp_path, PARENT, asking())
    astray(scene)
    before = rows(scene)

    with scene.engine() as engine:
        with pytest.raises(DefinitionChanged, match="'child' has no state 'asked', in which"):
            way(engine)
        with pytest.raises(DefinitionChanged, match="'child' has no state 'asked', in which"):
            engine.resume(["i"], definition="latest")

    assert rows(scene) == before


def test_a_worker_lets_it_fail_and_goes_on_with_others(tmp_path: Path) -> None:
    """Its state is that of its failure: with the machine that has it, it goes on."""
    scene = Scene(tmp_path, PARENT, asking())
    astray(scene)

    with scene.engine() as engine:
        engine.signal("other", "yes")
        engine.signal("i/work", "yes")
        engine.work(until_idle=True)

    status = dict(scene.ask("SELECT id, status FROM instance"))
    assert status == {"i": "failed", "i/work": "failed", "other": "done"}
    failed = "SELECT failed_state, error_class, error FROM instance WHERE id = 'i/work'"
    said = "machine 'child' has no state 'asked', in which 'i/work' rests"
    assert scene.ask(failed) == [("asked", "DefinitionChanged", said)]
    assert scene.sound()
    scene.machines = (PARENT, asking())
    with scene.engine() as engine:
        with pytest.raises(DefinitionChanged, match="changed since 'i/work' began"):
            engine.resume(["i"])
        assert engine.resume(["i"], definition="latest") == {"i": "done"}
    assert scene.sound()
