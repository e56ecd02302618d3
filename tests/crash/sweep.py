"""
End a run at each of its points, check what is left, go on, check the end.

    python -m tests.crash.sweep FIRST STEP     points FIRST, FIRST + STEP, … until a run has no more
    python -m tests.crash.sweep 57             point 57 alone; or its name, "before rename#3"
    --signal TERM                              ask it to stop there; otherwise kill it
    --mutant NAME                              with an engine that is broken (see `mutants.py`)

Prints one line of JSON for each point: its number, its name, how the run ended, the problems
found, how many batches were done again.

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
import sqlite_utils  # noqa: F401  (imported here once)

from statepipe import cli
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
    parser.add_argument("--signal", choices=["KILL", "TERM", "INT"], default="KILL")
    parser.add_argument("--mutant", choices=sorted(mutants.ALL))
    asked = parser.parse_args(argv)
    signum = signal.Signals[f"SIG{asked.signal}"]
    with tempfile.TemporaryDirectory() as folder:
        expected = undisturbed(Path(folder))
        for point in points_of(asked.first, asked.step):
            root = Path(folder) / str(point)
            report = end_and_resume(root, point, expected, signum=signum, mutant=asked.mutant)
            if report is None:
                break
            sys.stdout.write(json.dumps(report) + "\n")
            sys.stdout.flush()
            shutil.rmtree(root)
    return 0


def sweep_copies(
    argv: Sequence[str],
    *,
    set_up: Callable[[Path], object],
    look: Callable[[Path, int | str], dict[str, Any] | None],
) -> int:
    """Do as `main` for work that is ended in a copy of a folder, set up once."""
    first, *step = argv
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "before"
        set_up(before)
        for point in points_of(first, int(*step)):
            root = Path(shutil.copytree(before, Path(folder) / "now"))
            report = look(root, point)
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
    assert run(lambda: _driven(root)) == 0
    assert scene.redone(root).total() == 0
    return scene.outcome(root)


def end_and_resume(
    root: Path,
    point: int | str,
    expected: scene.Outcome,
    *,
    signum: signal.Signals = signal.SIGKILL,
    mutant: str | None = None,
) -> dict[str, Any] | None:
    """
    End a run at `point`, resume it; return what was found, None if the run has no such point.

    Every other resume is a worker's takeover; the rest are a person's, on the command line.
    """
    scene.set_up(root)
    code = run(lambda: _driven(root, at=point, signum=signum, mutant=mutant))
    if not (root / "points.log").exists():
        return None
    number, _, name = (root / "points.log").read_text("utf-8").strip().partition(" ")
    was = scene.rests(root)
    problems = scene.damage(root)
    if signum == signal.SIGKILL:
        problems += [] if code == -signum else [f"it was not killed: {code}"]
    else:
        problems += _impolite(root, code, signum=signum, was=was)
    by_hand = int(number) % 2 == 0 and was == Status.READY
    code_after = run(lambda: _driven(root, by_hand=by_hand, mutant=mutant))
    if code_after != 0:
        problems.append(f"the resume ended with {code_after}")
    else:
        problems += scene.damage(root)
        problems += scene.differences(scene.outcome(root), expected)
        problems += scene.unplanned(root)
        # Nobody drives what is done: files of a run that died while it tidied up are
        # left to `statepipe doctor`, which names them.
        if was != Status.DONE:
            problems += [f"left behind: {name}" for name in scene.leftovers(root)]
    redone = scene.redone(root).total()
    if redone > 1:
        problems.append(f"more than one batch was done again: {dict(scene.redone(root))}")
    report = {"point": int(number), "name": name, "code": code, "was": was}
    return report | {"problems": problems, "redone": redone}


def _impolite(root: Path, code: int, *, signum: signal.Signals, was: str | None) -> Iterable[str]:
    """Return where a run that was asked to stop did not do as it should."""
    if was == Status.DONE:
        # Too late to stop anything: whoever waits for the command learns the truth.
        return [] if code == 0 else [f"done, but the command ended with {code}"]
    found = [] if code == 128 + signum else [f"asked to stop, it ended with {code}"]
    if was is not None:
        found += scene.unreleased(root)
    return found


def run(work: Callable[[], int]) -> int:
    """Do `work` in a child; return what it returns, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        signal.alarm(RUN_S_MAX)
        code = 70
        try:
            code = work()
        except BaseException:  # noqa: BLE001  the child must not return into its parent's code
            traceback.print_exc()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _driven(
    root: Path,
    *,
    at: int | str | None = None,
    signum: signal.Signals = signal.SIGKILL,
    by_hand: bool = False,
    mutant: str | None = None,
) -> int:
    """Run the shop as a worker would, or by its command line; return the exit code."""
    if mutant:
        mutants.ALL[mutant]()
    if at is not None:
        Points(root, at=at, signum=signum).install()
    if by_hand:
        return _commanded(root, "resume", scene.INSTANCE)
    if signum != signal.SIGKILL:
        return _commanded(root, "run", "shop", "--id", scene.INSTANCE)
    return 0 if set(scene.drive(root).values()) <= {Status.DONE} else 1


def _commanded(root: Path, *command: str) -> int:
    os.chdir(root)
    sys.stdout = sys.stderr  # ours is read by a program
    return cli.main(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
