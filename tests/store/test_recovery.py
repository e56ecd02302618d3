"""After a bad end: what opening does first; and that nobody but SQLite touches the files."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from statepipe.errors import StoreUnusable
from statepipe.sqlite import sqlite3
from statepipe.store.file.opening import open_reader, open_store
from statepipe.testing import ManualClock
from tests.store import stores

CLOCK = ManualClock()


def crashed(folder: Path) -> Path:
    """Leave a store with commits in its WAL, as kill -9 does; return its path."""
    live = stores.opened(folder / "live")
    stores.created(live, "a", "b")
    after = folder / "after"
    after.mkdir()
    for path in live.path.parent.iterdir():
        if not path.name.endswith("-shm"):
            # Copied by a process of its own: this one has the file open (F4).
            subprocess.run(["cp", path, after], check=True)
    return after / "statepipe.db"


def test_after_an_unclean_end_the_wal_is_pushed_through_before_anything_else(
    tmp_path: Path,
) -> None:
    """Step 0e, the answer to F1."""
    path = crashed(tmp_path)
    assert path.with_name("statepipe.db-wal").stat().st_size > 0

    store = open_store(path, create=False, clock=CLOCK)

    assert path.with_name("statepipe.db-wal").stat().st_size == 0
    assert stores.count(store, "instance") == 2


def test_a_damaged_file_is_noticed_after_an_unclean_end(tmp_path: Path) -> None:
    """And is not written to: what is there may be all there is."""
    path = crashed(tmp_path)
    with closing(sqlite3.connect(path)) as whole:
        whole.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root, size = (
            whole.execute("SELECT rootpage FROM sqlite_master WHERE name = 'journal'").fetchone()[
                0
            ],
            whole.execute("PRAGMA page_size").fetchone()[0],
        )
    content = bytearray(path.read_bytes())
    content[(root - 1) * size : (root - 1) * size + 16] = b"\xff" * 16
    path.write_bytes(content)
    path.with_name("statepipe.db-wal").write_bytes(b"\0" * 32)

    with pytest.raises(StoreUnusable, match=r"damaged|malformed"):
        open_store(path, create=False, clock=CLOCK)

    assert path.read_bytes() == content


def test_a_wal_that_outgrew_its_limit_is_emptied_between_groups(tmp_path: Path) -> None:
    """Step 9; and not while a reader holds its snapshot."""
    clock = ManualClock()
    store = stores.opened(tmp_path, clock)
    stores.created(store, "a")
    assert not store.checkpoint_wal()
    reader = open_reader(store.path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM instance").fetchone()
    assert not store.checkpoint_wal(above_bytes=0)
    reader.close()
    clock.advance(1_000)

    assert store.checkpoint_wal(above_bytes=0)
    assert store.path.with_name("statepipe.db-wal").stat().st_size == 0


_RUN = """
import builtins, io, os, sys
from pathlib import Path

opened = []
def watch(real):
    def watched(path, *args, **kwargs):
        opened.append(os.fsdecode(path) if not isinstance(path, int) else "")
        return real(path, *args, **kwargs)
    return watched
builtins.open = io.open = watch(open)
os.open = watch(os.open)

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.batch import Batch
from statepipe.testing import violations

def extract(task):
    for number in range(task.cursor or 0, 3):
        yield Batch([{"n": number, "big": "x" * 70_000}], cursor=number + 1)

def fail(task):
    raise ValueError("no")

def acting(name, function, target):
    on = (Transition(event="ok", target=target),)
    return State(name=name, task=Run(function=function), on=on, settings={"executor": "thread"})

machine = Machine(
    name="m",
    initial="a",
    states=(
        acting("a", extract, "b"),
        acting("b", fail, "done"),
        State(name="done", final="success"),
    ),
)
config = load_config(start=Path(sys.argv[1]), environ={})
for turn in range(2):
    with Engine(config, machines=[machine]) as engine:
        if turn == 0:
            engine.create("m", instance_id="i")
            engine.run(["i"])
        engine.resume(["i"])
        engine.rewind("i", to="a")
        engine.run(["i"])
        assert violations(config.store) == []
mine = [path for path in opened if ".db" in path and not path.endswith("-guard")]
staged = [path for path in opened if path.endswith(".tmp")]
print(len(mine), len(staged) > 0, mine)
"""


def test_nobody_opens_the_stores_files_but_sqlite(tmp_path: Path) -> None:
    """F4: one `open(store).close()` in this process, and acknowledged commits are lost."""
    told = subprocess.run(
        [sys.executable, "-c", _RUN, str(tmp_path)],
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )

    assert told.stdout.startswith("1 "), told.stdout + told.stderr  # the one that creates it
    assert "statepipe.db'" in told.stdout
