"""
One thread that does things at their time: the deadlines of kills.

    Reaper.after  do something later
    Reaper.stop   do nothing more

A thread of its own, because whoever asked for a kill, and whoever waits for the task,
may be blocked by the very thing that has to be killed.
"""

import heapq
import itertools
import logging
import threading
from collections.abc import Callable

from statepipe.clock import Clock

_log = logging.getLogger(__name__)


class Reaper:
    """
    Runs actions when they are due, one after the other, in one daemon thread.

    Args:
        clock: Its boot clock decides what is due.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[int, int, Callable[[], object]]] = []
        self._count = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def after(self, delay_ms: int, action: Callable[[], object]) -> None:
        """Run `action` in `delay_ms` milliseconds, or as soon as those before it are done."""
        with self._changed:
            due_ms = self._clock.boot_ms() + delay_ms
            heapq.heappush(self._due, (due_ms, next(self._count), action))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="statepipe-reaper", daemon=True
                )
                self._thread.start()
            self._changed.notify()

    def stop(self) -> None:
        """Forget what is not due yet; the thread ends."""
        with self._changed:
            self._stopped = True
            self._due.clear()
            self._changed.notify()

    def _run(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except Exception:  # noqa: BLE001 the others' deadlines hold all the same
                _log.exception("an action of the reaper failed")

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            while not self._stopped:
                if not self._due:
                    self._changed.wait()
                    continue
                left_ms = self._due[0][0] - self._clock.boot_ms()
                if left_ms <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(min(left_ms, 1_000) / 1_000)
            return None
