"""
End a replay at each of its points, go on, check that each record landed once.

    python -m tests.crash.replaying FIRST STEP     points FIRST, FIRST + STEP, … to the last
    python -m tests.crash.replaying 17             point 17 alone, or by its name

The table has no key, so a record that is loaded twice is there twice. Prints one line of JSON
for each point, as `sweep.py` does, and forks as it does.
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
from statepipe.errors import Refused
from statepipe.sqlite import sqlite3
from statepipe.store.file.opening import open_reader
from statepipe.testing import violations
from tests.crash.points import Points
from tests.crash.sweep import run, sweep_copies

CONFIG: Final = 'store = "statepipe.db"\n[policies.default]\nexecutor = "inline"\n'

MACHINE: Final = """\
machine = "m"
extract = "m:extract"
validate = { contract = "c.json" }
load = { to = "sqlite:///w.db", table = "t" }
"""

CODE: Final = """\
from statepipe import Batch

def extract(task):
    for start in range(task.cursor or 0, 12, 4):
        yield Batch([{"n": n} for n in range(start, start + 4)], cursor=start + 4)
"""

#: Of 12 records the original loads those below 3.
STRICT: Final = '{"properties": {"n": {"maximum": 2}}}'
MENDED: Final = '{"properties": {"n": {"maximum": 10}}}'


def main(argv: Sequence[str]) -> int:
    """Sweep, and print what was found."""
    return sweep_copies(argv, set_up=set_up, look=end_and_go_on)


def set_up(root: Path) -> None:
    """Make `root` a folder with an instance whose contract was too strict, and is no more."""
    (root / "machines").mkdir(parents=True)
    (root / "statepipe.toml").write_text(CONFIG, encoding="utf-8")
    (root / "machines" / "m.toml").write_text(MACHINE, encoding="utf-8")
    (root / "machines" / "m.py").write_text(CODE, encoding="utf-8")
    (root / "machines" / "c.json").write_text(STRICT, encoding="utf-8")
    assert run(lambda: _driven(root)) == 0
    (root / "machines" / "c.json").write_text(MENDED, encoding="utf-8")


def end_and_go_on(root: Path, point: int | str) -> dict[str, Any] | None:
    """Kill a replay at a point and go on as people would; None if it has no such point."""
    code = run(lambda: _replayed(root, at=point))
    if not (root / "points.log").exists():
        return None
    problems = [] if code == -signal.SIGKILL else [f"it was not killed: {code}"]
    problems += violations(root / "statepipe.db")
    if run(lambda: _replayed(root)) != 0:
        problems.append("the second try failed")
    problems += violations(root / "statepipe.db")
    with closing(sqlite3.connect(root / "w.db")) as warehouse:
        rows = [n for (n,) in warehouse.execute("SELECT n FROM t ORDER BY n")]
    if rows != list(range(11)):
        problems.append(f"loaded are {rows}")
    with closing(open_reader(root / "statepipe.db")) as store:
        made = store.execute("SELECT id, status FROM replays").fetchall()
        again = store.execute(
            "SELECT r.records FROM reject r JOIN replay p ON p.instance = r.instance"
        ).fetchall()
    if made != [("a-replay-1", "done")]:
        problems.append(f"replays are {made}")
    if again != [(1,)]:
        problems.append(f"rejected once more are {again}")
    number, _, name = (root / "points.log").read_text(encoding="utf-8").strip().partition(" ")
    return {"point": int(number), "name": name, "problems": problems}


def _driven(root: Path) -> int:
    with Engine(load_config(start=root, environ={})) as engine:
        engine.create("m", instance_id="a")
        return 0 if engine.run(["a"]) == {"a": "done"} else 1


def _replayed(root: Path, *, at: int | str | None = None) -> int:
    """Replay as the command does; what is there already is driven by whoever comes."""
    if at is not None:
        Points(root, at=at).install()
    with Engine(load_config(start=root, environ={}), create=False) as engine:
        try:
            engine.run(engine.replay("a", reason="the contract was too strict"))
        except Refused:
            engine.work(until_idle=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
