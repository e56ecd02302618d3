"""
Each file and each partition has exactly one instance, however often the workers are killed.

The seed decides who is killed when; it is printed, and STATEPIPE_TEST_SEED sets it.
"""

import datetime as dt
import random
import shutil
import sys
import threading
from collections import Counter
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

import pytest

from statepipe.clock import SystemClock
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import Busy, Refused
from statepipe.store.codec import decode
from statepipe.testing import violations
from tests.crash.processes import soaking, until
from tests.crash.test_rough_api import seed_of_this_run
from tests.crash.test_triggers import ask, keys, nursery
from tests.crash.triggers.fast import FastClock

MACHINES: Final = Path(__file__).parent / "arrivals" / "machines"
BEGAN: Final = dt.datetime(2013, 2, 8, tzinfo=dt.UTC)
TRIGGERS: Final = ("each", "day", "drop", "marked")


class World:
    """What happens outside: files arrive, partitions are asked for, and done once more."""

    def __init__(self, root: Path, engine: Engine, rng: random.Random) -> None:
        self.files: list[str] = []
        self.marked: list[str] = []
        self.hours: list[str] = []
        self._root = root
        self._engine = engine
        self._rng = rng

    def step(self) -> None:
        """Let one thing happen."""
        choice = self._rng.random()
        if choice < 0.3:
            self._put("inbox", f"{len(self.files)}.csv", self.files)
        elif choice < 0.5:
            self._put("marked", f"{len(self.marked)}", self.marked)
        elif choice < 0.9 or not self.hours:
            hour = BEGAN + dt.timedelta(hours=len(self.hours))
            name = hour.isoformat()[:13]
            self._engine.create("up", params={"hour": hour}, instance_id=name)
            self._engine.create("down", params={"hour": hour}, instance_id=f"waits-{name}")
            self.hours.append(name)
        else:
            try:
                self._engine.rewind(self._rng.choice(self.hours), to="working")
            except (Busy, Refused):
                return  # it is at work

    def expected(self) -> dict[str, list[str]]:
        """Return the occasions that there are to be, by their trigger, as keys of instances."""
        days = Counter(each[:10] for each in self.hours)
        return {
            "each": self.hours,
            "day": [f"{day}." for day, hours in days.items() if hours == 24],
            "drop": self.files,
            "marked": self.marked,
        }

    def _put(self, folder: str, name: str, names: list[str]) -> None:
        path = self._root / folder / name
        path.write_text("a\n")
        if folder == "marked":
            path.with_name(f"{name}.done").touch()
        names.append(name)


def started(root: Path) -> Counter[str]:
    """Return how many instances have which key as their parameter, of those that a trigger made."""
    sql = "SELECT i.params FROM instance i JOIN occasion o ON o.instance = i.id"
    return Counter(decode(params)["key"] for (params,) in ask(root, sql))


def has_started(root: Path, trigger: str, enough: int) -> bool:
    """Return whether a trigger has started so many instances."""
    return len(keys(root, trigger)) >= enough


def wrong_with(root: Path, world: World) -> list[str]:
    """Return what is wrong with what triggers started, one text each."""
    found = violations(root / "checkpoints" / "statepipe.db")
    expected = world.expected()
    for trigger, wanted in expected.items():
        if len(had := keys(root, trigger)) != len(wanted):
            found.append(f"{trigger}: {len(wanted)} occasions, started {had}")
    if (made := started(root)) != Counter(chain.from_iterable(expected.values())):
        found.append(f"started {made}, expected {expected}")
    ((ours,),) = ask(root, "SELECT count(*) FROM instance WHERE id NOT IN"
                     " (SELECT instance FROM occasion WHERE instance IS NOT NULL)")  # fmt: skip
    if ours != 2 * len(world.hours):
        found.append(f"{ours} instances of our own, and not {2 * len(world.hours)}")
    return found


def disturbed(root: Path, *, seed: int, kills: int) -> list[str]:
    """Let three workers look after triggers and be killed; return what is wrong."""
    rng = random.Random(seed)
    began_ms = SystemClock().boot_ms()
    shutil.copytree(MACHINES, root / "machines")
    for folder in ("inbox", "marked"):
        (root / folder).mkdir()
    with (
        Engine(load_config(start=root, environ={}), clock=FastClock(began_ms)) as engine,
        nursery(root, began_ms) as workers,
    ):
        assert engine._store.path.exists(), "it is made now"
        workers.start()
        seen = "SELECT count(*) FROM machine_trigger"
        until(lambda: ask(root, seen) == [(4,)], "the triggers to be seen")
        world = World(root, engine, rng)
        for _ in range(kills):
            while len(workers.alive) < 3:
                workers.start()
            for _ in range(rng.randrange(8)):
                world.step()
            threading.Event().wait(rng.uniform(0, 0.15))
            workers.kill(rng.choice(workers.alive))
        workers.start()
        for trigger, wanted in world.expected().items():
            is_there = partial(has_started, root, trigger, len(wanted))
            until(is_there, f"all of {trigger}")
        unfinished = "SELECT 1 FROM instance WHERE status <> 'done'"
        until(lambda: not ask(root, unfinished), "all to be done")
    said = {trigger: len(wanted) for trigger, wanted in world.expected().items()}
    sys.stdout.write(f"{kills} killed, {said}\n")
    return wrong_with(root, world)


@pytest.mark.timeout(120)
def test_each_arrival_has_one_instance_when_workers_are_killed(tmp_path: Path) -> None:
    """Three workers, files and partitions, twenty kills: none is lost, none is there twice."""
    assert disturbed(tmp_path / "p", seed=seed_of_this_run(), kills=20) == []


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_each_arrival_has_one_instance_for_as_long_as_it_takes(tmp_path: Path) -> None:
    """200 kills in each round, for STATEPIPE_SOAK_SECONDS."""
    first = seed_of_this_run()
    for nth in soaking():
        assert disturbed(tmp_path / str(nth), seed=first + nth, kills=200) == [], first + nth
