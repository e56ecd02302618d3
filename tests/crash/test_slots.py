"""
Slots and rates held by real processes that are killed and stopped; the server counts.

The seed decides who is killed when; it is printed, and STATEPIPE_TEST_SEED sets it.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from statepipe.clock import SystemClock
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.sqlite import sqlite3
from statepipe.store.file.opening import open_reader
from statepipe.testing import violations
from tests.crash.processes import ROOT, soaking, until
from tests.crash.test_rough_api import seed_of_this_run
from tests.io.web import Reply, Request, Web, serving

SLOTS: Final = 3
RATE: Final = 40

SETTINGS: Final = f"""\
[resources.crm]
slots = {SLOTS}

[resources.api]
rate = "{RATE}/s"

[policies.default]
grace = "50ms"

[env.thread.policies.default]
executor = "thread"

[env.process.policies.default]
executor = "process"
"""

#: How long a call takes, in seconds.
CALL_S: Final = 0.04


class Nursery:
    """Workers of one project, forked as they are needed."""

    def __init__(self, root: Path, *, lease_ms: int) -> None:
        self.alive: list[int] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.slots.nursery", str(root), str(lease_ms)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, kind: str = "thread") -> int:
        """Start a worker; return its process number."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{kind}\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        self.alive.append(pid)
        return pid

    def kill(self, pid: int) -> None:
        """Kill a worker."""
        os.kill(pid, signal.SIGKILL)
        self.alive.remove(pid)

    def close(self) -> None:
        """End all of them."""
        for pid in self.alive:
            os.kill(pid, signal.SIGKILL)
        self._process.communicate(timeout=60)


@contextmanager
def nursery(root: Path, *, lease_ms: int = 30_000) -> Iterator[Nursery]:
    """Run a nursery for a `with` block."""
    workers = Nursery(root, lease_ms=lease_ms)
    try:
        yield workers
    finally:
        workers.close()


def set_up(
    root: Path,
    web: Web,
    *,
    instances: int,
    settings: str = SETTINGS,
    calls: int = 1,
    uses: str = "crm",
) -> None:
    """Make a project at `root` with instances that are to call so often."""
    shutil.copytree(Path(__file__).parent / "slots" / "machines", root / "machines")
    machine = root / "machines" / "visits.toml"
    said = machine.read_text(encoding="utf-8").replace('"crm"', f'"{uses}"')
    machine.write_text(said.replace("default = 1", f"default = {calls}"), encoding="utf-8")
    (root / "statepipe.toml").write_text(settings, encoding="utf-8")
    create(root, web, range(instances))


def create(root: Path, web: Web, numbers: range) -> None:
    """Create instances that are to call."""
    with Engine(load_config(start=root, environ={}, env="thread")) as engine:
        for n in numbers:
            engine.create("visits", instance_id=f"v{n}", params={"url": web.url})


def ask(root: Path, sql: str) -> list[tuple[Any, ...]]:
    """Query the store."""
    with closing(open_reader(root / "checkpoints" / "statepipe.db")) as store:
        return list(store.execute(sql).fetchall())


def done(root: Path) -> int:
    """Return how many instances are done."""
    return int(ask(root, "SELECT count(*) FROM instance WHERE status = 'done'")[0][0])


def stop_outside_of_commits(root: Path, pid: int) -> None:
    """Stop a worker while it does not hold the store's write lock, or nobody could go on."""
    with closing(sqlite3.connect(root / "checkpoints" / "statepipe.db", timeout=0)) as store:
        store.isolation_level = None
        for _ in range(1_000):
            os.kill(pid, signal.SIGSTOP)
            try:
                store.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                os.kill(pid, signal.SIGCONT)
                threading.Event().wait(0.005)
            else:
                store.execute("ROLLBACK")
                return
    raise AssertionError


def slow(_: Request) -> Reply:
    """Answer after a while."""
    return Reply(body=b"{}", stall_s=CALL_S)


def disturbed(root: Path, *, seed: int, kills: int, kinds: tuple[str, ...]) -> list[str]:
    """Let workers call and be killed; return what is wrong."""
    rng = random.Random(seed)
    instances = 3 * kills
    with serving(slow) as web, nursery(root) as workers:
        set_up(root, web, instances=instances)
        for _ in range(kills):
            while len(workers.alive) < 3:
                workers.start(rng.choice(kinds))
            if rng.random() < 0.3:  # else it may be before anything has moved
                goal = len(web.requests) + rng.randrange(1, 5)
                until(lambda goal=goal: len(web.requests) >= goal, "calls")  # type: ignore[misc]  # a default binds the loop's value, or frozen is what is tested
            threading.Event().wait(rng.uniform(0, 0.15))
            workers.kill(rng.choice(workers.alive))
            if done(root) > instances - 4 * SLOTS:  # there is always something to do
                create(root, web, range(instances, instances + kills))
                instances += kills
        undisturbed = len(web.requests)
        workers.start(rng.choice(kinds))
        create(root, web, range(instances, instances + 2 * SLOTS))
        until(lambda: done(root) == instances + 2 * SLOTS, "all to be done")
        requests = list(web.requests)
    most = max(request.at_once for request in requests)
    sys.stdout.write(f"{kills} killed, {len(requests)} calls, {most} at once\n")
    found = violations(root / "checkpoints" / "statepipe.db")
    if most > SLOTS:
        found.append(f"{most} calls at once")
    if (after := max(request.at_once for request in requests[undisturbed:])) < SLOTS:
        found.append(f"only {after} at once after the kills: a slot is lost")
    return found


@pytest.mark.timeout(120)
def test_no_slot_is_lost_and_none_is_there_twice_when_workers_are_killed(tmp_path: Path) -> None:
    """Three slots, three workers, 50 kills: never a fourth call, and three again in the end."""
    seed = seed_of_this_run()

    assert disturbed(tmp_path / "p", seed=seed, kills=50, kinds=("thread",)) == []


@pytest.mark.timeout(120)
def test_nor_if_tasks_have_processes_of_their_own(tmp_path: Path) -> None:
    """Which the kernel ends a moment after the worker that started them."""
    seed = seed_of_this_run()

    assert disturbed(tmp_path / "p", seed=seed, kills=6, kinds=("process",)) == []


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_no_slot_is_lost_for_as_long_as_it_takes(tmp_path: Path) -> None:
    """200 kills in each round, of workers of both kinds, for STATEPIPE_SOAK_SECONDS."""
    first = seed_of_this_run()
    for nth in soaking():
        root = tmp_path / str(nth)
        found = disturbed(root, seed=first + nth, kills=200, kinds=("thread", "process"))
        assert found == [], first + nth


@pytest.mark.timeout(120)
def test_processes_share_one_rate(tmp_path: Path) -> None:
    """However many there are, and although some are killed with permits they never used."""
    root = tmp_path / "p"
    with serving(lambda _: Reply(body=b"{}")) as web, nursery(root) as workers:
        set_up(root, web, instances=6, calls=10, uses="api")
        for _ in range(3):
            workers.start()
        until(lambda: len(web.requests) > 10, "calls")
        workers.kill(workers.alive[0])
        workers.start()
        until(lambda: done(root) == 6, "all to be done")
        times = sorted(request.at_s for request in web.requests)

    # A call reaches the server a little after its permit, and some sooner than others; and
    # each attempt has cost a permit, too.
    assert len(times) >= 60
    assert times[-1] - times[0] >= (len(times) + 5) / RATE - 0.5


@pytest.mark.timeout(120)
def test_a_worker_that_is_stopped_keeps_its_slot_and_gives_it_back_when_it_wakes(
    tmp_path: Path,
) -> None:
    """Its instance is taken over, and the new owner waits: the old one may still be calling."""
    root = tmp_path / "p"
    one = SETTINGS.replace(f"slots = {SLOTS}", "slots = 1")
    clock = SystemClock()
    with (
        serving(lambda _: Reply(body=b"{}", stall_s=0.8)) as web,
        nursery(root, lease_ms=600) as workers,
    ):
        set_up(root, web, instances=2, settings=one)
        asleep = workers.start()
        until(lambda: len(web.requests) == 1, "the first call")
        until(lambda: ask(root, "SELECT count(*) FROM slot") == [(2,)], "the second to wait")
        stop_outside_of_commits(root, asleep)
        began_ms = clock.boot_ms()
        workers.start()
        until(
            lambda: bool(ask(root, "SELECT 1 FROM journal WHERE event = 'takeover'")),
            "the takeover",
        )
        until(lambda: clock.boot_ms() - began_ms > 1_500, "more than a lease")
        assert len(web.requests) == 1
        assert done(root) == 0

        os.kill(asleep, signal.SIGCONT)
        until(lambda: done(root) == 2, "both to be done")

    assert max(request.at_once for request in web.requests) == 1
    assert ask(root, "SELECT count(*) FROM slot") == [(0,)]
