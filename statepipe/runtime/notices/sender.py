"""
The sender: a thread beside the loop of a process that drives instances.

    Sender.start    look for stalled instances, and send what is due, from now on
    Sender.stop     send what is due, for a bounded time, and end

It has a connection of its own, since the loop's belongs to the loop. A process that ends
before all is sent leaves the rest in the outbox, to whoever comes next.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from statepipe.clock import Clock
from statepipe.config import Config
from statepipe.runtime.beside import Beside, Trouble, Turn
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.notices.post import Post
from statepipe.runtime.notices.stalled import Lookout
from statepipe.store.file.connection import Store
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
        trouble: Of the loop that it is beside.
    """

    def __init__(
        self, path: Path, *, config: Config, catalog: Catalog, clock: Clock, trouble: Trouble
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._clock = clock
        self._patience_ms = 0
        self._look_at_ms = self._sweep_at_ms = 0
        self._beside = Beside(
            "notify",
            path,
            trouble=trouble,
            turning=self._turning,
            pause_ms=POLL_MS,
            clock=clock,
            finishes=True,
        )

    def start(self) -> None:
        """Begin."""
        self._beside.start()

    def stop(self, *, patience_ms: int) -> None:
        """End, after sending what is due; whatever takes longer than `patience_ms` is left."""
        self._patience_ms = patience_ms
        # It is at most in the middle of one wait, or of one commit, after that; should the store
        # keep it longer, it ends with the process.
        self._beside.end(patience_ms=patience_ms, grace_ms=2 * _WAIT_MS)

    @contextmanager
    def _turning(self, store: Store) -> Generator[Turn]:
        config = self._config
        post = Post(store, config.targets, root=config.root, env=config.env)
        lookout = Lookout(store, config.targets, catalog=self._catalog, env=config.env)

        def turn(is_last: bool) -> bool:  # noqa: FBT001  (as Turn says)
            if not is_last:
                self._look(store, lookout)
            patience_ms = self._patience_ms if is_last else None
            return bool(post.turn(wait_ms=_WAIT_MS, patience_ms=patience_ms)) or post.is_busy

        yield turn

    def _look(self, store: Store, lookout: Lookout) -> None:
        now_ms = self._clock.boot_ms()
        if now_ms >= self._look_at_ms:
            self._look_at_ms = now_ms + LOOK_MS
            lookout.look()
        if now_ms >= self._sweep_at_ms:
            self._sweep_at_ms = now_ms + SWEEP_MS
            with store.translating():
                notices.sweep(store)
