"""
The instances that rest and wait for their turn to be called.

    Waiting.put, Waiting.hurry     at the end, or at the front
    Waiting.next                   whose turn it is, None while every executor is full
"""

from collections import deque
from collections.abc import Iterable

from statepipe.policy import ExecutorKind
from statepipe.runtime.drive import Drive
from statepipe.runtime.pools import Pools


class Waiting:
    """A queue for each kind of executor, so that a full one holds up nobody else."""

    def __init__(self, kinds: Iterable[ExecutorKind]) -> None:
        self._queues: dict[ExecutorKind, deque[Drive]] = {kind: deque() for kind in kinds}

    def put(self, drive: Drive) -> None:
        """Let `drive` wait; in front if it only wants to be let go, which needs no executor."""
        queue = self._queues[drive.part.policy.executor]
        if drive.wish is None:
            queue.append(drive)
        else:
            queue.appendleft(drive)

    def hurry(self, drive: Drive) -> None:
        """Move `drive` to the front if it waits here and has a wish by now."""
        queue = self._queues[drive.part.policy.executor]
        if drive.wish is not None and drive in queue:
            queue.remove(drive)
            queue.appendleft(drive)

    def next(self, pools: Pools) -> Drive | None:
        """Take out the first that can go on."""
        for kind, queue in self._queues.items():
            if queue and (pools.has_room(kind) or queue[0].wish is not None):
                return queue.popleft()
        return None
