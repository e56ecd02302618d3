"""A state with several tasks whose instance is cancelled or killed: what ends, and when."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from statepipe.batch import Batch
from statepipe.machine.definition import State, Transition
from statepipe.machine.states.taskgraph import Child, Graph
from statepipe.machine.states.tasks import Run
from statepipe.machine.states.waits import Wait
from statepipe.model import Change, Task
from statepipe.runtime.driving import cancelling
from statepipe.runtime.driving.drive import Drive
from statepipe.store.file.connection import Store
from tests.runtime.families import THREAD, Scene, acting, machine_of, task, working

SOON_S = 30


class Told:
    """What the tasks and the cleanup say, in their order; a slow task tells when it has begun."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.entered = threading.Event()

    def slow(self, it: Task) -> None:
        """Work until asked to stop, and a little longer."""
        self.entered.set()
        while not it.cancelled:
            threading.Event().wait(0.01)
        self.said.append("stopped")
        it.heartbeat()

    def cleanup(self, it: Task) -> None:
        """Say where it was cancelled."""
        self.said.append(f"cleaned {it.state}")

    @property
    def on_cancel(self) -> State:
        """The state of a machine's `on_cancel`."""
        return State(name="cancelling", task=Run(function=self.cleanup), settings=THREAD)


def driven(scene: Scene) -> threading.Thread:
    """Drive a new instance in a thread of its own."""
    driver = threading.Thread(target=scene.run)
    driver.start()
    return driver


def test_a_cancel_cleans_up_when_its_tasks_have_ended(tmp_path: Path) -> None:
    """What still works could leave behind more than was cleaned."""
    told = Told()
    graph = Graph(tasks=(task("slow", told.slow), task("next", told.slow, "slow")))
    scene = Scene(tmp_path, machine_of(working(graph), on_cancel=told.on_cancel))
    driver = driven(scene)
    assert told.entered.wait(SOON_S)
    with scene.engine() as other:
        assert other.cancel("i", reason="enough"), "nobody drives the parent"
        driver.join(SOON_S)

    assert scene.children() == {"i/work.slow": "cancelled"}
    # A thread is abandoned when it is asked to stop, so its last word may come late.
    assert "cleaned work" in told.said
    rows = scene.ask(
        "SELECT i.id, j.event, j.target FROM journal j JOIN instance i ON i.n = j.instance"
        " WHERE j.source <> j.target AND j.kind <> 'create' ORDER BY j.n"
    )
    assert rows == [
        ("i", "cancel", "cancelling"),
        ("i/work.slow", "cancel", "cancelled"),
        ("i", "ok", "cancelled"),
    ]
    assert scene.ask("SELECT status, failed_state FROM instance WHERE id = 'i'") == [
        ("cancelled", "work")
    ]
    assert scene.sound()


def test_a_kill_reaches_the_tasks_and_leaves_the_cleanup_out(tmp_path: Path) -> None:
    """All at once; a resume takes them back."""
    told = Told()
    graph = Graph(tasks=(task("slow", told.slow),))
    scene = Scene(tmp_path, machine_of(working(graph), on_cancel=told.on_cancel))
    driver = driven(scene)
    assert told.entered.wait(SOON_S)
    with scene.engine() as other:
        assert other.kill("i")
    driver.join(SOON_S)

    assert scene.children() == {"i/work.slow": "cancelled"}
    killed = "SELECT i.id FROM journal j JOIN instance i ON i.n = j.instance"
    killed += " WHERE j.kind = 'cancel' AND j.event = 'kill' ORDER BY 1"
    assert scene.ask(killed) == [("i",), ("i/work.slow",)]
    assert "cleaned work" not in told.said
    assert scene.sound()


@pytest.mark.parametrize("wish", ["cancel", "kill"])
def test_another_machine_cleans_up_for_itself(tmp_path: Path, wish: str) -> None:
    """First the one that does the work, then the one that it works for; a kill leaves out both."""
    inner, outer = Told(), Told()
    child = machine_of(acting("a", inner.slow), name="child", on_cancel=inner.on_cancel)
    parent = machine_of(working(Child(machine="child")), on_cancel=outer.on_cancel)
    scene = Scene(tmp_path, parent, child)
    driver = driven(scene)
    assert inner.entered.wait(SOON_S)
    with scene.engine() as other:
        assert other.cancel("i") if wish == "cancel" else other.kill("i")
    driver.join(SOON_S)
    with scene.engine() as other:
        other.work(until_idle=True)

    assert set(scene.children().values()) == {"cancelled"}
    assert scene.ask("SELECT status FROM instance WHERE id = 'i'") == [("cancelled",)]
    assert ("cleaned a" in inner.said) == ("cleaned work" in outer.said) == (wish == "cancel")
    if wish == "cancel":
        ends = scene.ask("SELECT instance FROM journal WHERE ended = 'cancelled' ORDER BY n")
        assert ends == [(2,), (1,)]
    assert scene.sound()


def test_a_cancel_of_what_has_failed_reaches_the_machine_by_which_it_failed(
    tmp_path: Path,
) -> None:
    """Both clean up, first the one that did the work; what it went on without is left alone."""
    inner, outer = Told(), Told()

    def broken(_: Task) -> None:
        raise ValueError("broken")

    child = machine_of(acting("a", broken), name="child", on_cancel=inner.on_cancel)
    parent = machine_of(working(Child(machine="child")), on_cancel=outer.on_cancel)
    scene = Scene(tmp_path, parent, child)
    assert scene.run() == "failed"
    with scene.engine() as engine:
        assert engine.cancel("i", reason="enough")
        assert scene.children() == {"i/work": "ready"}
        engine.work(until_idle=True)

    assert (inner.said, outer.said) == (["cleaned a"], ["cleaned work"])
    ends = scene.ask("SELECT instance FROM journal WHERE ended = 'cancelled' ORDER BY n")
    assert ends == [(2,), (1,)]
    assert scene.sound()
    with scene.engine() as engine:
        assert engine.resume(["i"]) == {"i": "failed"}
    assert scene.children() == {"i/work": "failed"}
    assert scene.sound()


def test_a_failed_child_is_cleaned_alone_after_its_parent_went_on(tmp_path: Path) -> None:
    """That breaks no promise: what is being cancelled does no work of its parent's."""
    told = Told()

    def broken(_: Task) -> None:
        raise ValueError("broken")

    child = machine_of(acting("a", broken), name="child", on_cancel=told.on_cancel)
    on = (Transition(event="ok", target="done"), Transition(event="error", target="after"))
    work = State(name="work", task=Child(machine="child"), on=on)
    wait = Wait(events=("go",), ms=3_600_000)
    after = State(name="after", task=wait, on=(Transition(event="go", target="done"),))
    scene = Scene(tmp_path, machine_of(work, after), child)
    with scene.engine() as engine:
        engine.create("m", instance_id="i")
        engine.work(until_idle=True)
        assert engine.cancel("i/work")
        assert scene.children() == {"i/work": "ready"}
        assert scene.sound()
        engine.work(until_idle=True)

    assert scene.children() == {"i/work": "cancelled"}
    assert scene.ask("SELECT state FROM instance WHERE id = 'i'") == [("after",)]
    assert told.said == ["cleaned a"]
    assert scene.sound()


def test_a_kill_reaches_those_that_clean_up_if_their_parent_was_just_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever drives the parent asks them, as a kill does that finds it at rest."""
    killed = threading.Event()

    def broken(_: Task) -> None:
        raise ValueError("broken")

    def cleanup(_: Task) -> None:
        assert killed.wait(SOON_S)

    on_cancel = State(name="cancelling", task=Run(function=cleanup), settings=THREAD)
    child = machine_of(acting("a", broken), name="child", on_cancel=on_cancel)
    parent = machine_of(working(Child(machine="child")), on_cancel=Told().on_cancel)
    scene = Scene(tmp_path, parent, child)
    assert scene.run() == "failed"
    turn = cancelling.turn

    def kill_then_turn(drive: Drive, store: Store) -> Change | None:
        if drive.id == "i" and drive.wish is None:
            with scene.engine() as other:
                assert not other.kill("i"), "it is driven"
        return turn(drive, store)

    def leave(drive: Drive, change: Change) -> None:
        if (drive.id, change.event) == ("i", "kill"):
            killed.set()

    monkeypatch.setattr(cancelling, "turn", kill_then_turn)
    scene.also = leave
    with scene.engine() as engine:
        assert engine.cancel("i", reason="enough")
        engine.work(until_idle=True)

    ends = "SELECT id, event FROM history WHERE kind = 'cancel' AND target = 'cancelled' ORDER BY 1"
    assert scene.ask(ends) == [("i", "kill"), ("i/work", "kill")]
    assert scene.sound()


def test_what_tasks_of_a_failed_machine_have_staged_goes_when_their_parent_is_done(
    tmp_path: Path,
) -> None:
    """Rows and files: nobody can take that machine back, and nobody reads them any more."""

    def read(_: Task) -> Iterator[Batch]:
        yield Batch([{"text": random.Random(1).randbytes(100_000)}])

    def broken(_: Task) -> None:
        raise ValueError("broken")

    graph = Graph(tasks=(task("read", read), task("broken", broken, "read")))
    child = machine_of(working(graph), name="child")
    on = (Transition(event="ok", target="done"), Transition(event="error", target="done"))
    parent = machine_of(State(name="part", task=Child(machine="child"), on=on))
    scene = Scene(tmp_path, parent, child)
    staged: list[int] = []

    def files() -> int:
        return sum(each.is_file() for each in (tmp_path / "checkpoints" / "stage").rglob("*"))

    def look(drive: Drive, _: Change) -> None:
        if drive.id == "i/part":
            staged.append(files())

    scene.also = look
    assert scene.run() == "done"
    assert max(staged) == 1, "it lay there meanwhile"
    assert scene.ask("SELECT status FROM instance ORDER BY id") == [
        *(("done",), ("failed",), ("failed",), ("done",))
    ]
    assert scene.ask("SELECT instance FROM batch") == []
    assert files() == 0
    assert scene.sound()
