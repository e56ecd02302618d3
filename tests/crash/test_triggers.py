"""
Each occasion of a trigger is decided exactly once, however often the workers are killed.

It has one instance; or, as its machine says, it is skipped while its key is taken; and it waits
while the queue is full.

The seed decides who is killed when; it is printed, and STATEPIPE_TEST_SEED sets it.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from statepipe.clock import SystemClock
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.runtime.triggers.schedules import key_of
from statepipe.store.file.opening import open_reader
from statepipe.testing import ManualClock, violations
from tests.crash.processes import ROOT, soaking, start, until
from tests.crash.test_rough_api import seed_of_this_run
from tests.crash.triggers import looking
from tests.crash.triggers.fast import FastClock

MACHINES: Final = Path(__file__).parent / "triggers" / "machines"
NOW_MS: Final = 1_780_272_000_000
MINUTE_MS: Final = 60_000
LATER_MS: Final = NOW_MS + 3 * MINUTE_MS
OUTCOMES: Final = ("started", "skipped")
MINUTELY: Final = "FROM machine_trigger WHERE name = 'minutely'"
SEEN: Final = """
SELECT j.at_ms, t.position
  FROM trigger_journal j JOIN machine_trigger t ON t.n = j.trigger
 WHERE t.name = 'minutely' AND j.kind = 'seen'
"""


class Nursery:
    """Workers of one project, forked as they are needed."""

    def __init__(self, root: Path, began_ms: int) -> None:
        self.alive: list[int] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.triggers.nursery", str(root), str(began_ms)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self) -> None:
        """Start a worker."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.alive.append(int(self._process.stdout.readline()))

    def kill(self, pid: int) -> None:
        """Kill a worker."""
        os.kill(pid, signal.SIGKILL)
        self.alive.remove(pid)

    def close(self) -> None:
        """End all of them."""
        for pid in self.alive:
            with suppress(ProcessLookupError):  # it ended by itself, which `kill` complains of
                os.kill(pid, signal.SIGKILL)
        self._process.communicate(timeout=60)


@contextmanager
def nursery(root: Path, began_ms: int) -> Iterator[Nursery]:
    """Run a nursery for a `with` block."""
    workers = Nursery(root, began_ms)
    try:
        yield workers
    finally:
        workers.close()


def ask(root: Path, sql: str) -> list[tuple[Any, ...]]:
    """Query the store."""
    with closing(open_reader(root / "checkpoints" / "statepipe.db")) as store:
        return list(store.execute(sql).fetchall())


def keys(root: Path, trigger: str) -> list[str]:
    """Return the keys of a trigger's occasions that started an instance, or were skipped."""
    sql = f"""
SELECT o.key FROM occasion o JOIN machine_trigger t ON t.n = o.trigger
 WHERE t.name = '{trigger}' AND o.refusal IS NULL ORDER BY o.n
"""
    return [key for (key,) in ask(root, sql)]


def wrong_with(root: Path, emitted: list[str]) -> list[str]:
    """Return what is wrong with what triggers started, one text each."""
    found = violations(root / "checkpoints" / "statepipe.db")
    if (orders := Counter(keys(root, "on_order"))) != Counter(emitted):
        found.append(f"emitted {emitted}, started {orders}")
    ((seen_ms, last_ms),) = ask(root, SEEN)
    due = range((seen_ms // MINUTE_MS + 1) * MINUTE_MS, int(last_ms) + 1, MINUTE_MS)
    if (ticks := keys(root, "minutely")) != [key_of(each) for each in due]:
        found.append(f"ticks {ticks}")
    ((instances, ids),) = ask(root, "SELECT count(*), count(DISTINCT id) FROM instance")
    ((occasions,),) = ask(root, "SELECT count(instance) FROM occasion")
    if not instances == ids == occasions:
        found.append(f"{instances} instances for {occasions} occasions")
    counted = "SELECT sum(value) FROM counter WHERE metric = 'occasions' AND label = '{}'"
    decided = ask(root, "SELECT count(instance), count(skipped) FROM occasion")
    if decided != (said := [(*(ask(root, counted.format(o))[0][0] for o in OUTCOMES),)]):
        found.append(f"decided {decided}, counted {said}")
    return found


def crowds(root: Path, *, until: str) -> list[int]:
    """Return how many had been created before each one and not come to `until` yet."""
    there: set[int] = set()
    found = []
    for n, kind, ended in ask(root, "SELECT instance, kind, ended FROM journal ORDER BY n"):
        if kind == "create":
            found.append(len(there))
            there.add(n)
        elif until in (kind, ended):
            there.discard(n)
    return found


def disturbed(root: Path, *, seed: int, kills: int, terms: str = "") -> list[str]:
    """
    Let three workers look after triggers and be killed; return what is wrong.

    `terms` is what the machine says of how its instances are made.
    """
    rng = random.Random(seed)
    began_ms = SystemClock().boot_ms()
    shutil.copytree(MACHINES, root / "machines")
    file = root / "machines" / "beats.toml"
    file.write_text(f"{terms}\n{file.read_text(encoding='utf-8')}", encoding="utf-8")
    clock = FastClock(began_ms)
    emitted: list[str] = []
    with (
        Engine(load_config(start=root, environ={}), clock=clock) as engine,
        nursery(root, began_ms) as workers,
    ):
        for nth in range(kills):
            while len(workers.alive) < 3:
                workers.start()
            for _ in range(rng.randrange(4)):
                if rng.random() < 0.8:
                    emitted.append(f"{nth}/{len(emitted)}")
                if emitted:
                    engine.emit("order", emitted[-1])
            threading.Event().wait(rng.uniform(0, 0.3))
            workers.kill(rng.choice(workers.alive))
        until_ms = clock.now_ms()
        workers.start()
        until(lambda: len(keys(root, "on_order")) >= len(emitted), "every event to start one")
        decided = f"SELECT position {MINUTELY}"
        until(lambda: int(ask(root, decided)[0][0]) > until_ms, "the ticks up to the last kill")
    said = f"{kills} killed, {len(emitted)} events, {len(keys(root, 'minutely'))} ticks\n"
    sys.stdout.write(said)
    return wrong_with(root, emitted)


@pytest.mark.timeout(120)
def test_each_occasion_has_one_instance_when_workers_are_killed(tmp_path: Path) -> None:
    """Three workers, ticks and events, twenty kills: none is lost, none is there twice."""
    assert disturbed(tmp_path / "p", seed=seed_of_this_run(), kills=20) == []


@pytest.mark.timeout(120)
def test_each_occasion_is_started_or_skipped_when_workers_are_killed(tmp_path: Path) -> None:
    """One at a time: what finds the key taken is skipped, once, and two never have it."""
    root = tmp_path / "p"
    skip = 'concurrency = { key = "one", behavior = "skip" }'

    assert disturbed(root, seed=seed_of_this_run(), kills=10, terms=skip) == []
    assert max(crowds(root, until="done")) == 0
    assert len(set(ask(root, "SELECT skipped IS NULL FROM occasion"))) == 2


@pytest.mark.timeout(120)
def test_each_occasion_waits_for_room_when_workers_are_killed(tmp_path: Path) -> None:
    """Two are ready at most, whoever dies with them, and every occasion has its instance."""
    root = tmp_path / "p"

    assert disturbed(root, seed=seed_of_this_run(), kills=10, terms="ready_max = 2") == []
    assert max(crowds(root, until="claim")) < 2


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_each_occasion_has_one_instance_for_as_long_as_it_takes(tmp_path: Path) -> None:
    """200 kills in each round, for STATEPIPE_SOAK_SECONDS."""
    first = seed_of_this_run()
    for nth in soaking():
        assert disturbed(tmp_path / str(nth), seed=first + nth, kills=200) == [], first + nth


@pytest.mark.timeout(120)
def test_a_process_may_die_before_and_after_every_commit(tmp_path: Path) -> None:
    """Whoever looks next starts what was not started, and nothing that was."""
    seen = tmp_path / "seen"
    shutil.copytree(MACHINES, seen / "machines")
    looking.look(seen, NOW_MS)
    with Engine(load_config(start=seen, environ={}), clock=ManualClock(now_ms=NOW_MS)) as engine:
        for key in ("k-1", "k-2", "k-1"):
            engine.emit("order", key)
    for line in commits_of_a_look(shutil.copytree(seen, tmp_path / "whole")):
        number = line.split()[0]
        root = shutil.copytree(seen, tmp_path / number)
        look_and_die(root, at=number)
        looking.look(root, LATER_MS)

        assert keys(root, "minutely") == [f"2026-06-01T00:0{n}:00Z" for n in (1, 2, 3)]
        assert wrong_with(root, ["k-1", "k-2"]) == [], line


def commits_of_a_look(root: Path) -> list[str]:
    """Return the points of one look at which something is committed, or just was."""
    look_and_die(root)
    points = (root / "points.log").read_text(encoding="utf-8").splitlines()
    commits = [line for line in points if "COMMIT" in line]
    assert len(commits) >= 4, "of each trigger before and after"
    return commits


def look_and_die(root: Path, *, at: str | None = None) -> None:
    """Let a process look at the triggers, and die at a point."""
    process = start(root, LATER_MS, *([at] if at else []), module="tests.crash.triggers.looking")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if at else 0), errors
