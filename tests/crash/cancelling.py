"""
End a cancel at each of its points, go on, check that what it left behind was cleaned.

    python -m tests.crash.cancelling FIRST STEP     points FIRST, FIRST + STEP, … to the last
    python -m tests.crash.cancelling 17             point 17 alone, or by its name
    python -m tests.crash.cancelling_failed …       the same of one that has failed

The instance has staged a batch and failed an attempt when it is cancelled; its `on_cancel` fails
once. Prints one line of JSON for each point, as `sweep.py` does, and forks as it does.
"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlite_utils  # noqa: F401  imported here once, not by each child

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import Refused
from statepipe.model import Change, Status
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.observers import Observer
from statepipe.store.reading import Reader
from statepipe.testing import violations
from tests.crash.points import Points
from tests.crash.sweep import run, sweep_copies

_MACHINE = """\
machine = "rows"
version = 1
extract = "rows_:extract"
load = { to = "sqlite:///warehouse.db", table = "rows", key = ["n"] }
on_cancel = { run = "rows_:cleanup", retry = { errors = ["Throttled"], interval = "1ms" } }
"""

_FUNCTIONS = '''\
"""Rows, one a batch; the second cannot be had for a while."""

from pathlib import Path

from statepipe import Batch, Throttled

HERE = Path(__file__).parent


def extract(task):
    for n in range(task.cursor or 0, 3):
        if n == 1 and not (HERE / "open").exists():
            raise Throttled("closed")
        yield Batch([{"n": n}], cursor=n + 1)


def cleanup(task):
    with (HERE / "cleaned").open("a") as log:
        log.write(f"{task.attempt} {task.state} {task.idempotency_key}\\n")
    if task.attempt == 1:
        raise Throttled("busy")
'''

_SETTINGS = """\
[policies.default]
executor = "inline"
interval = "1h"
jitter = "none"
"""


def main(argv: Sequence[str]) -> int:
    """Sweep, and print what was found."""
    return sweep_copies(argv, set_up=set_up, look=end_and_go_on)


def end_and_go_on(root: Path, point: int | str) -> dict[str, Any] | None:
    """Kill a cancel at a point and go on as people would; None if it has no such point."""
    code = run(lambda: _cancelled(root, at=point))
    if not (root / "points.log").exists():
        return None
    store = root / "checkpoints" / "statepipe.db"
    problems = [] if code == -signal.SIGKILL else [f"it was not killed: {code}"]
    problems += violations(store)
    if run(lambda: _cancelled(root)) != 0:
        problems.append("going on failed")
    problems += violations(store)
    with Reader(store) as reader:
        found = reader.inspect("i")
    stands = (found.status, found.failed_state, found.batches, found.failure)
    if stands != (Status.CANCELLED, "extracting", 1, None):
        problems.append(f"it stands {stands}")
    runs = [line.split() for line in (root / "machines" / "cleaned").read_text().splitlines()]
    if {(state, key) for _, state, key in runs} != {("extracting", runs[0][2])}:
        problems.append(f"it was not one occasion: {runs}")
    # A kill costs one more call of the attempt that it hit, and nothing else.
    attempts = [int(attempt) for attempt, *_ in runs]
    if attempts != sorted(attempts) or set(attempts) != {1, 2} or len(attempts) > 3:
        problems.append(f"attempts were {attempts}")
    (root / "machines" / "open").touch()
    if run(lambda: _resumed(root)) != 0:
        problems.append("a resume of what was cancelled did not load it all")
    number, _, name = (root / "points.log").read_text(encoding="utf-8").strip().partition(" ")
    return {"point": int(number), "name": name, "problems": [*problems, *violations(store)]}


def set_up(root: Path, *, fails: bool = False) -> None:
    """Let an instance wait for its second attempt, or fail for want of one."""
    (root / "machines").mkdir(parents=True)
    (root / "machines" / "rows.toml").write_text(_MACHINE, encoding="utf-8")
    (root / "machines" / "rows_.py").write_text(_FUNCTIONS, encoding="utf-8")
    once = "\n[machines.rows.states.extracting]\nmax_attempts = 1\n"
    settings = _SETTINGS + once * fails
    (root / "statepipe.toml").write_text(settings, encoding="utf-8")
    assert run(lambda: _waiting(root, fails=fails)) == 0


def _engine(root: Path, observe: Observer | None = None) -> Engine:
    return Engine(load_config(start=root, environ={}), observe=observe)


def _waiting(root: Path, *, fails: bool) -> int:
    """Drive it until it waits for its second attempt, or has failed."""

    def observe(_drive: Drive, change: Change) -> None:
        if change.detail is not None and change.detail.kind == "retry":
            engine.stop("enough")

    engine = _engine(root, observe)
    with engine:
        engine.create("rows", instance_id="i")
        ended = engine.run(["i"])
    return 0 if (ended["i"] == Status.FAILED) is fails else 1


def _cancelled(root: Path, *, at: int | str | None = None) -> int:
    """Cancel and drive, as the command does."""
    if at is not None:
        Points(root, at=at).install()
    with _engine(root) as engine:
        try:
            engine.cancel("i", reason="wrong day")
        except Refused:  # it is being cancelled already, or it is
            assert at is None
        ended = engine.run(["i"])
    return 0 if ended == {"i": Status.CANCELLED} else 1


def _resumed(root: Path) -> int:
    with _engine(root) as engine:
        return 0 if engine.resume(["i"]) == {"i": Status.DONE} else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
