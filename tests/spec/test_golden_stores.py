"""
Promise: a store that any release left in mid-run can be resumed to its end by this one.

One store per schema version is kept in `checkpoints/golden`; `tests/golden/make.py` made it.
"""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from statepipe.clock import SystemClock
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.model import Status
from statepipe.store.file.opening import open_store
from statepipe.store.file.schema import SCHEMA_VERSION
from statepipe.testing import violations

GOLDEN = Path(__file__).parents[2] / "checkpoints" / "golden"
VERSIONS = sorted(folder.name for folder in GOLDEN.iterdir())
INSTANCES = ("done", "failed", "loading", "paused")

#: Of 12 orders of an instance, every fifth has no pieces and breaks the contract.
NUMBERS = [number for number in range(12) if number % 5]


@pytest.fixture(params=VERSIONS)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a golden folder that the test may change."""
    return Path(shutil.copytree(GOLDEN / request.param, tmp_path / "golden"))


@pytest.fixture
def engine(golden: Path) -> Iterator[Engine]:
    """An engine on the copy, by the clock of this machine."""
    with Engine(load_config(start=golden, environ={}), create=False) as opened:
        yield opened


def _query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def _expected(instance: str) -> list[tuple[Any, ...]]:
    return [
        (f"{instance}-{number}", "2026-11-02", number % 5, f"{number}.50")
        for number in sorted(NUMBERS, key=str)
    ]


def _loaded(golden: Path, instance: str) -> list[tuple[Any, ...]]:
    sql = f"SELECT id, day, quantity, price FROM orders WHERE id GLOB '{instance}-*' ORDER BY id"
    return _query(golden / "warehouse.db", sql)


def test_a_golden_store_rests_where_it_was_left(golden: Path) -> None:
    """What the other tests resume is what the script says it made."""
    sql = "SELECT id, state, status, worker IS NOT NULL FROM instances ORDER BY id"

    assert _query(golden / "statepipe.db", sql) == [
        ("done", "done", "done", 0),
        ("failed", "failed", "failed", 0),
        ("loading", "loading", "ready", 1),
        ("paused", "extracting", "paused", 0),
    ]
    files = {name for (name,) in _query(golden / "statepipe.db", "SELECT file FROM staged")}
    assert any(files), "some of its batches are files"
    ((store_id,),) = _query(golden / "statepipe.db", "SELECT store_id FROM store")
    assert all((golden / "stage" / store_id / name).is_file() for name in files if name)


def test_a_worker_takes_over_what_another_boot_left_half_loaded(
    golden: Path, engine: Engine
) -> None:
    """The driver's row names a boot that is over: nobody waits for its lease."""
    engine.work(until_idle=True)

    sql = "SELECT event FROM history WHERE id = 'loading' AND kind = 'claim'"
    assert _query(golden / "statepipe.db", sql) == [("claim",), ("takeover",)]
    assert _loaded(golden, "loading") == _expected("loading")
    assert _loaded(golden, "paused") == [], "nobody resumed it"


def test_everything_in_a_golden_store_can_be_resumed_to_its_end(
    golden: Path, engine: Engine
) -> None:
    """Each order is loaded once, each reject counted once, and no promise is broken."""
    (golden / "repaired").touch()

    ended = engine.resume(["failed", "loading", "paused"])

    store = golden / "statepipe.db"
    assert ended == dict.fromkeys(("failed", "loading", "paused"), Status.DONE)
    assert [_loaded(golden, name) for name in INSTANCES] == [_expected(name) for name in INSTANCES]
    assert _query(golden / "warehouse.db", "SELECT count(*) FROM orders") == [(4 * len(NUMBERS),)]
    sql = "SELECT id, visit, sum(count) FROM rejected GROUP BY id, visit ORDER BY id, visit"
    once = [
        ("done", 1, 3),
        ("failed", 1, 3),
        ("loading", 1, 3),
        ("loading", 2, 3),
        ("paused", 1, 3),
    ]
    assert _query(store, sql) == once
    assert _query(store, "SELECT * FROM staged") == []
    assert violations(store) == []


def test_a_failed_instance_fails_again_until_its_cause_is_gone(
    golden: Path, engine: Engine
) -> None:
    """A golden store keeps the failure, too: it is the author's function that decides."""
    assert engine.resume(["failed"]) == {"failed": Status.FAILED}
    assert violations(golden / "statepipe.db") == []


def test_the_newest_golden_store_has_the_schema_of_this_release(tmp_path: Path) -> None:
    """Who changes the schema adds a migration, raises the version and makes a golden store."""
    sql = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
    store = open_store(tmp_path / "fresh.db", create=True, clock=SystemClock())
    fresh = store.connection.execute(sql).fetchall()
    store.close()

    assert f"v{SCHEMA_VERSION}" == VERSIONS[-1]
    assert (
        _query(Path(shutil.copytree(GOLDEN / VERSIONS[-1], tmp_path / "g")) / "statepipe.db", sql)
        == fresh
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_golden_store_names_no_path_of_the_machine_it_was_made_on(version: str) -> None:
    """Not even in the traceback of the instance that failed."""
    content = (GOLDEN / version / "statepipe.db").read_bytes()

    assert re.findall(rb"/[\w./-]+/checkpoints/golden", content) == []
