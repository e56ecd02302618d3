"""
End a run whose children share keys with others at each of its points, go on, check who has them.

    python -m tests.crash.keying FIRST STEP     points FIRST, FIRST + STEP, … to the last
    python -m tests.crash.keying 17             point 17 alone, or by its name

Three parents begin an instance of another machine whose key is another's: one of them waits for
it, one is skipped, one has the other cancelled. Prints one line of JSON for each point, as
`sweep.py` does, and forks as it does.
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
from statepipe.testing import violations
from tests.crash.points import Points
from tests.crash.sweep import run, sweep_copies

BEHAVIORS: Final = ("queue", "skip", "cancel")

_CHILD: Final = """\
machine = "by_{behavior}"
initial = "waiting"
concurrency = {{ key = "one", behavior = "{behavior}" }}

[states.waiting]
wait = {{ event = "go", timeout = "1d" }}
on   = {{ go = "done", timeout = "failed" }}

[states.done]
final = "success"
[states.failed]
final = "failure"
"""

_PARENT: Final = """\
machine = "to_{behavior}"
initial = "work"

[states.work]
machine    = "by_{behavior}"
on.ok      = "done"
on.skipped = "done"

[states.done]
final = "success"
"""

#: Who has what key, of those that are under way.
_HELD: Final = """
SELECT concurrency_key, count(*) FROM instance
 WHERE concurrency_key IS NOT NULL AND status = 'ready' AND awaits_turn = 0
 GROUP BY 1 HAVING count(*) > 1
"""

ALL: Final = [
    ("cancel", "done"),
    ("cancel/work", "done"),
    ("queue", "done"),
    ("queue/work", "done"),
    ("skip", "done"),
    ("x-cancel", "cancelled"),
    ("x-queue", "done"),
    ("x-skip", "done"),
]


def main(argv: Sequence[str]) -> int:
    """Sweep, and print what was found."""
    return sweep_copies(argv, set_up=_set_up, look=end_and_go_on)


def end_and_go_on(root: Path, point: int | str) -> dict[str, Any] | None:
    """Kill a run at a point, go on, and say what is wrong; None if it has no such point."""
    code = run(lambda: _driven(root, at=point))
    if not (root / "points.log").exists():
        return None
    problems = [] if code == -signal.SIGKILL else [f"it was not killed: {code}"]
    problems += _wrong(root)
    if run(lambda: _driven(root)) != 0:
        problems.append("going on failed")
    problems += _wrong(root)
    for _ in range(2):  # first those that have a key, then those that waited for it
        if run(lambda: _told(root)) != 0:
            problems.append("telling them to go on failed")
        problems += _wrong(root)
    ends = _asked(root, "SELECT id, status FROM instance ORDER BY id")
    if ends != ALL:
        problems.append(f"they ended {ends}")
    skips = _asked(root, "SELECT i.id FROM skipped s JOIN instance i ON i.n = s.instance")
    if skips != [("skip",)]:
        problems.append(f"skipped are {skips}")
    number, _, name = (root / "points.log").read_text(encoding="utf-8").strip().partition(" ")
    return {"point": int(number), "name": name, "problems": problems}


def _wrong(root: Path) -> list[str]:
    held = [f"{key} is had {count} times" for key, count in _asked(root, _HELD)]
    return violations(root / "statepipe.db") + held


def _asked(root: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(root / "statepipe.db")) as connection:
        return list(connection.execute(sql).fetchall())


def _set_up(root: Path) -> None:
    (root / "machines").mkdir(parents=True)
    (root / "statepipe.toml").write_text('store = "statepipe.db"\n', encoding="utf-8")
    for behavior in BEHAVIORS:
        for name, text in ((f"by_{behavior}", _CHILD), (f"to_{behavior}", _PARENT)):
            path = root / "machines" / f"{name}.toml"
            path.write_text(text.format(behavior=behavior), encoding="utf-8")
    assert run(lambda: _created(root)) == 0


def _created(root: Path) -> int:
    """Let one of each have the key, and make the parents."""
    with Engine(load_config(start=root, environ={})) as engine:
        for behavior in BEHAVIORS:
            engine.create(f"by_{behavior}", instance_id=f"x-{behavior}")
        engine.work(until_idle=True)
        for behavior in BEHAVIORS:
            engine.create(f"to_{behavior}", instance_id=behavior)
    return 0


def _driven(root: Path, *, at: int | str | None = None) -> int:
    """Drive whatever is ready."""
    if at is not None:
        Points(root, at=at).install()
    with Engine(load_config(start=root, environ={})) as engine:
        engine.work(until_idle=True)
    return 0


def _told(root: Path) -> int:
    """Tell those that have a key to go on."""
    have = _asked(
        root,
        "SELECT id FROM instance WHERE concurrency_key IS NOT NULL AND status = 'ready'"
        " AND awaits_turn = 0",
    )
    with Engine(load_config(start=root, environ={})) as engine:
        for (name,) in have:
            engine.signal(name, "go")
        engine.work(until_idle=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
