"""
One byte flipped anywhere in a store (R8): noticed, or without effect on what a run relies on.

SQLite has no checksum over the main file, so batches of records have one of ours, and what
quick_check does not notice there cannot reach a destination. A flipped frame of the WAL ends
it there: the store is then whole as of an earlier commit.
"""

import hashlib
import os
import random
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from statepipe.errors import StatepipeError
from statepipe.model import Staged, Stay
from statepipe.sqlite import sqlite3
from statepipe.store.file.opening import open_reader
from statepipe.store.stage import rows as staged
from statepipe.store.stage.directory import Stage
from statepipe.store.walk.committer import Committer
from statepipe.testing import ManualClock
from tests.store import stores

FLIPS = int(os.environ.get("STATEPIPE_FLIPS", "400"))
BATCHES = 6


class Whole(NamedTuple):
    """A store as kill -9 left it, and what it held after each of its commits."""

    path: Path
    moments: list[dict[int, Staged]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Commit batches, half of them still in the WAL."""
    folder = tmp_path_factory.mktemp("whole")
    store = stores.opened(folder / "live", ManualClock())
    worker = stores.registered(store)
    stores.created(store, "a")
    (at,) = stores.claimed(store, worker)
    moments: list[dict[int, Staged]] = [{}]
    for number in range(BATCHES):
        body = bytes([number]) * 6_000
        batch = stores.batch(number)._replace(
            body=body, bytes=len(body), sha256=hashlib.sha256(body).digest()
        )
        change, attachment = stores.batched(
            at._replace(seq=at.seq + number, batches=number), worker, batch
        )
        Committer(store).commit([change], {0: attachment}, policies={})
        moments.append({**moments[-1], number: batch})
        if number == BATCHES // 2:
            assert store.checkpoint_wal(above_bytes=0)
    (folder / "after").mkdir()
    for path in store.path.parent.glob("statepipe.db*"):
        if not path.name.endswith("-shm"):
            # By a process of its own: this one has the store open (F4).
            subprocess.run(["cp", path, folder / "after"], check=True)
    return Whole(folder / "after" / "statepipe.db", moments)


def read(path: Path) -> dict[int, Staged]:
    """Return the batches that can be read back, each checked as a run checks it."""
    stage = Stage(path.parent / "stage")
    with closing(open_reader(path)) as reader:
        assert reader.execute("PRAGMA quick_check").fetchone()[0] == "ok", "noticed"
        found = {}
        total = stores.count_batches(reader, 1, Stay(1, "s0", 1))
        for number in range(total):
            batch = staged.staged_batch(reader, 1, Stay(1, "s0", 1), number)
            assert batch is not None, "noticed"
            stage.read(batch)
            found[number] = batch
        return found


def content(folder: Path) -> dict[str, bytes]:
    """Return the store's files, without the index that SQLite makes of the WAL."""
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")
    }


def data(batches: dict[int, Staged]) -> list[Any]:
    """Return what is loaded of batches: their records, in order."""
    return [(number, batch.body, batch.records) for number, batch in batches.items()]


def test_the_store_that_is_flipped_is_whole(whole: Whole, tmp_path: Path) -> None:
    """Without a flip everything is read, from the main file and the WAL."""
    copy = tmp_path / "copy"
    shutil.copytree(whole.path.parent, copy)

    assert read(copy / "statepipe.db") == whole.moments[-1]
    assert (copy / "statepipe.db-wal").stat().st_size > 10_000


def test_no_flipped_byte_changes_what_is_loaded(whole: Whole, tmp_path: Path) -> None:
    """Each flip is noticed or harmless, and reading changes neither file."""
    rng = random.Random(20_26)
    files = ["statepipe.db", "statepipe.db-wal"]
    verdicts = {"noticed": 0, "harmless": 0, "an earlier commit": 0}
    for turn in range(FLIPS):
        copy = tmp_path / str(turn)
        shutil.copytree(whole.path.parent, copy)
        victim = copy / files[turn % len(files)]
        at, bit = rng.randrange(victim.stat().st_size), rng.randrange(8)
        flipped = bytearray(victim.read_bytes())
        flipped[at] ^= 1 << bit
        victim.write_bytes(flipped)
        before = content(copy)

        try:
            found = data(read(copy / "statepipe.db"))
        except (StatepipeError, sqlite3.Error, AssertionError, UnicodeDecodeError):
            verdicts["noticed"] += 1
        else:
            moments = [data(moment) for moment in whole.moments]
            assert found in moments, f"byte {at}, bit {bit} of {victim.name}: silently different"
            verdicts["harmless" if found == moments[-1] else "an earlier commit"] += 1
        assert content(copy) == before, f"reading changed the files: {victim.name}, byte {at}"
        shutil.rmtree(copy)

    assert verdicts["noticed"] > FLIPS // 40, verdicts
