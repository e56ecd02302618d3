"""
Keys of `concurrency` held by real workers that are killed: never two, and none is lost.

The seed decides who is killed when; it is printed, and STATEPIPE_TEST_SEED sets it.
"""

import random
import shutil
import sys
import threading
from pathlib import Path
from typing import Final

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.testing import violations
from tests.crash.processes import soaking, until
from tests.crash.test_rough_api import seed_of_this_run
from tests.crash.test_slots import SETTINGS, ask, done, nursery

ROOMS: Final = ("a", "b")

_ORDER: Final = """
SELECT i.id
  FROM journal j
  JOIN instance i ON i.n = j.instance
 WHERE j.kind = 'claim'
 GROUP BY i.n
 ORDER BY min(j.n)
"""


def disturbed(root: Path, *, seed: int, kills: int) -> list[str]:
    """Let two workers drive instances of two keys and be killed; return what is wrong."""
    rng = random.Random(seed)
    shutil.copytree(Path(__file__).parent / "slots" / "machines", root / "machines")
    (root / "statepipe.toml").write_text(SETTINGS, encoding="utf-8")
    hall = root / "hall"
    hall.mkdir()
    made: dict[str, list[str]] = {room: [] for room in ROOMS}

    def create(count: int) -> None:
        with Engine(load_config(start=root, environ={}, env="thread")) as engine:
            for _ in range(count):
                for room, names in made.items():
                    params = {"room": room, "hall": str(hall)}
                    name = f"{room}{len(names)}"
                    engine.create("turns", instance_id=name, params=params)
                    names.append(name)

    create(12)
    with nursery(root) as workers:
        for _ in range(kills):
            while len(workers.alive) < 2:
                workers.start()
            goal = done(root) + rng.randrange(3)
            until(lambda goal=goal: done(root) >= goal, "some to be done")  # type: ignore[misc]  # a default binds the loop's value, or frozen is what is tested
            threading.Event().wait(rng.uniform(0, 0.05))
            workers.kill(rng.choice(workers.alive))
            if done(root) > sum(map(len, made.values())) - 8:
                create(8)
        workers.start()
        total = sum(map(len, made.values()))
        until(lambda: done(root) == total, "all to be done")
    found = violations(root / "checkpoints" / "statepipe.db")
    found += [path.read_text(encoding="utf-8") for path in hall.glob("wrong-*")]
    claimed = [name for (name,) in ask(root, _ORDER)]
    for room, names in made.items():
        if (order := [name for name in claimed if name[0] == room]) != names:
            found.append(f"{room}: {order}")
    (takeovers,) = ask(root, "SELECT count(*) FROM journal WHERE event = 'takeover'")[0]
    sys.stdout.write(f"{kills} killed, {total} instances, {takeovers} taken over\n")
    return found


@pytest.mark.timeout(120)
def test_never_two_have_one_key_however_often_workers_are_killed(tmp_path: Path) -> None:
    """Two workers, 15 kills, two keys: one at a time in each room, in the order of creation."""
    assert disturbed(tmp_path / "p", seed=seed_of_this_run(), kills=15) == []


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_no_key_is_lost_for_as_long_as_it_takes(tmp_path: Path) -> None:
    """100 kills in each round, for STATEPIPE_SOAK_SECONDS."""
    first = seed_of_this_run()
    for nth in soaking():
        assert disturbed(tmp_path / str(nth), seed=first + nth, kills=100) == [], first + nth
