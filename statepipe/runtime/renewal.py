"""
The lease's heartbeat, in a thread of its own.

The loop renews, too; but a task that runs inline, or a slow disk, may hold the loop up
for longer than the lease, and a live process must not be taken for a dead one. The
thread has a connection of its own, since the loop's belongs to the loop.
"""

import threading
from pathlib import Path

from statepipe.clock import Clock
from statepipe.errors import StatepipeError
from statepipe.store.file.connection import Store
from statepipe.store.file.opening import open_store
from statepipe.store.liveness import Worker
from statepipe.store.walk import workers


class Renewal:
    """Renews the lease of `worker` every third of it, from `start` until `stop`."""

    def __init__(self, path: Path, worker: Worker, *, clock: Clock) -> None:
        self._path = path
        self._worker = worker
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="statepipe-lease", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for it."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        store: Store | None = None
        while not self._stop.wait(self._worker.lease_ms / 3000):
            try:
                store = store or open_store(self._path, create=False, clock=self._clock)
                workers.renew(store, self._worker)
            except StatepipeError:
                # The loop meets the same trouble with a way to report it. Should the
                # lease pass meanwhile, the epoch keeps the data right.
                continue
        if store is not None:
            # Not the one to empty the WAL: the loop's COMMIT may have been in doubt.
            store.close(empties_wal=False)
