"""What tasks say is in the store with their attempt's own commit, whatever becomes of it."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from statepipe.clock import Clock, SystemClock
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Change, Task
from statepipe.observe import redact
from statepipe.policy import ExecutorKind
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.output import capture
from statepipe.said import Fact
from statepipe.store.lookups.output import Said
from statepipe.store.reading import Reader
from statepipe.testing import ManualClock, violations
from tests.runtime import talking
from tests.store import stores

EXECUTORS: list[ExecutorKind] = ["inline", "thread", "process"]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Let no test hide anything from another."""
    redact.forget()
    yield
    redact.forget()


def machine(task: Callable[..., Any], executor: ExecutorKind, **policy: Any) -> Machine:  # noqa: ANN401  (whatever is passed on)
    """Return a machine of one state that runs `task`."""
    settings = {"executor": executor}
    settings |= {key: policy.pop(key) for key in ("timeout", "grace") if key in policy}
    talks = State(
        name="talking",
        task=Run(function=task),
        on=(Transition(event="ok", target="done"),),
        retry={"interval": "1ms", "jitter": "none", **policy},
        settings=settings,
    )
    return Machine(name="m", initial="talking", states=(talks, State(name="done", final="success")))


class Scene:
    """An engine with one machine, and what it was told."""

    def __init__(self, folder: Path, made: Machine, clock: Clock | None = None) -> None:
        config = load_config(start=folder, environ={})
        self.path = config.store
        self.facts: list[Fact] = []
        self.after: Callable[[Change], object] = lambda _: None
        self.engine = Engine(
            config,
            machines=[made],
            observe=self._observe,
            log=self.facts.append,
            clock=clock or SystemClock(),
        )

    def _observe(self, _drive: Drive, change: Change) -> None:
        self.after(change)

    def run(self, name: str = "i") -> str:
        """Drive one instance to its end and return its status."""
        self.engine.create("m", instance_id=name)
        return self.engine.run([name])[name]

    def said(self, **wanted: Any) -> list[Said]:  # noqa: ANN401  (whatever is passed on)
        """Return what is in the store."""
        with Reader(self.path) as reader:
            return reader.output("i", **wanted)

    def texts(self, **wanted: Any) -> list[str]:  # noqa: ANN401  (whatever is passed on)
        """Return the texts of it."""
        return [row.text for row in self.said(**wanted)]


Start = Callable[..., Scene]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Open an engine; its store must be whole in the end."""
    scenes: list[Scene] = []

    def started(*made: Any, clock: Clock | None = None, **policy: Any) -> Scene:  # noqa: ANN401  (whatever is passed on)
        scenes.append(Scene(tmp_path, machine(*made, **policy), clock))
        return scenes[-1]

    yield started
    for scene in scenes:
        scene.engine.close()
        assert violations(scene.path) == []


@pytest.mark.parametrize("executor", EXECUTORS)
def test_each_attempt_has_its_words_and_its_traceback_and_no_secret(
    start: Start, executor: ExecutorKind
) -> None:
    """Nothing of it is lost by a failure; neither error nor output show what is hidden."""
    scene = start(talking.say_and_fail, executor)

    assert scene.run() == "done"

    assert [len(scene.said(attempt=attempt)) for attempt in (1, 2, 3)] == [3, 3, 2]
    second = scene.said(attempt=2)
    assert {(row.source, row.level) for row in second} == {
        ("stdout", ""),
        ("log", "warning"),
        ("log", "error"),
    }
    assert "attempt 2, ***" in [row.text for row in second]
    (failed,) = [row.text for row in second if row.level == "error"]
    assert failed.startswith("Traceback (most recent call last):")
    assert failed.endswith("ConnectionError: no way to postgresql://***@db with ***\n")
    assert b"hunter2" not in scene.path.read_bytes()
    retries = [fact for fact in scene.facts if fact.kind == "retry"]
    assert [fact.error for fact in retries] == ["no way to postgresql://***@db with ***"] * 2
    assert [fact.traceback for fact in retries] == [row.text for row in scene.said(level="error")]


def test_what_was_said_before_a_crash_is_kept(start: Start) -> None:
    """The attempt has no result; its words are all there is."""
    scene = start(talking.say_and_crash, "process", max_attempts=2)

    assert scene.run() == "failed"

    assert [(row.attempt, row.text) for row in scene.said()] == [
        (1, "i was here"),
        (2, "i was here"),
    ]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_words_about_a_batch_are_committed_with_it(start: Start, executor: ExecutorKind) -> None:
    """Whoever follows sees them then, and the loop's own lines are not among them."""
    scene = start(talking.say_by_batch, executor)
    seen: list[list[str]] = []

    def look(_: Change) -> None:
        print("the observer prints")  # noqa: T201  (a task that prints is what is tested)
        seen.append(scene.texts())

    scene.after = look
    assert scene.run() == "done"

    said = ["batch 0", "batch 1", "batch 2", "that was all"]
    assert seen[-1] == said
    # A thread may go on to the next batch while the loop still tells of the last one.
    for number, texts in enumerate(seen):
        assert texts == said[: len(texts)]
        assert len(texts) > number


def heard(scene: Scene, then: Callable[[], object]) -> list[str]:
    """Drive an instance, do something once its first words are in the store; return those."""
    first: list[str] = []

    def listen() -> None:
        for _ in range(4_000):
            first.extend(scene.texts())
            if first:
                break
            threading.Event().wait(0.005)
        then()

    scene.engine.create("m", instance_id="i")
    listener = threading.Thread(target=listen)
    listener.start()
    scene.engine.run(["i"])
    listener.join()
    return first


def test_a_long_attempt_is_heard_while_it_runs(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while its words get a commit of their own, though nothing else happens."""
    monkeypatch.setattr(capture, "STORE_WITHIN_MS", 50)
    scene = start(talking.say_and_wait, "process")

    assert heard(scene, then=lambda: scene.engine.stop("enough")) == ["waiting"]

    assert scene.texts() == ["waiting", "asked to stop"]
    assert [fact.kind for fact in scene.facts] == ["create", "claim", "interrupt"]


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_what_was_said_before_a_timeout_is_kept(
    start: Start, executor: ExecutorKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And in a process also what it says when it is asked to stop."""
    monkeypatch.setattr(capture, "STORE_WITHIN_MS", 0)
    clock = ManualClock()
    scene = start(talking.say_and_wait, executor, clock=clock, grace="20s", max_attempts=1)

    assert heard(scene, then=lambda: clock.advance(3_600_000)) == ["waiting"]

    # A thread is abandoned: what it says then may come too late.
    assert scene.texts()[:1] == ["waiting"]
    assert executor == "thread" or scene.texts() == ["waiting", "asked to stop"]
    assert scene.facts[-1].error_class == "TaskTimeout"


def test_more_than_one_commit_can_take_is_all_there_in_the_end(start: Start) -> None:
    """Whoever is told that a run is over finds everything it said."""

    def chatter(task: Task) -> None:
        for number in range(600):
            print(task.instance, number)  # noqa: T201  (a task that prints is what is tested)

    scene = start(chatter, "thread")
    names = ["i", "j", "k", "l"]
    for name in names:
        scene.engine.create("m", instance_id=name)

    scene.engine.run(names)

    with Reader(scene.path) as reader:
        for name in names:
            rows = reader.output(name, limit=10_000)
            assert [row.text for row in rows] == [f"{name} {number}" for number in range(600)]


def test_a_zombie_stores_no_words(start: Start, tmp_path: Path) -> None:
    """Another process has the instance: what this one still hears is dropped."""
    scene = start(talking.say_by_batch, "thread")
    other = stores.opened(tmp_path / "checkpoints")

    def steal(change: Change) -> None:
        if change.detail is not None and change.detail.note == "batch 0":
            stores.stolen(other, "i", state="talking")
            scene.engine.stop("enough")

    scene.after = steal
    scene.run()

    assert scene.texts() == ["batch 0"]
    assert (scene.facts[-1].kind, scene.facts[-1].epoch) == ("fenced", 1)


def test_the_clock_of_rows_is_the_engine_s(start: Start) -> None:
    """A test owns the time of what is printed, too."""
    clock = ManualClock()
    scene = start(talking.say_by_batch, "inline", clock=clock)

    scene.run()

    assert {row.at_ms for row in scene.said()} == {clock.now_ms()}
