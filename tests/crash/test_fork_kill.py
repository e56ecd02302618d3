"""A fork killed at any point of its protocol is there whole or not at all, and loads once."""

import json
import subprocess
import sys

import pytest

from tests.crash.processes import ROOT

#: Below this the points are blind: the files, the fork's own commit and its drive have more.
POINTS_MIN = 40


def sweep(first: int, step: int) -> list[str]:
    """Return the problems found at each of the points, [] at most of them hopefully."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.forking", str(first), str(step)],
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
def test_a_fork_killed_anywhere_loads_each_record_once() -> None:
    """Before its commit there are files at most, and they are swept; after, a worker drives it."""
    assert sweep(0, 8) == []


@pytest.mark.soak
def test_a_fork_killed_at_every_point_loads_each_record_once() -> None:
    """The same without gaps."""
    assert sweep(0, 1) == []
