"""What runs when an instance is cancelled: once it may, under its policy, and never in the way."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import Fatal, Refused, Throttled
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Change, Task
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.reasons.standing import reasons
from statepipe.sharing import Concurrency, Sharing
from statepipe.sqlite import sqlite3
from statepipe.store.questions.evidence import evidence
from statepipe.store.reading import Reader
from statepipe.testing import ManualClock, violations
from tests.store import stores

Told = list[tuple[str, str, int, str]]

_INLINE = {"executor": "inline", "timeout": "1m"}


class Scene:
    """A machine whose instances leave something behind, and what its `on_cancel` was told."""

    def __init__(self, folder: Path) -> None:
        self.config = load_config(start=folder, environ={})
        self.clock = ManualClock()
        self.told: Told = []
        self.fails: list[BaseException] = []
        self.work: Callable[[Task], Any] = lambda _: {"made": 3}
        self.settings = _INLINE
        self.deadline_ms: int | None = None
        self.sharing = Sharing()

    def engine(self) -> Engine:
        """Return an engine that knows the machine."""

        def work(task: Task) -> Any:  # noqa: ANN401  (whatever the test's task returns)
            return self.work(task)

        def cleanup(task: Task) -> None:
            self.told.append((task.state, task.name, task.attempt, task.idempotency_key))
            if self.fails:
                raise self.fails.pop(0)

        first = State(
            name="a",
            task=Run(function=work),
            on=(Transition(event="ok", target="b"),),
            settings=self.settings,
        )
        second = State(
            name="b",
            task=Run(function=work),
            on=(Transition(event="ok", target="done"),),
            settings=self.settings,
        )
        machine = Machine(
            name="m",
            initial="a",
            states=(first, second, State(name="done", final="success")),
            deadline_ms=self.deadline_ms,
            sharing=self.sharing,
            on_cancel=State(
                name="cancelling",
                task=Run(function=cleanup),
                retry={"errors": ["Throttled"], "max_attempts": 2, "interval": "1s"},
                settings=_INLINE,
            ),
        )

        def observe(_drive: Drive, change: Change) -> None:
            if change.detail is not None and change.detail.kind == "retry":
                self.clock.advance(2_000)

        return Engine(
            self.config,
            machines=[machine],
            clock=self.clock,
            rng=random.Random(1),
            observe=observe,
        )

    def why(self) -> dict[str, str]:
        """Return the reasons for where it stands, by code."""
        with Reader(self.config.store, clock=self.clock) as reader:
            known = evidence(reader, "i")
        return {each.code: each.text for each in reasons(known, now_ms=self.clock.now_ms())}

    def row(self, engine: Engine, name: str = "i") -> dict[str, Any]:
        """Return the instance's row."""
        return stores.row(engine._store, name)

    def moves(self, engine: Engine) -> list[tuple[str, str, str, str]]:
        """Return what the journal says of where it went."""
        sql = "SELECT kind, event, source, target FROM history WHERE source <> target ORDER BY seq"
        return [tuple(row) for row in engine._store.connection.execute(sql)]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A new store."""
    return Scene(tmp_path)


def test_a_cancel_runs_what_cleans_up_and_tells_it_the_state(scene: Scene) -> None:
    """It is in `cancelling` until then, for whoever claims it; a resume goes on where it was."""
    with scene.engine() as engine:
        engine.create("m", instance_id="i")
        assert engine.cancel("i", reason="wrong day")

        assert scene.row(engine)["state"] == "cancelling"
        assert scene.row(engine)["status"] == "ready"
        assert engine.run(["i"]) == {"i": "cancelled"}

        assert scene.told == [("a", "on_cancel", 1, "i:1:a:on_cancel:2")]
        assert scene.row(engine)["failed_state"] == "a"
        assert scene.moves(engine)[1:] == [
            ("cancel", "cancel", "a", "cancelling"),
            ("move", "ok", "cancelling", "cancelled"),
        ]
        assert engine.resume(["i"]) == {"i": "done"}
    assert violations(scene.config.store) == []


def test_a_paused_instance_is_cleaned_as_well(scene: Scene) -> None:
    """Nobody drives it, so the request is work for whoever comes."""
    with scene.engine() as engine:
        engine.create("m", instance_id="i")
        engine.pause("i")
        assert engine.cancel("i")
        assert engine.run(["i"]) == {"i": "cancelled"}
        assert [each[0] for each in scene.told] == ["a"]
    assert violations(scene.config.store) == []


def test_a_driver_that_is_asked_cleans_up_behind_itself(scene: Scene) -> None:
    """The attempt under way ends first; then what it left is cleaned, by the same process."""

    def work(_: Task) -> None:
        with scene.engine() as other:
            assert not other.cancel("i", reason="enough")

    scene.work = work
    with scene.engine() as engine:
        engine.create("m", instance_id="i")
        assert engine.run(["i"]) == {"i": "cancelled"}
        assert [each[:2] for each in scene.told] == [("a", "on_cancel")]
    assert violations(scene.config.store) == []


def test_a_cleanup_that_fails_is_tried_again_and_then_told_of(scene: Scene) -> None:
    """Its failure is counted and shown, and does not keep the instance from ending cancelled."""
    scene.fails = [Throttled("busy"), Throttled("still busy")]
    with scene.engine() as engine:
        engine.create("m", instance_id="i")
        engine.cancel("i", reason="wrong day")
        assert engine.run(["i"]) == {"i": "cancelled"}
        assert [each[2] for each in scene.told] == [1, 2]
        assert len({each[3] for each in scene.told}) == 1, "one occasion has one key"
        row = scene.row(engine)
        assert (row["error_class"], row["failed_state"]) == ("Throttled", "a")
        attempts = "SELECT value FROM counter WHERE metric = 'attempts' AND state = 'cancelling'"
        assert engine._store.connection.execute(attempts).fetchall() == [(2,)]
    said = scene.why()
    assert said["cancel"] == "somebody cancelled it in a: wrong day"
    assert said["on_cancel"] == "its on_cancel failed: Throttled: still busy"
    assert violations(scene.config.store) == []


def test_one_that_is_past_its_deadline_is_cleaned_all_the_same(scene: Scene) -> None:
    """What it left is there whenever it was cancelled; only its own timeout limits `on_cancel`."""
    scene.deadline_ms = 60_000
    with scene.engine() as engine:
        engine.create("m", instance_id="i")
        scene.clock.advance(61_000)
        engine.cancel("i")
        assert engine.run(["i"]) == {"i": "cancelled"}
        assert [each[0] for each in scene.told] == ["a"]
        assert scene.row(engine)["error_class"] is None
    assert violations(scene.config.store) == []


def test_what_is_being_cancelled_is_neither_cancelled_nor_paused_nor_put_back(
    scene: Scene,
) -> None:
    """A promised end stays promised; only a kill ends it sooner, and leaves `on_cancel` out."""
    with scene.engine() as engine:
        engine.create("m", instance_id="i")
        engine.cancel("i")
        before = scene.row(engine)
        for ask in (engine.cancel, engine.pause):
            with pytest.raises(Refused, match="is being cancelled"):
                ask("i")
        with pytest.raises(Refused, match="is being cancelled"):
            engine.rewind("i", to="a")
        assert scene.row(engine) == before

        assert engine.kill("i", reason="no time")
        assert scene.told == []
        assert scene.moves(engine)[-1] == ("cancel", "kill", "cancelling", "cancelled")
        assert scene.row(engine)["failed_state"] == "a"
    assert scene.why()["kill"] == "somebody killed it in a: no time"
    assert violations(scene.config.store) == []


def test_a_resume_of_what_is_being_cancelled_goes_on_with_that(scene: Scene) -> None:
    """Whoever resumes it where no worker runs brings it to the end that was asked for."""
    with scene.engine() as engine:
        engine.create("m", instance_id="i")
        engine.cancel("i")
        assert engine.resume(["i"]) == {"i": "cancelled"}
        assert scene.row(engine)["failed_state"] == "a"
        assert engine.resume(["i"]) == {"i": "done"}, "and now it goes on where it was"
    assert violations(scene.config.store) == []


def test_a_second_cancel_in_the_same_state_is_another_occasion(scene: Scene) -> None:
    """An outside system that honours the key must not take it for the first one."""
    scene.work = _pausing(scene)
    with scene.engine() as engine:
        engine.create("m", instance_id="i")
        for _ in range(2):
            engine.cancel("i")
            engine.run(["i"])
            assert engine.resume(["i"]) == {"i": "paused"}
        assert [each[0] for each in scene.told] == ["a", "a"]
        assert len({each[3] for each in scene.told}) == 2
    assert violations(scene.config.store) == []


def _pausing(scene: Scene) -> Callable[[Task], Any]:
    def work(_: Task) -> None:
        with scene.engine() as other:
            other.pause("i")
        raise Throttled("later")

    return work


def test_a_kill_ends_an_instance_without_its_cleanup(scene: Scene) -> None:
    """At once if nobody drives it, and the journal says that it was a kill."""
    with scene.engine() as engine:
        engine.create("m", instance_id="i")
        assert engine.kill("i", reason="hangs")
        assert scene.row(engine)["status"] == "cancelled"
        assert scene.moves(engine)[-1] == ("cancel", "kill", "a", "cancelled")
        assert scene.told == []
        with pytest.raises(Refused, match="already cancelled"):
            engine.kill("i")
        assert engine.resume(["i"]) == {"i": "done"}
    assert violations(scene.config.store) == []


def failing(_: Task) -> None:
    """Fail for good."""
    raise Fatal("broken")


@pytest.fixture
def failed(scene: Scene) -> Iterator[Engine]:
    """An engine whose instance has failed in its first state."""
    scene.work = failing
    with scene.engine() as engine:
        engine.create("m", instance_id="i")
        assert engine.run(["i"]) == {"i": "failed"}
        yield engine
    assert violations(scene.config.store) == []


def test_what_has_failed_is_cancelled_and_cleaned(scene: Scene, failed: Engine) -> None:
    """It is told the state that failed, is counted as both, and a resume by its id goes on."""
    assert failed.cancel("i", reason="the day is no more")
    row = scene.row(failed)
    assert (row["status"], row["state"], row["failed_state"]) == ("ready", "cancelling", "a")
    assert (row["finished_at_ms"], row["error_class"]) == (None, None)

    assert failed.run(["i"]) == {"i": "cancelled"}

    assert [each[:3] for each in scene.told] == [("a", "on_cancel", 1)]
    assert scene.moves(failed)[1:] == [
        ("move", "error", "a", "failed"),
        ("cancel", "cancel", "failed", "cancelling"),
        ("move", "ok", "cancelling", "cancelled"),
    ]
    finished = "SELECT label, value FROM counter WHERE metric = 'finished' ORDER BY 1"
    assert failed._store.connection.execute(finished).fetchall() == [
        ("cancelled", 1),
        ("failed", 1),
    ]
    assert scene.why()["cancel"] == "somebody cancelled it in a: the day is no more"
    scene.work = lambda _: None
    assert failed.resume(["i"]) == {"i": "done"}


def test_what_has_failed_is_killed_without_its_cleanup(scene: Scene, failed: Engine) -> None:
    """At once; a pause of it means nothing, and is refused."""
    with pytest.raises(Refused, match="already failed"):
        failed.pause("i")
    assert failed.kill("i", reason="no time")

    row = scene.row(failed)
    assert (row["status"], row["failed_state"], row["error_class"]) == ("cancelled", "a", "Fatal")
    assert scene.told == []
    with pytest.raises(Refused, match="already cancelled"):
        failed.cancel("i")


def test_what_is_done_is_not_cancelled(scene: Scene, failed: Engine) -> None:
    """The schema lets only what has failed be cancelled after its end."""
    scene.work = lambda _: None
    failed.create("m", instance_id="done")
    failed.run(["done"])
    with pytest.raises(Refused, match="already done"):
        failed.cancel("done")
    sql = "UPDATE instance SET seq = seq + 1, change = 'cancel', status = 'cancelled' WHERE id = ?"
    with pytest.raises(sqlite3.IntegrityError, match="what is done or cancelled stays so"):
        failed._store.connection.execute(sql, ("done",))


@pytest.mark.parametrize("rests", ["failed", "paused"])
def test_a_cleanup_waits_for_the_key_that_another_one_has_now(scene: Scene, rests: str) -> None:
    """What failed, or was paused, has no key: never two of those that have it are under way."""
    scene.sharing = Sharing(concurrency=Concurrency(key="one"))
    with scene.engine() as engine:
        engine.create("m", instance_id="i")
        if rests == "failed":
            scene.work = failing
            engine.run(["i"])
        else:
            engine.pause("i")
        scene.work = _once_held(scene)
        engine.create("m", instance_id="j")
        assert engine.run(["j"]) == {"j": "done"}
        assert scene.told == []
        assert scene.row(engine)["awaits_turn"] == 1
        assert engine.run(["i"]) == {"i": "cancelled"}
        assert len(scene.told) == 1
    assert violations(scene.config.store) == []


def _once_held(scene: Scene) -> Callable[[Task], Any]:
    """Return a task that cancels the other instance while its own has the key."""

    def work(task: Task) -> None:
        if task.state == "a":
            with scene.engine() as other:
                assert other.cancel("i")
                other.work(until_idle=True)

    return work


@pytest.mark.parametrize("rests", ["paused", "ready"])
def test_what_is_being_cancelled_is_not_cancelled_again_for_its_key(
    scene: Scene, rests: str
) -> None:
    """A third one is made all the same, and waits until the first has been cleaned."""
    scene.sharing = Sharing(concurrency=Concurrency(key="one", behavior="cancel"))
    with scene.engine() as engine:
        scene.work = _pausing(scene) if rests == "paused" else lambda _: engine.stop("enough")
        engine.create("m", instance_id="i")
        assert engine.run(["i"]) == {"i": rests}
    scene.work = lambda _: None
    with scene.engine() as engine:
        assert scene.row(engine)["awaits_turn"] == 0
        assert engine.cancel("i")
        for name in ("j", "k"):
            assert engine.create("m", instance_id=name) == name
        engine.work(until_idle=True)
        statuses = dict(engine._store.connection.execute("SELECT id, status FROM instance"))
        assert statuses == {"i": "cancelled", "j": "cancelled", "k": "done"}
        assert len(scene.told) == 2
    assert violations(scene.config.store) == []
