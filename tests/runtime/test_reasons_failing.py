"""Why an attempt failed and was, or was not, tried again: by the policy that governed it."""

from pathlib import Path

import pytest

from statepipe.errors import Fatal, TaskTimeout, Throttled
from statepipe.model import Outcome, Task
from tests.runtime.scene import Scene, raising, texts


class Own(Exception):
    """An error of an author; nobody but its module knows its bases."""


class OwnFatal(Fatal):
    """One whose base is known nowhere else."""


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Make an empty place."""
    return Scene(tmp_path)


# ---- failed ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "policy", "code", "text"),
    [
        (
            Throttled("slow"),
            {"max_attempts": 1},
            "exhausted",
            "the policy allows one attempt (max_attempts = 1)",
        ),
        (
            ValueError("seven"),
            {},
            "not_listed",
            "ValueError is not among the errors that the policy tries again (errors = Throttled)",
        ),
        (
            Own("seven"),
            {},
            "not_listed",
            (
                "Own is not among the errors that the policy tries again (errors = Throttled),"
                " nor is a base of it"
            ),
        ),
        (Fatal("no"), {"errors": ["*"]}, "fatal", "Fatal is never tried again"),
        (
            OwnFatal("no"),
            {"errors": ["*"]},
            "refused",
            (
                "OwnFatal is no error to try again here: what the task had returned was refused,"
                " or its own base class is Fatal"
            ),
        ),
    ],
)
def test_a_failure_says_why_it_was_not_tried_again(
    scene: Scene, error: BaseException, policy: dict[str, object], code: str, text: str
) -> None:
    """By the policy that governed the attempt, not by the one there is now."""
    scene.driven(raising(error), policy=policy)

    said = scene.why()

    assert list(said) == ["error", code]
    assert said["error"].text == f"attempt 1 of a failed: {type(error).__name__}: {error}"
    assert said["error"].facts["error_class"] == type(error).__name__
    assert said["error"].at_ms == scene.clock.now_ms()
    assert said[code].text == text


def test_attempts_that_were_used_up_are_counted(scene: Scene) -> None:
    """And if the error would not have been tried again anyway, that is said too."""
    errors = iter([Throttled("slow"), ValueError("seven")])

    def fails(_: Task) -> None:
        raise next(errors)

    scene.driven(fails, policy={"max_attempts": 2})
    scene.clock.advance(1_000)
    with scene.engine(fails, policy={"max_attempts": 2}) as engine:
        engine.run(["i"])

    said = texts(scene.why())

    assert said["error"] == "attempt 2 of a failed: ValueError: seven"
    assert said["exhausted"] == "all 2 attempts were used up (max_attempts = 2)"
    assert said["not_listed"].startswith("ValueError is not among")


def test_a_state_that_took_too_long_gets_no_other_attempt(scene: Scene) -> None:
    """`max_elapsed` counts from entering the state."""

    def takes_a_minute(_: Task) -> None:
        scene.clock.advance(60_000)
        raise Throttled("slow")

    scene.driven(takes_a_minute, policy={"max_elapsed": "30s"})

    assert texts(scene.why())["elapsed"] == (
        "it had been in the state for 1m 0s, and no attempt begins after max_elapsed = 30.0s"
    )


def test_a_base_class_counts_as_the_policy_counts_it(scene: Scene) -> None:
    """A TaskTimeout is a TimeoutError, which is listed; so its attempts are what ended it."""
    policy = {"errors": ["TimeoutError"], "max_attempts": 1}
    scene.driven(raising(TaskTimeout("late")), policy=policy)

    assert list(scene.why()) == ["error", "exhausted"]


def test_an_event_of_the_author_can_be_what_failed_it(scene: Scene) -> None:
    """There is no error then, and no policy that could have tried again."""
    scene.driven(lambda _: Outcome("bad"))

    assert texts(scene.why()) == {
        "event": "a ended with 'bad', which leads to failed, a final state of kind failure"
    }


def test_others_that_failed_alike_are_counted(scene: Scene) -> None:
    """One cause, many instances: it is the cause that is to be mended."""
    scene.driven(raising(ValueError("seven")))
    with scene.engine(raising(ValueError("eight"))) as engine:
        for name in ("j", "k"):
            engine.create("m", instance_id=name)
        engine.run(["j", "k"])

    assert texts(scene.why())["alike"] == (
        "2 other instances of m failed in a with ValueError as well"
    )


# ---- waiting --------------------------------------------------------------------------


def test_a_pause_is_explained_by_the_policy(scene: Scene) -> None:
    """Which attempt, when, after what, and why so long."""
    scene.driven(raising(Throttled("slow")), policy={"interval": "10s", "backoff_rate": 3.0})

    said = scene.why()

    assert texts(said) == {
        "due": "attempt 2 of 3 of a is due",
        "error": "attempt 1 of a failed: Throttled: slow",
        "pause": "the pause is 10.0s: interval = 10.0s, times backoff_rate = 3 for each attempt"
        " after the first, at most max_delay = 1m 0s",
    }
    assert said["due"].at_ms == scene.clock.now_ms() + 10_000
    assert said["pause"].facts["pause_ms"] == 10_000


def test_a_pause_that_was_drawn_says_from_what(scene: Scene) -> None:
    """Jitter makes it shorter than the numbers of the policy."""
    scene.driven(raising(Throttled("slow")), policy={"interval": "10s", "jitter": "full"})

    assert texts(scene.why())["pause"].endswith('; jitter = "full" draws from 0 to 10.0s')


def test_a_pause_that_the_other_side_asked_for_says_so(scene: Scene) -> None:
    """Retry-After wins over the policy."""
    scene.driven(raising(Throttled("slow", retry_after=600)))

    assert texts(scene.why())["retry_after"] == (
        "the pause of 10m 0s is what the other side asked for"
    )


def test_a_retry_that_nobody_comes_for_says_that_nobody_lives(scene: Scene) -> None:
    """The time has come, and no process looks."""
    scene.driven(raising(Throttled("slow")))
    scene.clock.advance(60_000)

    assert texts(scene.why()) == {
        "due": "attempt 2 of 3 of a is overdue",
        "error": "attempt 1 of a failed: Throttled: slow",
        "no_worker": "no process that drives instances is alive",
    }
