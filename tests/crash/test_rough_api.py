"""
An API that throttles, breaks, cuts, resets and is silent, read by processes that are killed.

The seed decides what the API does and when somebody is killed; it is printed, and
STATEPIPE_TEST_SEED sets it.
"""

import os
import random
import sys
from pathlib import Path

import pytest

from tests.crash.processes import soaking
from tests.crash.rough.api import RoughApi, early
from tests.crash.rough.chaos import disturb, problems, set_up
from tests.io.web import serving


def seed_of_this_run() -> int:
    """Return the seed, and say it."""
    seed = int(os.environ.get("STATEPIPE_TEST_SEED", random.SystemRandom().randrange(10**6)))
    sys.stdout.write(f"STATEPIPE_TEST_SEED={seed}\n")
    return seed


def read_disturbed(root: Path, *, seed: int, kills: int) -> list[str]:
    """Read the API while processes are killed; return what is wrong afterwards."""
    api = RoughApi(seed)
    with serving(api) as web:
        killed = disturb(set_up(root), web, rng=random.Random(seed), kills=kills)
        found = problems(root, api, web, killed)
    sys.stdout.write(
        f"seed {seed}: {len(killed)} killed, {len(web.requests)} requests,"
        f" {len(api.grants)} pauses asked for, {len(early(api, web))} broken by who was not told,"
        f" {dict(api.faults)}\n"
    )
    return found


@pytest.mark.timeout(180)
def test_a_rough_api_is_read_exactly_by_processes_that_are_killed(tmp_path: Path) -> None:
    """
    The destination has each clean row once, type for type; clean + rejected = served.

    No request comes before its Retry-After, one at a time reads, a kill costs at most the
    batch in the making, and the credential is in no file.
    """
    assert read_disturbed(tmp_path / "project", seed=seed_of_this_run(), kills=30) == []


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_rough_api_is_read_exactly_for_as_long_as_it_takes(tmp_path: Path) -> None:
    """The same with other seeds, for STATEPIPE_SOAK_SECONDS."""
    first = seed_of_this_run()
    for nth in soaking():
        root = tmp_path / str(nth)
        assert read_disturbed(root, seed=first + nth, kills=60) == [], first + nth
