"""
The pair of machines that ships, as its users run it: hours, and the day that depends on them.

    SIGKILL, now and then   of one of two workers
    an hour that is late    the day waits for it, and for nothing else
"""

import csv
import random
import shutil
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.sqlite import sqlite3
from statepipe.testing import violations
from tests.crash import scene
from tests.crash.processes import ROOT, until
from tests.crash.test_backfill import statepipe
from tests.crash.test_rough_api import seed_of_this_run
from tests.crash.test_triggers import ask

#: A process for each task would only cost time here.
CONFIG: Final = '[policies.default]\nexecutor = "thread"\n'


def loaded(root: Path, table: str) -> list[tuple[Any, ...]]:
    """Return the rows of a table of the warehouse; none while it is not there."""
    if not (root / "warehouse.db").exists():
        return []
    with closing(sqlite3.connect(root / "warehouse.db", timeout=30)) as warehouse:
        sql = "SELECT 1 FROM sqlite_master WHERE name = ?"
        if warehouse.execute(sql, (table,)).fetchone() is None:
            return []
        return [*warehouse.execute(f"SELECT * FROM {table} ORDER BY 1, 2")]


def counted(day: str) -> list[tuple[Any, ...]]:
    """Return what the table of days is to have of a day, from the data that ships."""
    scheduled: Counter[str] = Counter()
    departed: Counter[str] = Counter()
    with (ROOT / "machines" / "data" / "flights.csv").open(encoding="utf-8") as file:
        for flight in csv.DictReader(file):
            if flight["time_hour"].startswith(day):
                scheduled[flight["origin"]] += 1
                departed[flight["origin"]] += flight["dep_time"] != "NA"
    return [(day, each, 24, scheduled[each], departed[each]) for each in sorted(scheduled)]


def finished(root: Path, machine: str) -> int:
    """Return how many instances of a machine are done."""
    ((count,),) = ask(root, f"SELECT count(*) FROM instances WHERE machine = '{machine}'"
                      " AND status = 'done'")  # fmt: skip
    return int(count)


def has_done(root: Path, hours: int) -> bool:
    """Return whether so many hours are done."""
    return finished(root, "flights_by_hour") >= hours


@pytest.mark.timeout(120)
def test_a_day_is_summed_up_once_when_its_last_hour_is_there(tmp_path: Path) -> None:
    """Two workers, two kills: every hour once, the day once, and the day after not yet."""
    root, rng = tmp_path / "p", random.Random(seed_of_this_run())
    shutil.copytree(ROOT / "machines", root / "machines")
    (root / "statepipe.toml").write_text(CONFIG, encoding="utf-8")
    with Engine(load_config(start=root, environ={})) as engine:
        engine.create("flights_by_hour", params={"hour": "2013-02-04T23:00:00Z"})
        workers = [statepipe(root, "worker") for _ in range(2)]
        until(lambda: bool(ask(root, "SELECT 1 FROM machine_trigger")), "the trigger to be seen")
        hours = ["2013-02-05T00..2013-02-05T06", "2013-02-05T08..2013-02-06T02"]
        engine.groups.create("flights_by_hour", hours, group_id="hours")
        for done in (4, 14):
            until(partial(has_done, root, done), "hours")
            at = rng.randrange(2)
            workers[at].kill()
            workers[at].wait()
            workers[at] = statepipe(root, "worker")
        until(lambda: finished(root, "flights_by_hour") == 27, "all hours but one")
        assert finished(root, "flights_daily") == 0
        engine.create("flights_by_hour", params={"hour": "2013-02-05T07:00:00Z"})
        until(lambda: finished(root, "flights_daily") == 1, "the day")
    for worker in workers:
        worker.terminate()
        worker.wait(timeout=60)

    assert len(loaded(root, "traffic_by_hour")) == 28 * 3
    assert loaded(root, "traffic_by_day") == counted("2013-02-05")
    assert ask(root, "SELECT key FROM occasion") == [("2013-02-05",)]
    assert violations(scene.store_of(root)) == []
