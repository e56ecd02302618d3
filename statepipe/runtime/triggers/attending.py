"""
The thread beside a worker's loop that looks after its machines' triggers.

    attending   while the block runs; what is due is started before it begins
    Again       start what there was no room for then
"""

import random
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

from statepipe.errors import StatepipeError, StoreInDoubt
from statepipe.runtime.driving.observers import Observers
from statepipe.runtime.program import Program
from statepipe.runtime.triggers.watch import Watch, Watched, registered
from statepipe.store.file.connection import Store
from statepipe.store.file.opening import open_store

#: Starts what there was no room for when the block began, if there is now; False if nothing was.
Again = Callable[[], bool]

#: How often it is asked whether anything is due, or anybody wrote: as the loop does.
POLL_MS: Final = 200


@contextmanager
def attending(
    store: Store,
    programs: Sequence[Program],
    *,
    observers: Observers,
    rng: random.Random,
    stop: Callable[[str], None],
) -> Generator[Again]:
    """
    Look after the triggers of `programs` while the block runs, in a thread with its own connection.

    Args:
        store: The loop's store.
        programs: The machines.
        observers: Told of each instance that is created.
        rng: For ids.
        stop: Ends the block, should the thread's own COMMIT be in doubt.

    Raises:
        StoreInDoubt: It was.
        Busy, StoreUnusable: As `Store.write`, before the block began.
    """
    if not any(program.table.machine.triggers for program in programs):
        yield lambda: False
        return
    draws = random.Random(rng.getrandbits(64))  # noqa: S311  (ids, not secrets)
    watched = registered(store, programs)
    # Who works until nothing is left does what is due by now.
    watch = Watch(store, watched, observers=observers, rng=draws)
    watch.turn()
    thread = _Thread(store, registered(store, programs), observers=observers, rng=draws, stop=stop)
    thread.start()
    try:
        yield watch.again
    finally:
        thread.end()
    if thread.doubt is not None:
        raise thread.doubt


class _Thread(threading.Thread):
    def __init__(
        self,
        store: Store,
        watched: Sequence[Watched],
        *,
        observers: Observers,
        rng: random.Random,
        stop: Callable[[str], None],
    ) -> None:
        super().__init__(name="statepipe-triggers", daemon=True)
        self.doubt: StoreInDoubt | None = None
        self._path, self._clock = store.path, store.clock
        self._watched = watched
        self._observers = observers
        self._rng = rng
        self._stop_block = stop
        self._ended = threading.Event()

    def end(self) -> None:
        """End, and wait for it."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Turn until `end`."""
        store = self._opened()
        if store is None:
            return
        watch = Watch(store, self._watched, observers=self._observers, rng=self._rng)
        while not self._ended.wait(POLL_MS / 1_000):
            try:
                watch.turn()
            except StoreInDoubt as error:
                self.doubt = error
                self._stop_block("a commit of its triggers is in doubt")
                break
            except StatepipeError:
                continue  # the loop meets the same trouble with a way to report it
        # Not the one to empty the WAL: the loop's COMMIT may have been in doubt.
        store.close(empties_wal=False)

    def _opened(self) -> Store | None:
        while not self._ended.is_set():
            try:
                return open_store(self._path, create=False, clock=self._clock)
            except StatepipeError:
                self._ended.wait(POLL_MS / 1_000)
        return None
