"""
Tasks in processes of their own: when one of these dies, and when their driver does.

The points of the driver are drawn anew in each run; the seed is printed with a failure and
taken from STATEPIPE_SEED.
"""

import os
import random
import signal
from pathlib import Path

import pytest

from tests.crash import scene
from tests.crash.processes import ended, start, survivors, until

SEED = int(os.environ.get("STATEPIPE_SEED", random.SystemRandom().getrandbits(32)))

#: How many drivers are killed, at how many points; a run has some more of them.
KILLS, POINTS = 5, 60


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> scene.Outcome:
    """What an undisturbed run leaves."""
    root = scene.set_up(tmp_path_factory.mktemp("undisturbed") / "shop")
    scene.drive(root)
    return scene.outcome(root)


@pytest.mark.parametrize("call", ["extract 1", "transform 0", "transform 3"])
def test_a_killed_task_is_a_failed_attempt_and_tried_again(
    tmp_path: Path, expected: scene.Outcome, call: str
) -> None:
    """The driver lives on; the next attempt does what is not committed, nothing else."""
    root = scene.set_up(tmp_path / "shop")
    (root / "deadly").write_text(call, encoding="utf-8")

    end = ended(start(root, "--env", "process"))

    assert end.code == 0, end
    assert scene.retries(root) == ["TaskCrashed"]
    assert scene.redone(root) == {call: 1}
    assert scene.damage(root) == []
    assert scene.differences(scene.outcome(root), expected) == []


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_killed_driver_takes_its_tasks_with_it_and_another_goes_on(
    tmp_path: Path, expected: scene.Outcome, kill: int
) -> None:
    """No task outlives its driver to write what nobody waits for; the end is the same."""
    point = random.Random(SEED).sample(range(POINTS), KILLS)[kill]
    root = scene.set_up(tmp_path / "shop")
    told = f"STATEPIPE_SEED={SEED}, point {point}"

    killed = ended(start(root, "--env", "process", "--at", point))

    assert killed.code == -signal.SIGKILL, (told, killed)
    until(lambda: not survivors(root), f"the end of its tasks; {told}")
    assert scene.damage(root) == [], told

    end = ended(start(root, "--env", "process"))

    assert end.code == 0, (told, end)
    assert scene.damage(root) == [], told
    assert scene.differences(scene.outcome(root), expected) == [], told
    assert scene.leftovers(root) == [], told
    assert scene.redone(root).total() <= 1, told
