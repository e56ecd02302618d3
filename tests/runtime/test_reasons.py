"""Why an instance is where it is: every standing has its reasons, from stored facts alone."""

import os
import re
from pathlib import Path
from unittest import mock

import pytest

from statepipe.errors import NotFound, Throttled
from statepipe.model import Outcome, Task
from statepipe.store import liveness
from statepipe.store.walk.ready import Scope
from tests.runtime.scene import Function, Scene, nothing, raising, texts


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Make an empty place."""
    return Scene(tmp_path)


# ---- ready ----------------------------------------------------------------------------


def test_an_instance_that_was_only_created_waits_for_a_worker(scene: Scene) -> None:
    """The reason given with `start` is repeated."""
    with scene.engine() as engine:
        engine.create("m", instance_id="i", reason="month end")

    assert texts(scene.why()) == {
        "create": "it was created and nobody has driven it yet: month end",
        "no_worker": "no process that drives instances is alive",
    }


def test_a_worker_that_lives_and_leaves_it_alone_is_named(scene: Scene) -> None:
    """It cannot be known from the store why; what it may be is said."""
    with scene.engine() as engine:
        engine.create("m", instance_id="other")
        engine.run(["other"])
        engine.create("m", instance_id="i")
        said = scene.why()

    assert said["left_alone"].text.startswith(f"process {os.getpid()} on ")
    assert said["left_alone"].facts == {
        "alive": 1,
        "drives": 0,
        "slots": 64,
        "pids": [os.getpid()],
    }


def test_a_machine_that_has_changed_is_why_workers_leave_it_alone(scene: Scene) -> None:
    """Both definitions are in the store, so what changed can be said."""
    with scene.engine() as engine:
        engine.create("m", instance_id="i")
    with scene.engine(version=2) as engine:
        engine.create("m", instance_id="newer")

    assert texts(scene.why())["changed"] == (
        "the machine has changed since, and workers leave alone what began otherwise:"
        " version was 1 and is 2"
    )


def test_an_orderly_stop_is_why_it_rests(scene: Scene) -> None:
    """With what the driver said when it let go."""

    def is_stopped(_: Task) -> None:
        engine.stop("SIGTERM")

    with scene.engine(is_stopped) as engine:
        engine.create("m", instance_id="i")
        engine.run(["i"])

    assert texts(scene.why())["interrupt"] == (
        "its driver was stopped in order and let it go: SIGTERM"
    )


def test_a_rewind_is_why_it_rests_in_an_earlier_state(scene: Scene) -> None:
    """With the reason that the person gave."""
    scene.driven(nothing)
    with scene.engine() as engine:
        engine.rewind("i", to="a", reason="rates were wrong")

    assert texts(scene.why())["rewind"] == ("somebody put it back from done to a: rates were wrong")


# ---- running, stalled -----------------------------------------------------------------


def _seen_by(scene: Scene, said: list[dict[str, str]]) -> Function:
    """Return a task that asks, while it runs, why it runs."""

    def asks(_: Task) -> None:
        said.append(texts(scene.why()))

    return asks


def test_what_is_driven_says_by_whom(scene: Scene) -> None:
    """The question is asked while the task runs."""
    said: list[dict[str, str]] = []
    scene.driven(_seen_by(scene, said))

    assert re.fullmatch(rf"process {os.getpid()} on .* is alive and drives it", said[0]["driven"])
    assert said[0]["attempt"] == "attempt 1 of a is under way or about to begin"
    assert said[0]["no_batch"] == "no batch of a is committed yet"


def test_what_runs_again_says_after_what(scene: Scene) -> None:
    """A retry shows the error before, a resume its reason."""
    said: list[dict[str, str]] = []
    scene.driven(raising(Throttled("slow")))
    scene.clock.advance(1_000)
    with scene.engine(_seen_by(scene, said)) as engine:
        engine.run(["i"])
        engine.rewind("i", to="a", reason="again")
        engine.resume(["i"], reason="by hand")

    assert said[0]["attempt"] == "attempt 2 of a is under way or about to begin"
    assert said[0]["tried"] == "attempt 1 of a failed: Throttled: slow"
    assert said[1]["resumed"] == "somebody resumed it: by hand"
    assert said[1]["rewound"] == "somebody put it back from done to a: again"


def test_a_wish_that_is_not_yet_honoured_is_said(scene: Scene) -> None:
    """With its reason."""
    said: list[dict[str, str]] = []

    def asks(_: Task) -> None:
        with scene.engine() as other:
            other.pause("i", reason="the source is down")
        said.append(texts(scene.why()))

    scene.driven(asks)

    assert said[0]["asked"] == (
        "somebody asked for a pause; its driver obeys at the next batch or state:"
        " the source is down"
    )
    assert texts(scene.why()) == {"pause": "somebody paused it in b: the source is down"}


@pytest.mark.parametrize(
    ("how", "demise"),
    [
        ("gone", "its process is gone"),
        ("overdue", "its lease has passed: it was stopped, or its machine slept"),
        ("rebooted", "its machine was started anew since"),
    ],
)
def test_a_dead_driver_is_named_with_how_it_is_known(scene: Scene, how: str, demise: str) -> None:
    """Nobody can tell a dead process from a slow one but by these."""
    engine = scene.engine()
    engine.create("m", instance_id="i")
    engine._take_back("i", reason=None, definition="pinned")
    if how == "rebooted":
        scene.clock.reboot()
    elif how == "overdue":
        scene.clock.advance(30_000)
    with mock.patch.object(
        liveness, "pid_started", (lambda _: None) if how == "gone" else liveness.pid_started
    ):
        said = scene.why()
    engine.close()

    text = said["dead_driver"].text
    assert text.startswith(f"process {os.getpid()} on ")
    assert text.endswith(f" drove it and is dead: {demise}")
    assert said["dead_driver"].facts["death"] == how
    assert "no_worker" in said


def test_a_takeover_says_from_whom(scene: Scene) -> None:
    """One process died, the next went on; twice in a row is worth a word of its own."""
    engines = []
    for _ in range(2):
        engines.append(scene.engine())
        if len(engines) == 1:
            engines[0].create("m", instance_id="i")
        found = engines[-1]._find("i")
        loop = engines[-1]._driver.loop()
        loop.learn(engines[-1]._program("m"))
        loop.limit_to(Scope(instances=frozenset({found.n})))
        loop._claim()
        engines[-1]._driver._attendants.stop()  # type: ignore[union-attr]  # it came with the loop
        scene.clock.advance(30_000)
    said: list[dict[str, str]] = []
    with scene.engine(_seen_by(scene, said)) as engine:
        engine.run(["i"])
    for each in engines:
        each.close()

    assert re.fullmatch(
        rf"it was taken over from process {os.getpid()} on .*, which was dead",
        said[0]["taken_over"],
    )
    assert said[0]["lost_before"] == "its drivers died 2 times in a row without any progress"


# ---- paused, cancelled, done ----------------------------------------------------------


def test_a_pause_at_rest_carries_its_own_reason(scene: Scene) -> None:
    """Not that of an earlier one."""
    scene.driven(raising(Throttled("slow")))
    with scene.engine() as engine:
        engine.pause("i", reason="month end")

    assert texts(scene.why()) == {"pause": "somebody paused it in a: month end"}


def test_a_cancel_without_a_reason_says_so(scene: Scene) -> None:
    """Who did it is not in the store; when it was is."""
    scene.driven(raising(Throttled("slow")))
    with scene.engine() as engine:
        engine.cancel("i")

    said = scene.why()

    assert texts(said) == {"cancel": "somebody cancelled it in a; no reason was given"}
    assert said["cancel"].at_ms == scene.clock.now_ms()


def test_what_is_done_says_what_it_took(scene: Scene) -> None:
    """Detours are counted: retries, resumes, takeovers."""
    scene.driven(raising(Throttled("slow")))
    scene.clock.advance(1_000)
    with scene.engine() as engine:
        engine.resume(["i"])

    assert texts(scene.why()) == {
        "done": "ok of b led to done",
        "summary": "3 attempts, 1.0s from creation to end",
        "detours": "on its way it was tried again once, resumed once",
    }


# ---- one state ------------------------------------------------------------------------


def test_a_state_that_is_behind_says_how_it_was_left(scene: Scene) -> None:
    """And that a resume skips it."""
    scene.driven(nothing, stop_at="none")
    with scene.engine() as engine:
        engine.rewind("i", to="b")

    said = texts(scene.why(state="a"))

    assert said["left"] == "ok of a led to b (0ms)"
    assert said["skipped"] == "its work is committed: a resume skips it"
    assert said["tally"] == "in all there: 1 attempt, 0ms"


def test_a_state_that_was_rewound_past_is_to_be_done_again(scene: Scene) -> None:
    """What it did before does not count any more."""
    scene.driven(nothing)
    with scene.engine() as engine:
        engine.rewind("i", to="a")

    assert texts(scene.why(state="b"))["undone"] == (
        "what it did was undone since: it is to be done again"
    )


def test_a_state_ahead_says_what_it_waits_for(scene: Scene) -> None:
    """Nothing is wrong with it."""
    scene.driven(raising(Throttled("slow")))

    assert texts(scene.why(state="b")) == {"ahead": "it has not come there yet: it is in a"}


def test_a_state_that_was_passed_by_says_what_would_have_led_there(scene: Scene) -> None:
    """And what came instead."""
    scene.driven(lambda _: Outcome("skip"))

    said = scene.why(state="b")

    assert said["not_reached"].text == (
        "nothing led there; these would have:\n  ok of a; it ended with skip"
    )
    assert said["not_reached"].facts["ways"] == {"a": ["ok"]}


def test_the_state_it_is_in_has_the_reasons_of_the_whole(scene: Scene) -> None:
    """And says how it came there."""
    scene.driven(raising(ValueError("seven")))

    said = texts(scene.why(state="a"))

    assert list(said)[:2] == ["error", "not_listed"]
    assert said["entered"] == "it was created, in a"


def test_a_state_that_the_machine_does_not_have_is_refused(scene: Scene) -> None:
    """With the nearest name."""
    scene.driven(nothing)

    with pytest.raises(NotFound, match="has no state 'don'") as refused:
        scene.why(state="don")

    assert 'did you mean "done"' in refused.value.message


# ---- the story ------------------------------------------------------------------------


def test_the_story_tells_every_move_in_order(scene: Scene) -> None:
    """From creation to end, in sentences."""
    scene.driven(raising(Throttled("slow")))
    with scene.engine() as engine:
        engine.pause("i", reason="night")
        engine.resume(["i"], reason="morning")
        engine.rewind("i", to="b", reason="again")
        engine.cancel("i")

    me = rf"process {os.getpid()} on \S+"
    patterns = [
        "it was created, in a",
        f"{me} took it in hand",
        "attempt 1 of a after 0ms failed and is to be tried again: Throttled: slow",
        "it was paused in a: night",
        "somebody resumed it, in a: morning",
        r"ok of a led to b \(0ms\)",
        r"ok of b led to done \(0ms\)",
        "somebody put it back from done to b: again",
        "it was cancelled in b",
    ]
    story = scene.story()
    assert len(story) == len(patterns)
    for line, pattern in zip(story, patterns, strict=True):
        assert re.fullmatch(pattern, line), line
