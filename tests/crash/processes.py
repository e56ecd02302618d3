"""
Real processes for the crash tests: start one, wait for what it does, never for time to pass.

    start       `python -m tests.crash.driver`, or another module
    stopped     wait until a process has stopped itself
    ended       wait until it has ended; its exit code, output and errors
    swept       what a module that ends a process at each of its points has found
    found       the points that failed, with the command that looks at one again
    until       poll a condition, with a bound
    soaking     count for minutes
    survivors   what still runs of all that was started for a folder
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count, takewhile
from pathlib import Path
from typing import Any, Final, NamedTuple

from statepipe.clock import SystemClock
from statepipe.store.file.opening import open_reader
from tests.crash import scene

ROOT: Final = Path(__file__).parents[2]

#: In the environment of what we start, and so of whatever that starts.
_MARK: Final = "STATEPIPE_TEST_ROOT"

#: Nothing here takes a tenth of this; who waits longer hangs, in milliseconds.
BOUND_MS: Final = 45_000


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> dict[str, Any]:
        """What the driver printed."""
        said: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return said


def start(
    *arguments: object, module: str = "tests.crash.driver", cwd: Path = ROOT
) -> subprocess.Popen[str]:
    """Start `python -m MODULE ARGUMENTS`."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), _MARK: str(arguments[0])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stopped(process: subprocess.Popen[str]) -> None:
    """Wait until `process` has stopped itself."""
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), f"it ended instead: {os.waitstatus_to_exitcode(status)}"


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait until `process` has ended."""
    out, err = process.communicate(timeout=BOUND_MS / 1000)
    return Ended(process.returncode, out, err)


def swept(module: str, *arguments: object) -> list[dict[str, Any]]:
    """Return what `python -m tests.crash.MODULE ARGUMENTS` says, a report for each point."""
    whole = f"tests.crash.{module}"
    done = subprocess.run(
        [sys.executable, "-m", whole, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    more = {"module": whole, "stderr": done.stderr}
    return [json.loads(line) | more for line in done.stdout.splitlines()]


def found(reports: list[dict[str, Any]]) -> str:
    """Return what a person needs to look at the points that failed."""
    return "\n".join(
        f"python -m {report['module']} {report['point']}   # {report['name']}\n"
        + "\n".join(f"    {problem}" for problem in report["problems"])
        + report["stderr"][-4_000:]
        for report in reports
        if report["problems"]
    )


def until(condition: Callable[[], bool], what: str) -> int:
    """Poll until `condition` holds; return how long it took, in milliseconds."""
    clock = SystemClock()
    began_ms = clock.boot_ms()
    pause = threading.Event()
    while not condition():
        assert clock.boot_ms() - began_ms < BOUND_MS, f"still waiting for {what}"
        pause.wait(0.005)
    return clock.boot_ms() - began_ms


def soaking() -> Iterator[int]:
    """Yield 0, 1, 2, … for STATEPIPE_SOAK_SECONDS, 600 unless it is set."""
    seconds = float(os.environ.get("STATEPIPE_SOAK_SECONDS", "600"))
    clock = SystemClock()
    ends_ms = clock.boot_ms() + seconds * 1000
    return takewhile(lambda _: clock.boot_ms() < ends_ms, count())


def survivors(root: Path) -> list[int]:
    """Return the processes that were started for `root`, by whomever, and still run."""
    mark = f"{_MARK}={root}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # it has ended, or is not ours
            continue
    return found


def epoch_of(root: Path) -> int:
    """Return the instance's epoch, as last committed."""
    with closing(open_reader(scene.store_of(root))) as store:
        epoch: int = store.execute("SELECT epoch FROM instance").fetchone()[0]
    return epoch
