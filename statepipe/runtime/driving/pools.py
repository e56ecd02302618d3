"""
The executors of one process, made when first needed, and how many calls each may hold.

The loop gives an executor no more calls than it can run at once, so that a timeout
counts from the moment a task begins and not from the moment it began to queue.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

from statepipe.policy import ExecutorKind
from statepipe.runtime.executors.inline import InlineExecutor
from statepipe.runtime.executors.process import ProcessExecutor
from statepipe.runtime.executors.readying import get_ready
from statepipe.runtime.executors.spare import Spare
from statepipe.runtime.executors.thread import ThreadExecutor
from statepipe.runtime.output import streams


class Needs(NamedTuple):
    """
    What a worker process should import before it has a call.

    Attributes:
        modules: By name.
        addresses: Of destinations: what speaks to them.
    """

    modules: Sequence[str] = ()
    addresses: Sequence[str] = ()


class Pool(Protocol):
    """A `concurrent.futures.Executor` that can also end a call."""

    def submit(self, fn: Callable[..., Any], /, *args: object) -> Future[Any]:
        """Run `fn(*args)`."""

    def kill(self, future: Future[Any], error: BaseException, *, grace_ms: int) -> None:
        """End a call: ask, wait `grace_ms`, then use force where there is any."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 the standard signature
        """Refuse further calls."""


class Pools:
    """
    One executor of each kind.

    Args:
        processes: Worker processes, at least 1; None for one a core.
        threads: Threads, 1 to 1,024.
        spare: A worker process that was started beforehand.
    """

    def __init__(
        self, *, processes: int | None = None, threads: int = 32, spare: Spare | None = None
    ) -> None:
        self._spare = spare
        self.slots: dict[ExecutorKind, int] = {
            "process": processes or len(os.sched_getaffinity(0)),
            "thread": threads,
            "inline": 1,
        }
        self.busy: dict[ExecutorKind, int] = dict.fromkeys(self.slots, 0)
        self._made: dict[ExecutorKind, Pool] = {}
        self._ready: set[str] = set()
        self._asks_whose = False

    def has_room(self, kind: ExecutorKind) -> bool:
        """Return True if a call would begin at once."""
        return self.busy[kind] < self.slots[kind]

    def make_ready(self, needs: Needs) -> None:
        """Let a worker process that has nothing to do import these; each once, by one of them."""
        modules = [each for each in needs.modules if each not in self._ready]
        addresses = [each for each in needs.addresses if each not in self._ready]
        if (modules or addresses) and self.has_room("process"):
            self._ready.update(modules, addresses)
            self.get("process").submit(get_ready, modules, addresses)

    def get(self, kind: ExecutorKind) -> Pool:
        """Return the executor of this kind."""
        pool = self._made.get(kind)
        if pool is None:
            pool = self._made[kind] = self._make(kind)
        return pool

    def shutdown(self) -> None:
        """End all of them; what still runs is not waited for."""
        for pool in self._made.values():
            pool.shutdown(wait=False, cancel_futures=True)
        if self._asks_whose:
            self._asks_whose = False
            streams.uninstall()

    def _make(self, kind: ExecutorKind) -> Pool:
        if kind == "process":
            return ProcessExecutor(self.slots[kind], spare=self._spare)
        if not self._asks_whose:  # what they print comes out of this process, like our own lines
            self._asks_whose = True
            streams.install()
        if kind == "thread":
            return ThreadExecutor(self.slots[kind])
        return InlineExecutor()
