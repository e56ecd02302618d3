"""
The lease's heartbeat, in a thread of its own.

The loop renews, too; but a task that runs inline, or a slow disk, may hold the loop up
for longer than the lease, and a live process must not be taken for a dead one. The
thread has a connection of its own, since the loop's belongs to the loop.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from statepipe.clock import Clock
from statepipe.runtime.beside import Beside, Trouble, Turn
from statepipe.store.file.connection import Store
from statepipe.store.liveness import Worker
from statepipe.store.walk import workers


class Renewal:
    """
    Renews the lease of `worker` every third of it, from `start` until `stop`.

    Should the lease pass while the store refuses that, the epoch keeps the data right.
    """

    def __init__(self, path: Path, worker: Worker, *, clock: Clock, trouble: Trouble) -> None:
        self._worker = worker
        self._beside = Beside(
            "lease",
            path,
            trouble=trouble,
            turning=self._turning,
            pause_ms=worker.lease_ms // 3,
            clock=clock,
        )

    def start(self) -> None:
        """Begin."""
        self._beside.start()

    def stop(self) -> None:
        """End, and wait for it."""
        self._beside.end()

    @contextmanager
    def _turning(self, store: Store) -> Generator[Turn]:
        def turn(_is_last: bool) -> bool:  # noqa: FBT001  (as Turn says)
            workers.renew(store, self._worker)
            return False

        yield turn
