"""
The sender: a thread beside the loop of a process that drives instances.

    Sender.start    look for stalled instances, and send what is due, from now on
    Sender.stop     send what is due, for a bounded time, and end

It has a connection of its own, since the loop's belongs to the loop. A process that ends
before all is sent leaves the rest in the outbox, to whoever comes next.
"""

import threading
from pathlib import Path
from typing import Final

from statepipe.clock import Clock
from statepipe.config import Config
from statepipe.errors import StatepipeError
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.notices.post import Post
from statepipe.runtime.notices.stalled import Lookout
from statepipe.store.file.connection import Store
from statepipe.store.file.opening import open_store
from statepipe.store.walk import notices

#: How often the outbox is looked at.
POLL_MS: Final = 1_000
#: How often stalled instances are looked for.
LOOK_MS: Final = 30_000
#: How often notices that are too old are cleared away.
SWEEP_MS: Final = 3_600_000

#: How long a delivery under way is waited for before anything else is looked at.
_WAIT_MS: Final = 100


class Sender:
    """
    Sends notices while this process works.

    Args:
        path: The store's file.
        config: The targets, and where commands are started.
        catalog: The machines, which may name targets themselves.
        clock: Time.
    """

    def __init__(self, path: Path, *, config: Config, catalog: Catalog, clock: Clock) -> None:
        self._path = path
        self._config = config
        self._catalog = catalog
        self._clock = clock
        self._stop = threading.Event()
        self._over = threading.Event()
        self._patience_ms = 0
        self._thread = threading.Thread(target=self._work, name="statepipe-notify", daemon=True)
        self._look_at_ms = self._sweep_at_ms = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, *, patience_ms: int) -> None:
        """End, after sending what is due; whatever takes longer than `patience_ms` is left."""
        self._patience_ms = patience_ms
        if patience_ms == 0:
            self._over.set()
        self._stop.set()
        self._thread.join(patience_ms / 1_000)
        self._over.set()
        # It is at most in the middle of one wait, or of one commit; should the store keep it
        # longer, it ends with the process.
        self._thread.join(2 * _WAIT_MS / 1_000)

    def _work(self) -> None:
        store = self._opened()
        if store is None:
            return
        config = self._config
        post = Post(store, config.targets, root=config.root, env=config.env)
        lookout = Lookout(store, config.targets, catalog=self._catalog, env=config.env)
        pause_ms = POLL_MS
        while not self._stop.wait(pause_ms / 1_000):
            pause_ms = POLL_MS
            try:
                self._look(store, lookout)
                if post.turn(wait_ms=_WAIT_MS) or post.is_busy:
                    pause_ms = 0
            except StatepipeError:
                continue  # the loop meets the same trouble with a way to report it
        self._finish(post)
        # Not the one to empty the WAL: the loop's COMMIT may have been in doubt.
        store.close(empties_wal=False)

    def _opened(self) -> Store | None:
        while True:
            try:
                return open_store(self._path, create=False, clock=self._clock)
            except StatepipeError:
                if self._stop.wait(POLL_MS / 1_000):
                    return None

    def _look(self, store: Store, lookout: Lookout) -> None:
        now_ms = self._clock.boot_ms()
        if now_ms >= self._look_at_ms:
            self._look_at_ms = now_ms + LOOK_MS
            lookout.look()
        if now_ms >= self._sweep_at_ms:
            self._sweep_at_ms = now_ms + SWEEP_MS
            with store.translating():
                notices.sweep(store)

    def _finish(self, post: Post) -> None:
        try:
            while not self._over.is_set():
                ended = post.turn(wait_ms=_WAIT_MS, patience_ms=self._patience_ms)
                if not ended and not post.is_busy:
                    return
        except StatepipeError:
            return  # it is left to whoever comes next
