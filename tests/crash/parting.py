"""
End a run whose state has several tasks at each of its points, go on, check what landed.

    python -m tests.crash.parting FIRST STEP     points FIRST, FIRST + STEP, … to the last
    python -m tests.crash.parting 17             point 17 alone, or by its name

Two sources side by side, one that fails and may be skipped, a join of what there is, and a
fan-out; what the join makes is loaded into a table without a key, so a batch that is loaded, or
taken over, twice is there twice. Prints one line of JSON for each point, as `sweep.py` does, and
forks as it does.
"""

import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import sqlite_utils  # noqa: F401  imported here once, not by each child

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.sqlite import sqlite3
from statepipe.store.stage.directory import Stage, stage_directory
from statepipe.testing import violations
from tests.crash.points import Points
from tests.crash.sweep import run, sweep_copies

_CONFIG: Final = """\
store = "statepipe.db"
[policies.default]
executor = "inline"
max_attempts = 1
"""

_MACHINE: Final = """\
machine = "m"
initial = "reading"

[states.reading]
tasks.left  = "m:source"
tasks.right = "m:source"
tasks.shaky = { run = "m:shaky", on_error = "skip" }
tasks.names = "m:names"
tasks.each  = { run = "m:each", needs = ["names"], foreach = "result", max_parallel = 2 }
tasks.join  = { run = "m:join", needs = ["left", "right", "shaky", "each"], when_skipped = "run" }
on.ok = "loading"

[states.loading]
load = { to = "sqlite:///w.db", table = "t" }
on.ok = "done"

[states.done]
final = "success"
"""

#: Each second batch is too large for a row.
_CODE: Final = """\
import random
from statepipe import Batch

def source(task):
    for n in range(task.cursor or 0, 2):
        text = random.Random(1).randbytes(30_000).hex() if n else ""
        yield Batch([{"of": task.name, "n": n, "text": text}], cursor=n + 1)

def shaky(task):
    raise RuntimeError("never")

def names(task):
    return ["a", "b", "c"]

def each(task):
    return task.item * 2

def join(task):
    assert task.skipped == ("shaky",), task.skipped
    said = "".join(task.results["each"])
    at = 0
    for name in ("left", "right"):
        for batch in task.batches(name):
            at += 1
            if at > (task.cursor or 0):
                yield Batch([{**each, "said": said} for each in batch.records], cursor=at)
"""

ALL: Final = [(of, n, "aabbcc") for of in ("left", "right") for n in range(2)]


def main(argv: Sequence[str]) -> int:
    """Sweep, and print what was found."""
    return sweep_copies(argv, set_up=_set_up, look=end_and_go_on)


def end_and_go_on(root: Path, point: int | str) -> dict[str, Any] | None:
    """Kill a run at a point, go on, and say what is wrong; None if it has no such point."""
    code = run(lambda: _driven(root, at=point))
    if not (root / "points.log").exists():
        return None
    store = root / "statepipe.db"
    problems = [] if code == -signal.SIGKILL else [f"it was not killed: {code}"]
    problems += violations(store)
    if run(lambda: _driven(root)) != 0:
        problems.append("going on failed")
    problems += violations(store)
    with closing(sqlite3.connect(root / "w.db")) as warehouse:
        loaded = warehouse.execute('SELECT "of", n, said FROM t ORDER BY 1, 2').fetchall()
    if loaded != ALL:
        problems.append(f"loaded are {loaded}")
    with closing(sqlite3.connect(store)) as connection:
        children = connection.execute("SELECT id, status FROM children ORDER BY id").fetchall()
        store_id = connection.execute("SELECT store_id FROM store").fetchone()[0]
    expected = [(f"i/reading.each[{n}]", "done") for n in range(3)] + [
        ("i/reading.join", "done"),
        ("i/reading.left", "done"),
        ("i/reading.names", "done"),
        ("i/reading.right", "done"),
        ("i/reading.shaky", "failed"),
    ]
    if children != expected:
        problems.append(f"children are {children}")
    left = Stage(stage_directory(store, store_id=store_id)).all_names()
    if left:
        problems.append(f"files are left: {left}")
    number, _, name = (root / "points.log").read_text(encoding="utf-8").strip().partition(" ")
    return {"point": int(number), "name": name, "problems": problems}


def _set_up(root: Path) -> None:
    (root / "machines").mkdir(parents=True)
    (root / "statepipe.toml").write_text(_CONFIG, encoding="utf-8")
    (root / "machines" / "m.toml").write_text(_MACHINE, encoding="utf-8")
    (root / "machines" / "m.py").write_text(_CODE, encoding="utf-8")
    assert run(lambda: _created(root)) == 0


def _created(root: Path) -> int:
    with Engine(load_config(start=root, environ={})) as engine:
        engine.create("m", instance_id="i")
    return 0


def _driven(root: Path, *, at: int | str | None = None) -> int:
    """Drive whatever is ready."""
    if at is not None:
        Points(root, at=at).install()
    with Engine(load_config(start=root, environ={})) as engine:
        engine.work(until_idle=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
