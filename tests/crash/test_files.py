"""
Files that are read by processes that are killed at random moments: each row is loaded once.

The seed decides the moments; it is printed, and STATEPIPE_TEST_SEED sets it.
"""

import bz2
import gzip
import json
import lzma
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from statepipe.sqlite import sqlite3
from statepipe.store.opening import open_reader
from statepipe.testing import violations
from tests.crash import scene
from tests.crash.processes import ROOT, soaking, until
from tests.io.s3 import KEY, SECRET, serving

_MACHINES: Final = Path(__file__).parent / "files" / "machines"

#: Files, and rows in each; batches of 40 begin and end anywhere in them.
_FILES: Final = (500, 0, 730, 1, 620)

_PACKS: Final[tuple[tuple[str, Callable[[bytes], bytes]], ...]] = (
    (".gz", gzip.compress),
    (".bz2", bz2.compress),
    (".xz", lzma.compress),
)


def rows() -> list[tuple[int, str]]:
    """Return all rows."""
    return [(n, f"text\n{n * 7919 % 100_003}") for n in range(sum(_FILES))]


def parts() -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """Yield the rows of each file, and its number."""
    left = rows()
    for n, count in enumerate(_FILES):
        yield n, left[:count]
        left = left[count:]


def set_up(root: Path) -> Path:
    """Make `root` the folder of a project with its files; return it."""
    shutil.copytree(_MACHINES, root / "machines", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "statepipe.toml").write_text('[policies.default]\nexecutor = "thread"\n', "utf-8")
    (root / "data").mkdir()
    for n, part in parts():
        end, pack = _PACKS[n % len(_PACKS)]
        text = "id,text\n" + "".join(f'{row},"{value}"\n' for row, value in part)
        (root / "data" / f"{n}.csv{end}").write_bytes(pack(text.encode()))
        ids, texts = [row for row, _ in part], [value for _, value in part]
        table = pa.table({"id": pa.array(ids, pa.int64()), "text": pa.array(texts, pa.string())})
        pq.write_table(table, root / "data" / f"{n}.parquet", row_group_size=170)
    with closing(sqlite3.connect(root / "warehouse.db")) as warehouse:
        warehouse.execute("CREATE TABLE rows (id INTEGER, text TEXT) STRICT")
    return root


def statepipe(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the command line in `root`; what it says goes into a file."""
    with (root / "said.log").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "statepipe", *arguments],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(ROOT), "S3_KEY": KEY, "S3_SECRET": SECRET},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )


def status(root: Path) -> tuple[str, int]:
    """Return the status of the instance, and how many changes it has committed."""
    with closing(open_reader(scene.store_of(root))) as store:
        found, seq = store.execute("SELECT status, seq FROM instance").fetchone()
    return found, seq


def is_there(root: Path, goal: int) -> bool:
    """Return True if so many changes are committed, or the instance has ended."""
    now, seq = status(root)
    return seq >= goal or now in ("done", "failed")


def read_disturbed(root: Path, way: str, *, rng: random.Random, kills: int, url: str = "") -> int:
    """Read one way while the process that reads is killed; return how often it was."""
    set_up(root)
    asked = ["start", "files", "--id", way, "-p", f"way={way}", "-p", f"url={url}"]
    assert statepipe(root, *asked).wait(60) == 0
    killed = 0
    while status(root)[0] not in ("done", "failed"):
        # Far away is only the end.
        goal = status(root)[1] + (rng.randrange(1, 220 // kills) if killed < kills else 10**6)
        life = statepipe(root, "worker")
        try:
            until(partial(is_there, root, goal), "a moment to kill, or the end")
            threading.Event().wait(rng.uniform(0, 0.01))
            killed += status(root)[0] != "done"
        finally:
            life.kill()
            life.wait()
    return killed


def problems(root: Path) -> list[str]:
    """Return what is not as if nobody had been killed."""
    with closing(sqlite3.connect(root / "warehouse.db")) as warehouse:
        loaded = sorted(warehouse.execute("SELECT id, text FROM rows").fetchall())
    found = violations(scene.store_of(root))
    found += [] if status(root)[0] == "done" else [(root / "said.log").read_text("utf-8")[-2000:]]
    found += [] if loaded == rows() else [f"{len(loaded)} rows were loaded, not {len(rows())}"]
    secret = SECRET.encode()
    found += [
        f"the secret is in {file.name}"
        for file in root.rglob("*")
        if file.is_file() and secret in file.read_bytes()
    ]
    return found


def seed_of_this_run() -> int:
    """Return the seed, and say it."""
    seed = int(os.environ.get("STATEPIPE_TEST_SEED", random.SystemRandom().randrange(10**6)))
    sys.stdout.write(f"STATEPIPE_TEST_SEED={seed}\n")
    return seed


@pytest.mark.timeout(180)
@pytest.mark.parametrize("way", ["csv", "parquet"])
def test_files_are_loaded_exactly_by_processes_that_are_killed(tmp_path: Path, way: str) -> None:
    """Packed CSV and Parquet, several files each, killed while reading and while loading."""
    root = tmp_path / "project"

    killed = read_disturbed(root, way, rng=random.Random(seed_of_this_run()), kills=3)

    assert killed >= 1
    assert problems(root) == []


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_files_are_loaded_exactly_for_as_long_as_it_takes(tmp_path: Path) -> None:
    """The same with other seeds, from S3 as well, for STATEPIPE_SOAK_SECONDS."""
    first = seed_of_this_run()
    with serving() as s3:
        place = s3.place()
        place.call_s3("create_bucket", Bucket="bucket")
        for n, part in parts():
            lines = "".join(json.dumps({"id": row, "text": text}) + "\n" for row, text in part)
            place.pipe_file(f"bucket/in/{n}.jsonl.gz", gzip.compress(lines.encode()))
        for nth in soaking():
            root = tmp_path / str(nth)
            way = ("csv", "parquet", "s3")[nth % 3]
            rng = random.Random(first + nth)
            read_disturbed(root, way, rng=rng, kills=8, url=s3.url)
            assert problems(root) == [], (first + nth, way)
