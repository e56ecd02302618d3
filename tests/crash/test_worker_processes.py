"""
Tasks in processes of their own: when one of these dies, and when their driver does.

The points of the driver are drawn anew in each run; the seed is printed with a failure and
taken from STATEPIPE_SEED.
"""

import os
import random
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from statepipe.model import Status
from tests.crash import scene
from tests.crash.processes import ended, soaking, start, survivors, until

SEED = int(os.environ.get("STATEPIPE_SEED", random.SystemRandom().getrandbits(32)))

#: How many drivers are killed, at how many points; a run has some more of them.
KILLS, POINTS = 5, 60

#: How many batches a kill may cost: one for each call of an attempt.
ENVS = {"process": 1, "parallel": scene.PARALLEL}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> scene.Outcome:
    """What an undisturbed run leaves."""
    root = scene.set_up(tmp_path_factory.mktemp("undisturbed") / "shop")
    scene.drive(root)
    return scene.outcome(root)


@pytest.mark.parametrize("env", ENVS)
@pytest.mark.parametrize("call", ["extract 1", "transform 0", "transform 3"])
def test_a_killed_task_is_a_failed_attempt_and_tried_again(
    tmp_path: Path, expected: scene.Outcome, call: str, env: str
) -> None:
    """The driver lives on; the next attempt does what is not committed, nothing else."""
    root = scene.set_up(tmp_path / "shop")
    (root / "deadly").write_text(call, encoding="utf-8")

    end = ended(start(root, "--env", env))

    assert end.code == 0, end
    assert scene.retries(root) == ["TaskCrashed"]
    redone = scene.redone(root)
    assert redone[call] == 1
    assert redone.total() <= ENVS[env]
    assert scene.damage(root) == []
    assert scene.differences(scene.outcome(root), expected) == []


@pytest.mark.parametrize("env", ENVS)
@pytest.mark.parametrize("kill", range(KILLS))
def test_a_killed_driver_takes_its_tasks_with_it_and_another_goes_on(
    tmp_path: Path, expected: scene.Outcome, kill: int, env: str
) -> None:
    """No task outlives its driver to write what nobody waits for; the end is the same."""
    point = random.Random(SEED).sample(range(POINTS), KILLS)[kill]
    root = scene.set_up(tmp_path / "shop")

    killed_and_resumed(root, [point], expected, env=env)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_drivers_killed_for_minutes(tmp_path: Path, expected: scene.Outcome) -> None:
    """The same, several kills a run, on and on; for STATEPIPE_SOAK_SECONDS."""
    rng = random.Random(SEED)
    for number in soaking():
        root = scene.set_up(tmp_path / str(number))
        points = [rng.randrange(POINTS), *rng.choices(range(POINTS // 3), k=rng.randrange(4))]

        killed_and_resumed(root, points, expected, env=rng.choice(list(ENVS)))

        shutil.rmtree(root)


def killed_and_resumed(
    root: Path, points: Sequence[int], expected: scene.Outcome, *, env: str
) -> None:
    """Kill one driver after the other, each at its point; check, and let the last one finish."""
    told = f"STATEPIPE_SEED={SEED}, {env}, points {points}"
    kills = 0
    for point in points:
        killed = ended(start(root, "--env", env, "--at", point))
        # A run that goes on has fewer points: it may have come to its end instead.
        assert killed.code in ((-signal.SIGKILL, 0) if kills else (-signal.SIGKILL,)), (
            told,
            killed,
        )
        kills += killed.code != 0
        until(lambda: not survivors(root), f"the end of its tasks; {told}")
        assert scene.damage(root) == [], told

    # What is done nobody drives, so it is not tidied up.
    was_done = scene.rests(root) == Status.DONE
    end = ended(start(root, "--env", env))

    assert end.code == 0, (told, end)
    assert scene.damage(root) == [], told
    assert scene.differences(scene.outcome(root), expected) == [], told
    assert was_done or scene.leftovers(root) == [], told
    assert scene.redone(root).total() <= kills * ENVS[env], told
