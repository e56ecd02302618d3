"""
How long commits took, until the next transaction that writes figures takes it along.

A commit cannot say in itself how long it took. What the last one of a process took is
written when its worker says goodbye.
"""

from statepipe.store.metrics.counters import Counters


class Timings:
    """Commits of one process that have ended and are not in the store yet."""

    def __init__(self) -> None:
        self._commits: list[tuple[int, int]] = []
        self._waited_us = 0

    def committed(self, *, us: int, waited_us: int, at_ms: int) -> None:
        """Take note of a commit of `us` microseconds, after waiting for the write lock."""
        if len(self._commits) < _KEPT_MAX:
            self._commits.append((us, at_ms))
        self._waited_us += waited_us

    def hand_over(self, counters: Counters) -> None:
        """Move everything into `counters`."""
        for us, at_ms in self._commits:
            counters.time("commit", us=us, at_ms=at_ms)
        if self._waited_us:
            counters.count("lock_wait_us", by=self._waited_us)
        self._commits = []
        self._waited_us = 0


#: A process that only creates instances writes no figures of its commits for long.
_KEPT_MAX = 10_000
