"""
A worker process that is started before anybody knows what for.

    Spare.take    the worker, for whoever comes first
    Spare.end     end it, if nobody came

A process takes a seventh of a second until it can begin an attempt, and so does the command
that will drive it: here both do at the same time.
"""

from contextlib import suppress
from threading import Lock
from typing import Final

from statepipe.runtime.executors.worker import Worker

#: What every attempt needs.
TASKS: Final = "statepipe.runtime.tasks.attempts"


class Spare:
    """One worker, started at once; none if no process can be started now. For any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._worker: Worker | None = None
        with suppress(OSError):  # whoever has a call for one will try again, and say what is wrong
            self._worker = Worker.start(imports=[TASKS])

    def take(self) -> Worker | None:
        """Return the worker, None if it was taken before."""
        with self._lock:
            worker, self._worker = self._worker, None
        return worker

    def end(self) -> None:
        """End the worker, unless it was taken."""
        if (worker := self.take()) is not None:
            worker.bury()
