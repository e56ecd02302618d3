"""
A mill that is killed at random moments, its drivers and its workers; as a program, the driver.

    set_up      a folder with the machine
    disturb     drive instances and kill whoever works on them, so many times; then let them end
    redone      calls that were made more than once for the same batch, by instance and state
    problems    what is not as if nobody had been killed: [] if nothing is

`python -m tests.crash.milling FOLDER INSTANCE BATCHES` drives one instance to its end.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import StoreUnusable
from statepipe.runtime.driving.pools import Pools
from statepipe.sqlite import sqlite3
from statepipe.store.file.opening import open_reader
from statepipe.testing import violations
from tests.crash.processes import ended, start, survivors, until

#: Calls at once of an attempt, of a run that is told to be parallel.
PARALLEL: Final = 3

_MACHINES: Final = Path(__file__).parent / "mill" / "machines"
_GRAINS: Final = 19

_SETTINGS: Final = """\
store = "statepipe.db"

[policies.default]
max_attempts = 1000
max_lost     = 1000
interval     = "1ms"
parallel     = {parallel}
"""

#: Moves and batches between two kills, at most; on the average there are half as many.
_STEPS_MAX: Final = 16
#: From the last of them to the kill, at most: some batches take as long.
_PAUSE_S: Final = 0.012


class Killed(NamedTuple):
    """How many were killed of each kind, over how many instances."""

    drivers: int
    workers: int
    instances: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.drivers + self.workers


def set_up(root: Path, *, parallel: int = 1) -> Path:
    """Make `root` the folder of a mill; return it."""
    shutil.copytree(_MACHINES, root / "machines", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "statepipe.toml").write_text(_SETTINGS.format(parallel=parallel), encoding="utf-8")
    return root


def disturb(root: Path, rng: random.Random, *, kills: int, batches: int) -> Killed:
    """Kill drivers and workers, half and half, until there were `kills`; let the rest end."""
    killed: Counter[str] = Counter()
    number = 0
    pause = threading.Event()
    driver = _start(root, number, batches)
    while killed.total() < kills:
        goal = _steps(root) + rng.randrange(1, _STEPS_MAX)
        until(lambda: driver.poll() is not None or _steps(root) >= goal, "the mill")  # noqa: B023  (called at once)
        if driver.poll() is not None:
            assert ended(driver).code == 0, ended(driver)
            number += 1
            driver = _start(root, number, batches)
            continue
        pause.wait(rng.random() * _PAUSE_S)
        workers = [pid for pid in survivors(root) if pid != driver.pid]
        if workers and rng.random() < 0.5:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(workers), signal.SIGKILL)
                killed["worker"] += 1
            continue
        driver.kill()
        if ended(driver).code == -signal.SIGKILL:
            killed["driver"] += 1
        until(lambda: not survivors(root), "the end of its workers")
        driver = _start(root, number, batches)
    end = ended(driver)
    assert end.code == 0, end
    return Killed(killed["driver"], killed["worker"], number + 1)


def redone(root: Path) -> Counter[str]:
    """Return how often calls were made again for a batch they had been made for."""
    made = Counter((root / "calls.log").read_text(encoding="utf-8").splitlines())
    again: Counter[str] = Counter()
    for call, count in made.items():
        instance, state, _ = call.split()
        again[f"{instance} {state}"] += count - 1
    return again


def problems(root: Path, killed: Killed, *, batches: int) -> list[str]:
    """Return what is wrong with the bread, the ledger, the quarantine or the store."""
    due = killed.instances * batches
    with closing(sqlite3.connect(root / "warehouse.db")) as warehouse:
        bread = warehouse.execute("SELECT count(*), sum(bread) FROM bread").fetchone()
        ledger = warehouse.execute("SELECT count(*) FROM _statepipe_ledger").fetchone()
    with closing(open_reader(root / "statepipe.db")) as store:
        rejected = store.execute("SELECT sum(records) FROM reject").fetchone()
    baked = sum(weight * 2 + 1 for weight in range(1, _GRAINS + 1))
    expected: dict[str, Any] = {
        "bread": (due * _GRAINS, due * baked),
        "ledger": (due,),
        "rejected": (due,),
    }
    found = {"bread": bread, "ledger": ledger, "rejected": rejected}
    wrong = [
        f"{name} is {found[name]}, not {value}"
        for name, value in expected.items()
        if found[name] != value
    ]
    return wrong + violations(root / "statepipe.db")


def _start(root: Path, number: int, batches: int) -> subprocess.Popen[str]:
    return start(root, f"mill-{number}", batches, module=__name__)


def _steps(root: Path) -> int:
    """Return how many moves and batches are committed."""
    path = root / "statepipe.db"
    # It may be in the making.
    with suppress(StoreUnusable), closing(open_reader(path)) as store:
        steps: int = store.execute("SELECT coalesce(sum(seq), 0) FROM instance").fetchone()[0]
        return steps
    return 0


def main(folder: str, instance: str, batches: str) -> None:
    """Drive the instance, made if it is not there, to its end."""
    config = load_config(start=Path(folder), environ={})
    with Engine(config, pools=Pools(processes=PARALLEL)) as engine:
        params = {"batches": int(batches)}
        engine.create("mill", instance_id=instance, params=params, if_exists="attach")
        assert engine.run([instance]) == {instance: "done"}


if __name__ == "__main__":
    main(*sys.argv[1:])
