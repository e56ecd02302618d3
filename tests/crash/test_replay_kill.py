"""A replay killed at any point of its protocol lands each record once (R1, R4)."""

import json
import subprocess
import sys

import pytest

from tests.crash.processes import ROOT

#: Below this the points are blind: the replay's own commit and its drive have more.
POINTS_MIN = 20


def sweep(first: int, step: int) -> list[str]:
    """Return the problems found at each of the points, [] at most of them hopefully."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.replaying", str(first), str(step)],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) >= POINTS_MIN // step
    return [f"{line['name']}: {problem}" for line in lines for problem in line["problems"]]


@pytest.mark.timeout(180)
def test_a_replay_killed_anywhere_loads_each_record_once() -> None:
    """Before its commit there is none, and the next try makes it; after, a worker drives it."""
    assert sweep(0, 3) == []


@pytest.mark.soak
def test_a_replay_killed_at_every_point_loads_each_record_once() -> None:
    """The same without gaps."""
    assert sweep(0, 1) == []
