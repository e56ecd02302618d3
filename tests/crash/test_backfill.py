"""
The backfill that ships, as its users run it: a week by days, kills at random, a day that is bad.

    a day without data      its partition fails; the others do not wait for it
    SIGKILL, three times    of the foreground process, wherever it is
    the day's data comes    that partition is retried, and nothing else
"""

import os
import random
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from statepipe.sqlite import sqlite3
from statepipe.store.file.opening import open_reader
from statepipe.store.lookups.listing import Filter
from statepipe.store.reading import Reader
from statepipe.testing import violations
from tests.crash import scene
from tests.crash.processes import ROOT, soaking, survivors, until

GROUP = "flights_by_day-2013-02-04..2013-02-10"
RUN = ("run", "flights_by_day", "--partition", "2013-02-04..2013-02-10", "--max-parallel", "2")

#: Small batches, so that there are many places to be killed at.
CONFIG = "[policies.default]\nbatch_size = 500\n"


def statepipe(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the command line in `root`."""
    with (root / "said.log").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "statepipe", *arguments],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(ROOT), "STATEPIPE_TEST_ROOT": str(root)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )


def moves(root: Path) -> int:
    """Return how many journal rows there are; 0 while there is no store."""
    if not scene.store_of(root).exists():
        return 0
    try:
        with closing(open_reader(scene.store_of(root))) as store:
            count: int = store.execute("SELECT count(*) FROM journal").fetchone()[0]
    except Exception:  # noqa: BLE001  (it is being made right now)
        return 0
    return count


def killed(process: subprocess.Popen[bytes], root: Path, later: int) -> None:
    """Kill a process that has made `later` moves, if it has not ended before."""
    at = moves(root) + later
    until(lambda: moves(root) >= at or process.poll() is not None, "moves")
    process.kill()
    process.wait()


def histories(root: Path) -> dict[str, int]:
    """Return how long the journal of each partition is, by its key."""
    with Reader(scene.store_of(root)) as reader:
        listed = reader.instances(Filter(group=GROUP), limit=100)
        return {str(each.partition): len(reader.history(each.id)) for each in listed}


def rows(root: Path, table: str) -> list[tuple[object, ...]]:
    """Return the rows of a table of the warehouse, by id."""
    with closing(sqlite3.connect(root / "warehouse.db")) as warehouse:
        return [*warehouse.execute(f"SELECT * FROM {table} ORDER BY id")]


def backfill(root: Path, rng: random.Random) -> None:
    """Play it, and check what it leaves."""
    shutil.copytree(ROOT / "machines", root / "machines")
    (root / "statepipe.toml").write_text(CONFIG, encoding="utf-8")
    flights = root / "machines" / "data" / "flights.csv"
    week = flights.read_text(encoding="utf-8")
    flights.write_text(
        "".join(line for line in week.splitlines(keepends=True) if "2013,2,9," not in line),
        encoding="utf-8",
    )

    for _ in range(3):
        killed(statepipe(root, *RUN, "--if-exists", "attach"), root, rng.randint(10, 60))
    # Six of seven is 85.7 %, and the machine tolerates 15 %: one day may be missing.
    assert statepipe(root, *RUN, "--if-exists", "attach").wait(120) == 0
    with Reader(scene.store_of(root)) as reader:
        incomplete = reader.group(GROUP)
    before = histories(root)
    flights.write_text(week, encoding="utf-8")
    assert statepipe(root, "resume", "--group", GROUP).wait(120) == 0
    after = histories(root)
    assert statepipe(root, "run", "flights", "--id", "week").wait(120) == 0

    with Reader(scene.store_of(root)) as reader:
        complete = reader.group(GROUP)
    assert (incomplete.group.status, incomplete.done) == ("done", 6)
    assert dict(incomplete.standings) == {"done": 6, "failed": 1}
    assert (complete.group.status, complete.completeness) == ("done", 1.0)
    assert [key for key in after if after[key] != before[key]] == ["2013-02-09"]
    assert rows(root, "flights_by_day") == rows(root, "flights")
    assert complete.loaded == len(rows(root, "flights"))
    assert complete.loaded + complete.rejected == len(week.splitlines()) - 1
    assert violations(scene.store_of(root)) == []
    until(lambda: survivors(root) == [], "the workers of killed processes to die")


@pytest.mark.timeout(300)
def test_a_backfill_that_is_killed_again_and_again_loads_each_day_once(tmp_path: Path) -> None:
    """In the end its rows are those of the machine that reads the week in one go."""
    backfill(tmp_path, random.Random(20130208))

    with closing(open_reader(scene.store_of(tmp_path))) as store:
        sql = "SELECT count(*) FROM journal WHERE event = 'takeover'"
        assert store.execute(sql).fetchone()[0] > 0, "nobody was killed in the middle of a day"


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_backfills_that_are_killed_anywhere_load_each_day_once(tmp_path: Path) -> None:
    """The same for minutes, each round with another seed."""
    for seed in soaking():
        root = tmp_path / str(seed)
        root.mkdir()
        backfill(root, random.Random(seed))
        shutil.rmtree(root)
