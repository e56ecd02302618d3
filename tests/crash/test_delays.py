"""
The report that ships, as its users run it: workers that are killed, a source that is missing.

    an event                says that the day is over, and starts it
    three sources at once   one may be skipped; what the others read is joined
    SIGKILL, three times    of the worker, wherever it is
    a person approves       and only then is the report loaded
"""

import csv
import json
import random
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from statepipe.sqlite import sqlite3
from statepipe.store.file.opening import open_reader
from statepipe.testing import violations
from tests.crash import scene
from tests.crash.processes import ROOT, until
from tests.crash.test_backfill import killed, statepipe

DAY = "2013-02-08"

#: Small batches, so that there are many places to be killed at.
CONFIG = "[policies.default]\nbatch_size = 500\n"


def expected() -> dict[str, tuple[int, int]]:
    """Return flights and cancelled ones of each airline on the day, counted from the file."""
    counted: dict[str, tuple[int, int]] = {}
    with (ROOT / "machines" / "data" / "flights.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if (row["month"], row["day"]) == ("2", "8"):
                flights, cancelled = counted.get(row["carrier"], (0, 0))
                counted[row["carrier"]] = (flights + 1, cancelled + (row["dep_delay"] == "NA"))
    return counted


def report_of(root: Path) -> tuple[str, str]:
    """Return the id of the instance, and where it is; there is one."""
    with closing(open_reader(scene.store_of(root))) as store:
        sql = "SELECT id, state || ' ' || status FROM instance WHERE root IS NULL"
        rows = store.execute(sql).fetchall()
    assert len(rows) <= 1, "one event, one instance"
    return rows[0] if rows else ("", "")


def report(root: Path, rng: random.Random, *, kills: int, has_weather: bool = True) -> None:
    """Play it until the report waits for its approval, approve it, and play it to its end."""
    shutil.copytree(ROOT / "machines", root / "machines")
    if not has_weather:
        hours = root / "machines" / "data" / "weather.csv"
        lines = hours.read_text(encoding="utf-8").splitlines(keepends=True)
        hours.write_text("".join(x for x in lines if ",2013,2,8," not in x), encoding="utf-8")
    (root / "statepipe.toml").write_text(CONFIG, encoding="utf-8")
    for _ in range(2):  # whoever says it twice starts it once
        assert statepipe(root, "emit", "day-closed", "--key", DAY).wait(60) == 0
    for _ in range(kills):
        killed(statepipe(root, "worker"), root, rng.randint(3, 9))
    worker = statepipe(root, "worker")
    try:
        until(lambda: report_of(root)[1] == "approval ready", "the report to be joined")
        assert not (root / "warehouse.db").exists(), "nothing is published before somebody approves"
        name = f"{report_of(root)[0]}.json"
        letter = json.loads((root / "letters" / name).read_text(encoding="utf-8"))
        command = letter["type"].split()
        assert statepipe(root, *command[1:], "--reason", "it is right").wait(60) == 0
        until(lambda: report_of(root)[1] == "done done", "the report to be published")
    finally:
        worker.terminate()
        assert worker.wait(60) in (0, 143)


def published(root: Path) -> list[tuple[object, ...]]:
    """Return the rows of the report."""
    with closing(sqlite3.connect(root / "warehouse.db")) as warehouse:
        sql = "SELECT carrier, flights, cancelled, worst_visibility_miles, name FROM delays"
        return [*warehouse.execute(f"{sql} ORDER BY carrier")]


@pytest.mark.timeout(300)
def test_a_report_is_joined_once_and_published_when_it_is_approved(tmp_path: Path) -> None:
    """Whoever is killed meanwhile; each task has begun once, and each row is there once."""
    report(tmp_path, random.Random(20130208), kills=3)

    rows = published(tmp_path)
    assert {str(row[0]): (row[1], row[2]) for row in rows} == expected()
    assert len(rows) == len(expected())
    assert {row[3] for row in rows} == {0.5}, "the worst of the day the blizzard came"
    assert all(row[4] for row in rows)
    with closing(open_reader(scene.store_of(tmp_path))) as store:
        tasks = store.execute("SELECT task, status FROM children ORDER BY task").fetchall()
    names = ("asking", "carriers", "departures", "report", "weather")
    assert tasks == [(name, "done") for name in names]
    assert violations(scene.store_of(tmp_path)) == []


@pytest.mark.timeout(300)
def test_a_report_does_without_the_weather(tmp_path: Path) -> None:
    """It says so, to people and in its rows."""
    report(tmp_path, random.Random(1), kills=0, has_weather=False)

    rows = published(tmp_path)
    assert {str(row[0]): (row[1], row[2]) for row in rows} == expected()
    assert {row[3] for row in rows} == {None}
    with closing(open_reader(scene.store_of(tmp_path))) as store:
        sql = "SELECT note FROM history WHERE source = 'collecting' AND event = 'ok'"
        assert store.execute(sql).fetchall() == [("without weather",)]
    assert violations(scene.store_of(tmp_path)) == []
