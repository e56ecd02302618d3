"""
End a fork at each of its points, go on, check that what it was given landed once.

    python -m tests.crash.forking FIRST STEP     points FIRST, FIRST + STEP, … to the last
    python -m tests.crash.forking 17             point 17 alone, or by its name

The table has no key, so a record that is loaded twice is there twice; a batch lies in a file,
so there are files before there is a row. Prints one line of JSON for each point, as `sweep.py`
does, and forks as it does.
"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlite_utils  # noqa: F401  imported here once, not by each child

from statepipe.testing import violations
from tests.crash.points import Points
from tests.crash.sweep import run, sweep_copies
from tests.spec.forking import ALL, Project

FORK = "a-fork-1"


def main(argv: Sequence[str]) -> int:
    """Sweep, and print what was found."""
    return sweep_copies(argv, set_up=_set_up, look=end_and_go_on)


def end_and_go_on(root: Path, point: int | str) -> dict[str, Any] | None:
    """Kill a fork at a point and go on as people would; None if it has no such point."""
    project = Project(root)
    code = run(lambda: _forked(project, at=point))
    if not (root / "points.log").exists():
        return None
    problems = [] if code == -signal.SIGKILL else [f"it was not killed: {code}"]
    problems += violations(project.store)
    if run(lambda: _gone_on(project)) != 0:
        problems.append("going on failed")
    problems += violations(project.store)
    if project.loaded(FORK) != ALL:
        problems.append(f"loaded are {project.loaded(FORK)}")
    made = project.query("SELECT id, status FROM copies")
    if made != [(FORK, "done")]:
        problems.append(f"copies are {made}")
    named = {file for (file,) in project.query("SELECT file FROM batch WHERE file IS NOT NULL")}
    if named != {name.partition("/")[2] for name in project.files()}:
        problems.append(f"named are {named}, there are {project.files()}")
    number, _, name = (root / "points.log").read_text(encoding="utf-8").strip().partition(" ")
    return {"point": int(number), "name": name, "problems": problems}


def _set_up(root: Path) -> None:
    assert run(lambda: _failed(root)) == 0


def _failed(root: Path) -> int:
    Project(root).fail()
    return 0


def _forked(project: Project, *, at: int | str | None = None) -> int:
    """Fork and drive, as the command does."""
    if at is not None:
        Points(project.folder, at=at).install()
    with project.engine(create=False) as engine:
        engine.run([engine.copies.fork("a", reason="a trial")])
    return 0


def _gone_on(project: Project) -> int:
    """A worker drives what is there; if the fork is not, people fork again."""
    with project.engine(create=False) as engine:
        engine.work(until_idle=True)
    return 0 if project.query("SELECT 1 FROM copies") else _forked(project)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
