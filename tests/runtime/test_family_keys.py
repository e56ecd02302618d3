"""A child machine that has a key: it waits for it, is skipped, or has the others cancelled."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from statepipe.engine import Engine
from statepipe.errors import Busy
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.parameter import Param
from statepipe.machine.states.taskgraph import Child
from statepipe.machine.states.tasks import Run
from statepipe.machine.states.waits import Wait
from statepipe.model import Task
from statepipe.runtime.reasons.standing import reasons
from statepipe.sharing import Concurrency, Sharing
from statepipe.store.questions.evidence import evidence
from statepipe.store.reading import Reader
from statepipe.terms import Behavior
from statepipe.testing import ManualClock
from tests.runtime.families import THREAD, Scene, acting, machine_of, working

SOON_S = 30
DAY = Param(name="day", default="x")
HOUR_MS = 3_600_000
TO_DONE = (Transition(event="ok", target="done"),)


def nothing(_: Task) -> None:
    """Do nothing."""


def child_of(behavior: Behavior = "queue", **more: Any) -> Machine:  # noqa: ANN401  (passed on as it is)
    """Return a machine that waits for somebody to say `go`; one at a time of a day."""
    waiting = State(
        name="waiting",
        task=Wait(events=("go",), ms=HOUR_MS),
        on=(Transition(event="go", target="then"),),
    )
    sharing = Sharing(concurrency=Concurrency(key="{params.day}", behavior=behavior), **more)
    return machine_of(
        waiting, acting("then", nothing), name="child", params=(DAY,), sharing=sharing
    )


def parent_of(*on: Transition, **more: Any) -> Machine:  # noqa: ANN401  (passed on as it is)
    """Return a machine whose work is done by the other one."""
    state = State(name="work", task=Child(machine="child"), on=(*TO_DONE, *on))
    return machine_of(state, **more)


def held(scene: Scene, parent: str = "i") -> Engine:
    """Let `x` have the key and rest, and a parent come to the state of its child."""
    engine = scene.engine()
    engine.create("child", instance_id="x")
    engine.work(until_idle=True)
    engine.create("m", instance_id=parent)
    engine.work(until_idle=True)
    return engine


def go(engine: Engine, instance: str) -> None:
    """Tell an instance to go on, and drive what can be driven."""
    engine.signal(instance, "go")
    engine.work(until_idle=True)


def statuses(scene: Scene) -> dict[str, str]:
    """Return the status of each instance."""
    return dict(scene.ask("SELECT id, status FROM instance ORDER BY n"))


def test_a_child_waits_for_its_key_and_its_parent_rests(tmp_path: Path) -> None:
    """Nobody drives either; it goes on when the other one has ended, and `why` says for whom."""
    scene = Scene(tmp_path, parent_of(), child_of())
    with held(scene) as engine:
        sql = "SELECT awaits_turn, worker, concurrency_key FROM instance WHERE id = 'i/work'"
        assert scene.ask(sql) == [(1, None, "child:x")]
        with Reader(scene.config.store) as reader:
            said = [each.text for each in reasons(evidence(reader, "i/work"), now_ms=0)]
        assert "it waits for its turn: 'x', its key of child, is held by x" in said

        go(engine, "x")
        assert scene.ask(sql) == [(0, None, "child:x")]
        go(engine, "i/work")

    assert statuses(scene) == {"x": "done", "i": "done", "i/work": "done"}
    assert scene.sound()


def test_a_child_of_another_day_does_not_wait(tmp_path: Path) -> None:
    """The key is that of the parameters that it is given."""
    parent = machine_of(
        State(name="work", task=Child(machine="child", params={"day": "{params.day}"}), on=TO_DONE),
        params=(Param(name="day", default="y"),),
    )
    scene = Scene(tmp_path, parent, child_of())
    with held(scene) as engine:
        go(engine, "i/work")

    assert statuses(scene) == {"x": "ready", "i": "done", "i/work": "done"}
    assert scene.sound()


def test_a_child_that_is_skipped_leads_where_its_parent_says(tmp_path: Path) -> None:
    """No instance is made; the journal, the table `skipped` and the metric tell of it."""
    on = (*TO_DONE, Transition(event="skipped", target="otherwise"))
    work = State(name="work", task=Child(machine="child"), on=on)
    parent = machine_of(work, acting("otherwise", nothing))
    scene = Scene(tmp_path, parent, child_of("skip"))
    with held(scene):
        pass

    assert statuses(scene) == {"x": "ready", "i": "done"}
    sql = """
SELECT event, target, note FROM history WHERE id = 'i' AND source = 'work' AND source <> target
"""
    assert scene.ask(sql) == [
        ("skipped", "otherwise", "child was not begun: key 'x' is taken by x"),
    ]
    assert scene.ask("SELECT state, task FROM skipped") == [("work", "work")]
    counted = "SELECT machine, state, value FROM counter WHERE metric = 'skipped'"
    assert scene.ask(counted) == [("m", "work", 1)]
    assert scene.sound()


def test_a_child_that_is_skipped_fails_a_parent_that_says_nothing(tmp_path: Path) -> None:
    """With who has the key; a resume begins it, once the key is free."""
    scene = Scene(tmp_path, parent_of(), child_of("skip"))
    with held(scene) as engine:
        assert statuses(scene) == {"x": "ready", "i": "failed"}
        sql = "SELECT error_class, error FROM instance WHERE id = 'i'"
        said = "child was not begun: key 'x' is taken by x"
        assert scene.ask(sql) == [("ChildSkipped", said)]
        errors = "SELECT label FROM counter WHERE metric = 'errors'"
        assert scene.ask(errors) == [("ChildSkipped",)]

        go(engine, "x")
        driver = threading.Thread(target=scene.resume)
        driver.start()
        until_there(scene, "i/work")
        engine.signal("i/work", "go")
        driver.join(SOON_S)

    assert statuses(scene) == {"x": "done", "i": "done", "i/work": "done"}
    assert scene.sound()


def until_there(scene: Scene, instance: str) -> None:
    """Wait until an instance is there, with a bound."""
    for _ in range(100 * SOON_S):
        if instance in statuses(scene):
            return
        threading.Event().wait(0.01)
    raise AssertionError(instance)


def test_of_two_parents_in_one_commit_one_is_skipped(tmp_path: Path) -> None:
    """Both have seen that the key was free: it is looked at again in the transaction."""
    parent = parent_of(Transition(event="skipped", target="done"))
    scene = Scene(tmp_path, parent, child_of("skip"))
    with scene.engine() as engine:
        for name in "ij":
            engine.create("m", instance_id=name)
        engine.work(until_idle=True)
        there = statuses(scene)
        (child,) = (name for name in there if "/" in name)
        go(engine, child)

    assert sorted(there.values()) == ["done", "ready", "ready"]
    assert sorted(statuses(scene).values()) == ["done", "done", "done"]
    assert len(scene.ask("SELECT 1 FROM skipped")) == 1
    assert scene.sound()


def test_a_child_cancels_who_has_its_key(tmp_path: Path) -> None:
    """In the commit that begins it: one that nobody drives ends at once."""
    scene = Scene(tmp_path, parent_of(), child_of("cancel"))
    with held(scene) as engine:
        assert statuses(scene) == {"x": "cancelled", "i": "ready", "i/work": "ready"}
        sql = """
SELECT j.kind, j.note FROM journal j JOIN instance i ON i.n = j.instance
 WHERE i.id = 'x' AND j.kind = 'cancel' OR i.id = 'i/work' AND j.kind = 'create' ORDER BY j.n
"""
        assert scene.ask(sql) == [("cancel", "i/work has its key"), ("create", "for work of i")]
        go(engine, "i/work")

    assert statuses(scene) == {"x": "cancelled", "i": "done", "i/work": "done"}
    assert scene.sound()


def test_a_child_waits_for_the_end_of_one_that_is_driven(tmp_path: Path) -> None:
    """That one is asked to end, by the loop that drives both."""
    began = threading.Event()

    def slow(task: Task) -> None:
        if task.instance == "x":
            began.set()
            while not task.cancelled:
                threading.Event().wait(0.01)
            task.heartbeat()

    sharing = Sharing(concurrency=Concurrency(key="one", behavior="cancel"))
    child = machine_of(acting("slow", slow), name="child", sharing=sharing)
    scene = Scene(tmp_path, parent_of(), child)

    def drive() -> None:
        with scene.engine() as engine:
            engine.create("child", instance_id="x")
            engine.work(until_idle=True)

    driver = threading.Thread(target=drive)
    driver.start()
    assert began.wait(SOON_S)
    with scene.engine() as other:
        other.create("m", instance_id="i")
    driver.join(SOON_S)

    assert statuses(scene) == {"x": "cancelled", "i": "done", "i/work": "done"}
    assert scene.sound()


def test_a_child_that_waits_for_its_key_ends_with_its_parent(tmp_path: Path) -> None:
    """At once: it need not have the key to be cancelled; who has it is left alone."""
    told: list[str] = []
    on_cancel = State(
        name="cancelling",
        task=Run(function=lambda task: told.append(task.state)),
        settings=THREAD,
    )
    scene = Scene(tmp_path, parent_of(on_cancel=on_cancel), child_of())
    with held(scene) as engine:
        engine.cancel("i", reason="enough")
        engine.work(until_idle=True)

    assert statuses(scene) == {"x": "ready", "i": "cancelled", "i/work": "cancelled"}
    assert told == ["work"]
    assert scene.sound()


def test_a_child_that_waits_for_its_key_ends_with_the_time_of_its_parent(tmp_path: Path) -> None:
    """The parent, driven then, asks it in its own commit."""
    work = working(Child(machine="child"), settings={"timeout": "1m"})
    scene, clock = Scene(tmp_path, machine_of(work), child_of()), ManualClock()
    with Engine(scene.config, machines=scene.machines, clock=clock) as engine:
        for machine, name in (("child", "x"), ("m", "i")):
            engine.create(machine, instance_id=name)
            engine.work(until_idle=True)
        assert statuses(scene) == {"x": "ready", "i": "ready", "i/work": "ready"}
        clock.advance(60_000)
        engine.work(until_idle=True)

    assert statuses(scene) == {"x": "ready", "i": "failed", "i/work": "cancelled"}
    assert scene.sound()


@pytest.mark.parametrize("cleans", [False, True])
def test_a_paused_child_ends_with_its_parent_beside_who_has_its_key(
    tmp_path: Path, *, cleans: bool
) -> None:
    """It gave the key back when it paused; its cleanup waits for its turn."""
    told: list[str] = []
    on_cancel = State(
        name="cancelling",
        task=Run(function=lambda task: told.append(task.state)),
        settings=THREAD,
    )
    child = replace(child_of(), on_cancel=on_cancel if cleans else None)
    work = working(Child(machine="child"), settings={"timeout": "1m"})
    scene, clock = Scene(tmp_path, machine_of(work), child), ManualClock()
    with Engine(scene.config, machines=scene.machines, clock=clock) as engine:
        engine.create("m", instance_id="i")
        engine.work(until_idle=True)
        assert engine.pause("i/work")
        engine.create("child", instance_id="x")
        engine.work(until_idle=True)
        clock.advance(60_000)
        engine.work(until_idle=True)

        ended = "ready" if cleans else "cancelled"
        assert statuses(scene) == {"i": "failed", "i/work": ended, "x": "ready"}
        assert told == []
        moves = """
SELECT j.event FROM journal j JOIN instance i ON i.n = j.instance WHERE i.id = 'i/work' ORDER BY j.n
"""
        said = [event for (event,) in scene.ask(moves)]
        assert said[-2:] == ["pause", "cancel"], "nobody has claimed it"
        go(engine, "x")

    assert statuses(scene) == {"i": "failed", "i/work": "cancelled", "x": "done"}
    assert told == ["waiting"] * cleans
    assert scene.sound()


def test_what_is_part_of_another_one_is_not_counted_and_finds_room(tmp_path: Path) -> None:
    """`ready_max` is for what is let in: a parent and its child were let in together."""
    scene = Scene(tmp_path, parent_of(), child_of(ready_max=1))
    with held(scene) as engine:
        ready = "SELECT id FROM instance WHERE status = 'ready' AND wake_at_ms IS NULL"
        assert scene.ask(ready) == [("i/work",)], "it waits for its key"
        engine.create("child", instance_id="y")
        with pytest.raises(Busy, match="1 instances of 'child' are ready"):
            engine.create("child", instance_id="z")
        engine.create("m", instance_id="j")
        engine.work(until_idle=True)

    assert "j/work" in statuses(scene)
    assert scene.sound()


def test_a_child_that_would_wait_for_its_own_parent_is_refused(tmp_path: Path) -> None:
    """Machines that begin each other are none; one that was changed meanwhile may become so."""
    one = Sharing(concurrency=Concurrency(key="one"))
    before = Scene(tmp_path, parent_of(sharing=one), child_of())
    with before.engine() as engine:
        engine.create("m", instance_id="i")
        engine.work(until_idle=True)
    changed = machine_of(
        State(name="waiting", task=Child(machine="m"), on=TO_DONE), name="child", params=(DAY,)
    )
    after = Scene(tmp_path, machine_of(acting("work", nothing), sharing=one), changed)

    assert after.resume("i/work", definition="latest") == "failed"
    ((error,),) = after.ask("SELECT error FROM instance WHERE id = 'i/work'")
    assert error.startswith("what it begins has the key 'one' of 'i', of which it does part")
    assert after.sound()


@pytest.mark.parametrize("behavior", ["queue", "cancel"])
def test_a_key_is_given_back_by_whoever_ends(tmp_path: Path, behavior: Behavior) -> None:
    """As many as have begun have it, counted in their rows; after all nobody does."""
    scene = Scene(tmp_path, parent_of(), child_of(behavior))
    with scene.engine() as engine:
        for name in "ijk":
            engine.create("m", instance_id=name)
        engine.work(until_idle=True)
        for _ in range(3):
            holding = scene.ask(
                "SELECT id FROM instance WHERE concurrency_key IS NOT NULL"
                " AND status = 'ready' AND awaits_turn = 0"
            )
            assert len(holding) <= 1
            for (name,) in holding:
                go(engine, name)

    assert "ready" not in statuses(scene).values()
    assert scene.sound()
