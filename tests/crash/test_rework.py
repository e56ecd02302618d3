"""
What a kill costs: at most one batch for each call of the attempt that was under way (R18).

Drivers and workers are killed at random moments; what was done again is counted from outside,
by the lines that the tasks themselves leave. STATEPIPE_SEED repeats a run.
"""

import os
import random
import sys
from pathlib import Path

import pytest

from tests.crash import milling

SEED = int(os.environ.get("STATEPIPE_SEED", random.SystemRandom().getrandbits(32)))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("parallel", [1, milling.PARALLEL])
def test_a_kill_costs_one_batch_of_a_call_at_most(tmp_path: Path, parallel: int) -> None:
    """Whoever is killed, and whenever; no row is lost or doubled by it either."""
    work_again_at_most(tmp_path, parallel=parallel, kills=10, batches=10)


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("parallel", [1, milling.PARALLEL])
def test_a_hundred_kills_cost_a_hundred_batches_at_most(tmp_path: Path, parallel: int) -> None:
    """The same for longer; prints what it was."""
    work_again_at_most(tmp_path, parallel=parallel, kills=100, batches=60)


def work_again_at_most(root: Path, *, parallel: int, kills: int, batches: int) -> None:
    """Kill so many; see what was done again, and that the end is as if nobody had been killed."""
    milling.set_up(root / "mill", parallel=parallel)
    killed = milling.disturb(root / "mill", random.Random(SEED), kills=kills, batches=batches)
    again = milling.redone(root / "mill")
    told = (
        f"STATEPIPE_SEED={SEED}, parallel {parallel}: {killed.drivers} drivers and"
        f" {killed.workers} workers killed, {again.total()} batches done again,"
        f" {again.total() / killed.total:.2f} a kill"
    )
    sys.stdout.write(f"{told}\n")

    assert again.total() <= killed.total * parallel, (told, again)
    assert milling.problems(root / "mill", killed, batches=batches) == [], told
