"""
A project whose machine loads numbers, and the command line that drives it.

    make          the folder
    Project.start a command as a process, which can be killed
    Project.drive commands until the instance is done, while somebody breaks things
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.crash.processes import BOUND_MS

#: What the machine yields: batches, and rows of each.
BATCHES: Final = 150
ROWS: Final = 10

_SETTINGS: Final = """\
[policies.default]
max_attempts = 3
interval = "20ms"
grace = "1s"
"""

_MACHINE: Final = """\
machine = "numbers"
version = 1

extract = "numbers_:extract"
load    = { to = "env:WAREHOUSE"%s }
"""

_FUNCTIONS: Final = f'''\
"""Numbers from 0."""

from collections.abc import Iterator

from statepipe import Batch, Task


def extract(task: Task) -> Iterator[Batch]:
    """Yield them, {ROWS} a batch."""
    for first in range(task.cursor or 0, {BATCHES * ROWS}, {ROWS}):
        rows = [{{"n": n, "square": n * n}} for n in range(first, first + {ROWS})]
        yield Batch(rows, cursor=first + {ROWS})
'''

_NOT_FOUND: Final = 3


@dataclass(frozen=True)
class Project:
    """
    A project's folder.

    Attributes:
        root: The folder.
        warehouse: The address that the machine's reference leads to.
    """

    root: Path
    warehouse: str

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start one command."""
        return subprocess.Popen(
            [sys.executable, "-m", "statepipe", *argv],
            cwd=self.root,
            env={**os.environ, "WAREHOUSE": self.warehouse},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *argv: str) -> tuple[int, str]:
        """Run one command; return its exit code and all that it printed."""
        process = self.start(*argv)
        out, err = process.communicate(timeout=BOUND_MS / 1000)
        return process.returncode, out + err

    def drive(self, disturb: Callable[[subprocess.Popen[str]], None]) -> list[str]:
        """
        Run the instance, and resume it until it is done; return what each command printed.

        Args:
            disturb: Called with each command's process; may kill it, or wait and let it be.
        """
        printed = []
        command: tuple[str, ...] = ("run", "numbers", "--id", "one")
        is_there = False
        while True:
            process = self.start(*command)
            disturb(process)
            out, err = process.communicate(timeout=BOUND_MS / 1000)
            printed.append(f"exit {process.returncode}: {out}{err}")
            if process.returncode == 0:
                return printed
            assert len(printed) < 200, "\n".join(printed)
            is_there = is_there or self.call("inspect", "one")[0] != _NOT_FOUND
            command = ("resume", "one") if is_there else command


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a command as `kill -9` does."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)


def make(root: Path, *, warehouse: str, load: str = 'table = "numbers"') -> Project:
    """Write the project into `root`; `load` is what its load says besides where to."""
    machines = root / "machines"
    machines.mkdir(parents=True)
    (root / "statepipe.toml").write_text(_SETTINGS, encoding="utf-8")
    (machines / "numbers.toml").write_text(
        _MACHINE % (f", {load}" if load else ""), encoding="utf-8"
    )
    (machines / "numbers_.py").write_text(_FUNCTIONS, encoding="utf-8")
    return Project(root, warehouse)
