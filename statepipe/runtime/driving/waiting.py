"""
The instances that rest and wait for their turn to be called.

    Waiting.put, Waiting.hurry     until its turn comes, or at the front
    Waiting.forget                 not at all
    Waiting.next                   whose turn it is, None while every executor is full
    Waiting.wants                  does anybody wait for an executor of this kind?

Whose turn it is, is `turns.py`'s subject. What needs a slot, a permit or room for its batches
waits with `permits.py` meanwhile.
"""

from collections.abc import Iterable

from statepipe.policy import ExecutorKind
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.permits import Permits
from statepipe.runtime.driving.pools import Pools
from statepipe.runtime.driving.turns import Turns
from statepipe.runtime.program import RESTING


class Waiting:
    """
    A queue for each kind of executor, so that a full one holds up nobody else.

    Attributes:
        permits: What instances need besides, and those that wait for it.
    """

    def __init__(self, kinds: Iterable[ExecutorKind], permits: Permits) -> None:
        self.permits = permits
        self._queues: dict[ExecutorKind, Turns] = {kind: Turns() for kind in kinds}

    def put(self, drive: Drive) -> None:
        """Let `drive` wait; in front if what it wants needs no executor."""
        queue = self._queues[drive.part.policy.executor]
        if _needs_room(drive):
            queue.put(drive)
        else:
            queue.hurry(drive)

    def hurry(self, drive: Drive) -> None:
        """Move `drive` to the front if it waits and has a wish by now."""
        queue = self._queues[drive.part.policy.executor]
        if drive.wish is None:
            return
        if self.permits.let_go(drive) or queue.forget(drive):
            queue.hurry(drive)

    def forget(self, drive: Drive) -> None:
        """Keep `drive` no longer, wherever it waits: it was taken over."""
        self.permits.forget(drive)
        self._queues[drive.part.policy.executor].forget(drive)

    def wants(self, kind: ExecutorKind) -> bool:
        """Return True if somebody waits for an executor of this kind."""
        return bool(self._queues[kind]) or self.permits.wants(kind)

    def next(self, pools: Pools) -> Drive | None:
        """Take out the first that can go on."""
        permits = self.permits
        if permits.keeps_any and (drive := permits.next(pools)) is not None:
            return drive
        for kind, queue in self._queues.items():
            while queue and (pools.has_room(kind) or not _needs_room(queue.first)):
                drive = queue.take()
                if not _needs_room(drive) or not permits.stops(drive):
                    return drive
        return permits.next(pools) if permits.keeps_any else None


def _needs_room(drive: Drive) -> bool:
    """False if it only wants to be let go, or rests in a state where nothing runs."""
    return drive.wish is None and drive.part.work not in RESTING
