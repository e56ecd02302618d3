"""
Kill a run at each of its points, check what is left, go on, check the end.

    python -m tests.crash.sweep FIRST STEP     points FIRST, FIRST + STEP, … until a run has no more
    python -m tests.crash.sweep 57             point 57 alone; or its name, "before rename#3"

Prints one line of JSON for each point: its number, its name, the problems found.

This process imports everything once and has one thread, so that each run can be a fork of it,
which costs a tenth of a new interpreter. It opens no store before its children have ended, and
closes all it opened before the next: SQLite must not cross a fork.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

import jsonschema_rs  # noqa: F401  imported here once, not by each child
import sqlite_utils  # noqa: F401

from statepipe.model import Status
from tests.crash import mutants, scene
from tests.crash.points import Points

#: A run that goes on for longer hangs, in seconds; most take a fifth of one.
RUN_S_MAX: Final = 30


def main(argv: Sequence[str]) -> int:
    """Sweep, and print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("first")
    parser.add_argument("step", type=int, nargs="?", default=0)
    parser.add_argument("--mutant", choices=sorted(mutants.ALL))
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        expected = undisturbed(Path(folder))
        for point in points_of(asked.first, asked.step):
            root = Path(folder) / str(point)
            report = kill_and_resume(root, point, expected, mutant=asked.mutant)
            if report is None:
                break
            sys.stdout.write(json.dumps(report) + "\n")
            sys.stdout.flush()
            shutil.rmtree(root)
    return 0


def points_of(first: str, step: int) -> Iterable[int | str]:
    """Return the points from `first` on, without an end, or that one alone."""
    if not step:
        return [int(first) if first.isdecimal() else first]
    return count(int(first), step)


def undisturbed(folder: Path) -> scene.Outcome:
    """Return what a run leaves that nobody kills."""
    root = scene.set_up(folder / "undisturbed")
    assert run(lambda: scene.drive(root)) == 0
    assert scene.redone(root).total() == 0
    return scene.outcome(root)


def kill_and_resume(
    root: Path, point: int | str, expected: scene.Outcome, *, mutant: str | None = None
) -> dict[str, Any] | None:
    """
    Kill a run at `point`, resume it; return what was found, None if the run has no such point.

    Every other resume is a worker's takeover; the rest are a person's.
    """
    scene.set_up(root)
    status = run(lambda: _driven(root, at=point, mutant=mutant))
    if status == 0:
        return None
    number, _, name = (root / "points.log").read_text("utf-8").strip().partition(" ")
    is_done = scene.rests(root) == Status.DONE
    problems = [] if status == -signal.SIGKILL else [f"it was not killed: {status}"]
    problems += scene.damage(root)
    status = run(lambda: _driven(root, resume=int(number) % 2 == 0, mutant=mutant))
    if status != 0:
        problems.append(f"the resume ended with {status}")
    else:
        problems += scene.damage(root)
        problems += scene.differences(scene.outcome(root), expected)
        problems += scene.unplanned(root)
        # Nobody drives what is done: files of a run that died while it tidied up are
        # left to `statepipe doctor`, which names them.
        if not is_done:
            problems += [f"left behind: {name}" for name in scene.leftovers(root)]
    redone = scene.redone(root)
    if redone.total() > 1:
        problems.append(f"more than one batch was done again: {dict(redone)}")
    return {"point": int(number), "name": name, "problems": problems, "redone": redone.total()}


def run(work: Callable[[], object]) -> int:
    """Do `work` in a child; return its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        signal.alarm(RUN_S_MAX)
        try:
            work()
        except BaseException:  # noqa: BLE001  the child must not return into its parent's code
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _driven(
    root: Path, *, at: int | str | None = None, resume: bool = False, mutant: str | None = None
) -> None:
    if mutant:
        mutants.ALL[mutant]()
    if at is not None:
        Points(root, at=at).install()
    statuses = scene.drive(root, resume=resume)
    assert set(statuses.values()) <= {Status.DONE}, statuses


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
