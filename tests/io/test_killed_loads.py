"""
A run that loads into files or DuckDB is killed, again and again, and resumed (R1, R4).

The moments of the kills are drawn from STATEPIPE_SEED.
"""

import os
import random
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from statepipe.testing import violations
from tests.crash import scene
from tests.crash.processes import soaking, until
from tests.crash.test_departures import batches
from tests.io.duckdb_warehouse import DuckdbWarehouse
from tests.io.folder_warehouse import FolderWarehouse
from tests.io.project import BATCHES, ROWS, kill, make

SEED = int(os.environ.get("STATEPIPE_SEED", "0"))

#: Where to, and how.
ENDS = [
    ("duckdb:///w.duckdb", "append"),
    ("duckdb:///w.duckdb", "upsert"),
    ("duckdb:///w.duckdb", "replace"),
    ("parquet:///lake", "append"),
    ("parquet:///lake?compression=zstd", "replace"),
    ("jsonl:///lake?compression=gzip", "append"),
    ("jsonl:///lake", "replace"),
]


def loaded(root: Path, to: str) -> list[Any]:
    """Return what a reader makes of the table: rows, different ones, and a sum over them."""
    kind = to.partition(":")[0]
    warehouse: DuckdbWarehouse | FolderWarehouse
    if kind == "duckdb":
        warehouse = DuckdbWarehouse(root / "w.duckdb")
    else:
        warehouse = FolderWarehouse(root / "lake", kind)
    try:
        return warehouse.query("SELECT count(*), count(DISTINCT n), sum(square) FROM numbers")
    finally:
        warehouse.close()


def killed_and_resumed(root: Path, to: str, mode: str, *, kills: int, rng: random.Random) -> None:
    """Kill a run `kills` times while it loads; let it end; check what is there."""
    key = ', key = ["n"]' if mode == "upsert" else ""
    project = make(root, warehouse=to, load=f'table = "numbers", mode = "{mode}"{key}')
    pause = threading.Event()
    left = kills

    def disturb(process: subprocess.Popen[str]) -> None:
        nonlocal left
        if left:
            left -= 1
            goal = batches(root, "loading") + rng.randrange(1, BATCHES // (kills + 2))
            until(
                lambda: batches(root, "loading") >= goal or process.poll() is not None,
                "batches to be loaded",
            )
            pause.wait(rng.uniform(0, 0.02))
            kill(process)

    told = "\n".join(project.drive(disturb))

    numbers = BATCHES * ROWS
    total = sum(n * n for n in range(numbers))
    assert loaded(root, to) == [(numbers, numbers, total)], told
    assert violations(scene.store_of(root)) == [], told
    assert not [path.name for path in root.rglob("*.pending")], told


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("to", "mode"), [ENDS[0], ENDS[3], ENDS[6]])
def test_a_load_that_is_killed_lands_once(tmp_path: Path, to: str, mode: str) -> None:
    """A kill while batches are loaded; nothing is lost, nothing is there twice."""
    killed_and_resumed(tmp_path / "project", to, mode, kills=1, rng=random.Random(SEED))


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_loads_killed_for_minutes(tmp_path: Path) -> None:
    """Every destination and mode, for STATEPIPE_SOAK_SECONDS."""
    for number in soaking():
        rng = random.Random(f"{SEED} {number}")
        root = tmp_path / str(number)
        to, mode = ENDS[number % len(ENDS)]

        killed_and_resumed(root, to, mode, kills=rng.randrange(1, 7), rng=rng)

        shutil.rmtree(root)
