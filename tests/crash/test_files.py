"""
Files that are read by processes that are killed at random moments: each row is loaded once.

The seed decides the moments; it is printed, and STATEPIPE_TEST_SEED sets it.
"""

import bz2
import gzip
import itertools
import json
import lzma
import os
import random
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from statepipe.sqlite import sqlite3
from statepipe.store.file.opening import open_reader
from statepipe.testing import violations
from tests.crash import scene
from tests.crash.processes import ROOT, soaking, until
from tests.io.s3 import KEY, SECRET, serving

_MACHINES: Final = Path(__file__).parent / "files" / "machines"

_SETTINGS: Final = """\
[policies.default]
executor = "thread"

[env.process.policies.default]
executor = "process"
"""

#: Files, and rows in each; batches of 11 begin and end anywhere in them.
_FILES: Final = (260, 0, 310, 1, 250)

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
    for n, length in enumerate(_FILES):
        yield n, left[:length]
        left = left[length:]


def set_up(root: Path) -> Path:
    """Make `root` the folder of a project with its files; return it."""
    shutil.copytree(_MACHINES, root / "machines", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "statepipe.toml").write_text(_SETTINGS, "utf-8")
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


def standing(root: Path) -> dict[str, tuple[str, int]]:
    """Return state and seq of each instance that has not ended."""
    with closing(open_reader(scene.store_of(root))) as store:
        rows = store.execute(
            "SELECT id, state, seq FROM instance WHERE status NOT IN ('done', 'failed')"
        )
        return {name: (state, seq) for name, state, seq in rows}


def has_moved(root: Path, seq: int) -> bool:
    """Return True if an instance has come so far, or all have ended."""
    now = standing(root)
    return not now or any(reached >= seq for _, reached in now.values())


def read_disturbed(
    root: Path, ways: Sequence[str], *, rng: random.Random, kills: int, url: str = ""
) -> int:
    """
    Read files in several ways at once while the process that reads is killed.

    All is read again until each way was hit so often in the middle of reading; returns how
    often it was read.
    """
    set_up(root)
    hits: Counter[str] = Counter()
    for times in itertools.count(1):
        for way in ways:
            asked = ["start", "files", "--id", f"{way}-{times}", "-p", f"way={way}"]
            assert statepipe(root, *asked, "-p", f"url={url}").wait(60) == 0
        while now := standing(root):
            is_enough = min(hits[way] for way in ways) >= kills
            least = min(seq for _, seq in now.values())
            life = statepipe(root, *rng.choice([["--env", "process"], []]), "worker")
            try:  # far away is only the end
                goal = 10**6 if is_enough else least + rng.randrange(1, 40)
                until(partial(has_moved, root, goal), "a moment to kill, or the end")
                threading.Event().wait(rng.uniform(0, 0.01))
            finally:
                life.kill()
                life.wait()
            reading = [name for name, at in standing(root).items() if at[0] == "extracting"]
            hits.update(name.partition("-")[0] for name in reading)
        if min(hits[way] for way in ways) >= kills:
            return times
    raise AssertionError


def all_done(root: Path) -> bool:
    """Return True if no instance has failed."""
    with closing(open_reader(scene.store_of(root))) as store:
        (failed,) = store.execute("SELECT count(*) FROM instance WHERE status <> 'done'").fetchone()
    return not failed


def problems(root: Path, *, times: int) -> list[str]:
    """Return what is not as if nobody had been killed."""
    with closing(sqlite3.connect(root / "warehouse.db")) as warehouse:
        loaded = Counter(warehouse.execute("SELECT id, text FROM rows").fetchall())
    expected = Counter(rows() * times)
    found = violations(scene.store_of(root))
    found += [] if all_done(root) else [(root / "said.log").read_text("utf-8")[-2000:]]
    if loaded != expected:
        more, less = loaded - expected, expected - loaded
        found.append(f"{more.total()} rows too many, {less.total()} missing: {more or less}"[:500])
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
def test_files_are_loaded_exactly_by_processes_that_are_killed(tmp_path: Path) -> None:
    """Packed CSV and Parquet, several files each, hit in the middle of reading."""
    root = tmp_path / "project"
    rng = random.Random(seed_of_this_run())

    times = read_disturbed(root, ["csv", "parquet"], rng=rng, kills=2)

    assert problems(root, times=2 * times) == []


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
            rng = random.Random(first + nth)
            ways = ["csv", "parquet", "s3"]
            times = read_disturbed(root, ways, rng=rng, kills=5, url=s3.url)
            assert problems(root, times=3 * times) == [], first + nth
