"""
The guard against the WAL-reset bug of SQLite before 3.51.3 (F11 of docs/reliability.md).

Two connections, a checkpoint that completes, a second that begins as a commit
resets the WAL: later checkpoints then skip frames. So every commit holds this
lock shared and every checkpoint holds it alone, in every process. The lock is a
file of its own beside the store (never the store itself: closing any
descriptor of it would drop SQLite's locks, F4) and `flock`, which belongs to the
open file, so that two stores in one process do not release each other's.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from statepipe.clock import Clock
from statepipe.errors import Busy
from statepipe.store.file.files import hand_over, owner_of

_POLL_S = 0.002


class WalGuard:
    """Shared around a commit, exclusive around a checkpoint."""

    def __init__(self, store: Path, *, clock: Clock, wait_ms: int) -> None:
        self._path = store.with_name(store.name + "-guard")
        self._descriptor = _opened(self._path, store=store)
        self._clock = clock
        self._wait_ms = wait_ms

    @contextmanager
    def shared(self) -> Generator[None]:
        """Hold off checkpoints of other processes while the block commits."""
        self._lock(fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    @contextmanager
    def exclusive(self) -> Generator[bool]:
        """Yield True if no commit and no other checkpoint is under way, else False at once."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the lock file back."""
        os.close(self._descriptor)

    def _lock(self, how: int) -> None:
        # Without a wait of ours a checkpointer that was stopped (SIGSTOP) would
        # hold every committer for ever.
        deadline_ms = None
        while True:
            try:
                fcntl.flock(self._descriptor, how | fcntl.LOCK_NB)
            except BlockingIOError:
                now_ms = self._clock.boot_ms()
                deadline_ms = deadline_ms or now_ms + self._wait_ms
                if now_ms >= deadline_ms:
                    raise Busy(
                        f"a checkpoint of {self._path.name.removesuffix('-guard')!r} has not"
                        f" ended for {self._wait_ms} ms",
                        meaning="nothing was committed; the instance rests where it was",
                        next_step=f"fuser -v {self._path}   # which process holds it; then retry",
                    ) from None
                Event().wait(_POLL_S)
            else:
                return


def _opened(path: Path, *, store: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    hand_over(descriptor, owner=owner_of(store))
    return descriptor
