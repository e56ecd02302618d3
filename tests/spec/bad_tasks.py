"""
Tasks of authors who mean no good, or return what no checkpoint can hold.

Imported by worker processes, and by the tests that name them.
"""

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

from statepipe.batch import Batch
from statepipe.model import Outcome, Task


class UnprintableError(Exception):
    """Raises instead of telling."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def raise_unprintable(task: Task) -> None:
    """Raise what cannot be shown."""
    raise UnprintableError(task.name)


def exit_at_once(task: Task) -> None:
    """End the process behind Python's back."""
    os._exit(task.attempt + 2)


def segfault(task: Task) -> None:
    """Read where nothing is."""
    ctypes.string_at(task.attempt)


def print_100_mb(task: Task) -> str:
    """Fill the standard output."""
    line = task.name * (1 << 18)
    for _ in range(100 * (1 << 20) // len(line)):
        print(line)  # noqa: T201  (a task that prints is what is tested)
    return "printed"


def never_end(task: Task) -> None:
    """Wait for what does not come."""
    task.log.info("waiting")
    threading.Event().wait()


def leave_a_child(task: Task) -> int:
    """Start a process that outlives the task, in a session of its own."""
    del task
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return child.pid


VALUES: dict[str, Any] = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "big": 2**63,
    "bigger": -(2**200),
    "surrogate": "half \ud800 a pair",
    "lambda": lambda: None,
    "object": object(),
    "deep": None,
    "large": b"x" * (2 << 20),
}
_nest: list[Any] = []
for _ in range(1_000):
    _nest = [_nest]
VALUES["deep"] = _nest


def return_value(task: Task) -> Any:  # noqa: ANN401  (whatever is passed on)
    """Return one of VALUES."""
    return {"rows": [1, VALUES[task.params["which"]]]}


def yield_value(task: Task) -> Iterator[Batch]:
    """Put one of VALUES into a record, after a batch that is sound."""
    if task.cursor is None:
        yield Batch([{"sound": 1}], cursor=1)
    yield Batch([{"fine": 1}, {"price": VALUES[task.params["which"]]}], cursor=2)


def cursor_value(task: Task) -> Iterator[Batch]:
    """Make one of VALUES the cursor."""
    yield Batch([{"sound": 1}], cursor={"at": VALUES[task.params["which"]]})


def unknown_event(task: Task) -> Outcome:
    """Raise an event the machine has not heard of."""
    return Outcome("okay", task.attempt)


def fine(task: Task) -> str:
    """Behave."""
    return task.instance
