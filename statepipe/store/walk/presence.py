"""
Which processes can no longer be using what their rows name.

    Absent      those that cannot, as of one moment
    RollCall    finds out, and remembers since when

A right to an instance is lost with the lease (`liveness.py`). What is used outside is not:
a process that was stopped may go on calling when it wakes. So its lease is not asked, as
long as the kernel can tell whether it exists.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from statepipe.clock import Clock
from statepipe.store import liveness
from statepipe.store.liveness import Worker

#: How long the tasks of a process may outlive it: the kernel ends them, in milliseconds.
ORPHAN_MS: Final = 100


#: A worker, and the beat at which something was found out about it.
Seen = tuple[int, int]


class Absent(NamedTuple):
    """
    Workers that no longer use what their rows name.

    Attributes:
        gone: Nothing of them is left: all of their rows are void.
        silent: Their lease has passed and their process exists: what they hold is held,
            and what they wait for is not kept for them.
    """

    gone: frozenset[Seen] = frozenset()
    silent: frozenset[Seen] = frozenset()

    def counts(self, seen: Seen, *, holds: bool) -> bool:
        """Return whether a row of the worker counts: one that holds a slot, or only waits."""
        return seen not in self.gone and (holds or seen not in self.silent)


class RollCall:
    """
    Sees which workers are gone, and remembers since when.

    Args:
        clock: Time.
        orphan_ms: How long the tasks of a process that is gone may outlive it.
    """

    def __init__(self, clock: Clock, *, orphan_ms: int = ORPHAN_MS) -> None:
        self._clock = clock
        self._orphan_ms = orphan_ms
        self._gone_since_ms: dict[int, int] = {}

    def absent(self, workers: Iterable[Worker]) -> Absent:
        """Return which of `workers` are absent; reads files, so not inside a transaction."""
        now_ms, here = self._clock.boot_ms(), liveness.pid_space()
        gone, silent = set(), set()
        since_ms: dict[int, int] = {}
        for worker in workers:
            death = liveness.death(worker, clock=self._clock)
            if death is None:
                continue
            if death == "overdue" and worker.pid_space == here:
                silent.add((worker.n, worker.beat))
                continue
            since_ms[worker.n] = self._gone_since_ms.get(worker.n, now_ms)
            if now_ms - since_ms[worker.n] >= self._orphan_ms or death == "rebooted":
                gone.add((worker.n, worker.beat))
        self._gone_since_ms = since_ms
        return Absent(frozenset(gone), frozenset(silent))
