"""
A small project on disk, and the command line run in it: in this process, or as a real one.

    made            a folder with statepipe.toml and the machine `numbers`
    Project.call    one command in this process: fast
    Project.spawn   one as a process of its own, for signals and pipes
    FAILING         edits that make the machine fail in `loading`
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from statepipe.cli import main
from statepipe.clock import SystemClock

CONFIG = """\
store = "statepipe.db"

[policies.default]
max_attempts = 1
executor = "thread"
batch_size = 2
"""

MACHINE = """\
machine = "numbers"
version = 1

extract   = "numbers_:extract"
validate  = { contract = "contracts/number.json" }
transform = "numbers_:transform"
load      = { to = "sqlite:///warehouse.db", table = "numbers", key = ["n"] }

[params]
count = { type = "int", default = 5 }
slow  = { type = "bool", default = false }
"""

CONTRACT = '{"type": "object", "properties": {"n": {"type": "integer", "not": {"const": 3}}}}'

FUNCTIONS = '''\
"""Numbers from 0."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event

from statepipe import Batch, Task

HERE = Path(__file__).parent


def extract(task: Task) -> Iterator[Batch]:
    """Yield the numbers; a slow one begins, says so, and waits until it is told to stop."""
    size, count = task.batch_size, task.params["count"]
    for start in range(task.cursor or 0, count, size):
        numbers = range(start, min(start + size, count))
        yield Batch([{"n": n} for n in numbers], cursor=start + size)
    if task.params["slow"]:
        (HERE / "begun").touch()
        while not (task.cancelled or (HERE / "go").exists()):
            Event().wait(0.005)


def transform(task: Task, batch: Batch) -> Batch:
    """Square them."""
    if (HERE / "broken").exists() and batch.records[0]["n"] >= 2:
        raise ConnectionError((HERE / "broken").read_text(encoding="utf-8"))
    return Batch([{**row, "square": row["n"] ** 2} for row in batch.records])
'''


@dataclass(frozen=True)
class Said:
    """What one command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401  (whatever was printed)
        """The JSON on standard output."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Project:
    """A project's folder, made the current one."""

    root: Path
    capsys: pytest.CaptureFixture[str]

    def call(self, *argv: str) -> Said:
        """Run one command in this process."""
        self.capsys.readouterr()
        code = main(list(argv))
        out, err = self.capsys.readouterr()
        return Said(code, out, err)

    def spawn(self, *argv: str, **options: Any) -> "subprocess.Popen[str]":  # noqa: ANN401  (Popen's own)
        """Start one command as a process of its own; its output can be read."""
        return subprocess.Popen(
            [sys.executable, "-m", "statepipe", *argv],
            cwd=self.root,
            env={key: value for key, value in os.environ.items() if "STATEPIPE" not in key},
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    def begun(self) -> None:
        """Wait until a slow extraction has begun."""
        until((self.root / "machines" / "begun").exists)

    def break_it(self, message: str = "the other side hung up") -> None:
        """Make `transform` fail from its second batch on."""
        (self.root / "machines" / "broken").write_text(message, encoding="utf-8")

    def mend_it(self) -> None:
        """Let `transform` work again."""
        (self.root / "machines" / "broken").unlink()


def made(folder: Path, capsys: pytest.CaptureFixture[str]) -> Project:
    """Write the project into `folder`."""
    machines = folder / "machines"
    (machines / "contracts").mkdir(parents=True)
    (folder / "statepipe.toml").write_text(CONFIG, encoding="utf-8")
    (machines / "numbers.toml").write_text(MACHINE, encoding="utf-8")
    (machines / "numbers_.py").write_text(FUNCTIONS, encoding="utf-8")
    (machines / "contracts" / "number.json").write_text(CONTRACT, encoding="utf-8")
    return Project(folder, capsys)


def until(holds: Callable[[], bool], *, most_ms: int = 20_000) -> None:
    """Wait until something holds, but not for ever."""
    clock = SystemClock()
    end_ms = clock.boot_ms() + most_ms
    while not holds():
        assert clock.boot_ms() < end_ms, "it never happened"
        Event().wait(0.005)
