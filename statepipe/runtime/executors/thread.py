"""
The executor for light and I/O-bound tasks: a pool of threads, made for many small calls.

    ThreadExecutor.submit   one put, one get, a light future
    ThreadExecutor.kill     abandon a call; a thread cannot be killed

A thread cannot be stopped from outside. `kill` ends the future at once, raises the
flag that `task.cancelled` reads, and makes every callable the task was given raise
TaskCancelled; the function itself goes on until it notices. Its thread is replaced
meanwhile, so that a stuck call costs memory and not a slot. Tasks that must be
stoppable whatever they do belong in the process executor.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, ParamSpec, TypeVar

from statepipe.errors import TaskCancelled
from statepipe.runtime.executors import cancellation
from statepipe.runtime.executors.light import RUNNING, LightFuture

P = ParamSpec("P")
T = TypeVar("T")

_Item = tuple["ThreadFuture", Callable[..., Any], tuple[Any, ...], dict[str, Any]]

WORKERS_MAX: Final = 1_024


class ThreadFuture(LightFuture[Any]):
    """A future that is the cancellation flag of its own call."""

    raised: bool = False
    own_process: bool = False


class ThreadExecutor(Executor):
    """
    Runs calls in up to `workers` daemon threads, started as calls come.

    Args:
        workers: Calls that may run at once, 1 to 1,024; abandoned ones do not count.
    """

    def __init__(self, workers: int) -> None:
        if not 1 <= workers <= WORKERS_MAX:
            raise ValueError(f"workers is {workers}, outside 1..{WORKERS_MAX}")
        self._workers = workers
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._lock = threading.Lock()
        self._slots = 0
        self._down = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """
        Run `fn(*args, **kwargs)` in a thread.

        Raises:
            RuntimeError: After `shutdown`.
        """
        if self._down:
            raise RuntimeError("cannot submit a call after shutdown")
        future = ThreadFuture()
        self._queue.put((future, fn, args, kwargs))
        if self._slots < self._workers:
            self._add_slot()
        return future

    def kill(self, future: Future[T], error: BaseException, *, grace_ms: int) -> None:  # noqa: ARG002 one interface for all executors
        """End `future` with `error` now and abandon its call; `grace_ms` has no meaning here."""
        if not isinstance(future, ThreadFuture):
            raise TypeError(f"{future!r} is not a future of this executor")
        future.raised = True
        if future.settle(None, error) == RUNNING:
            self._start_thread()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 the standard signature
        """Refuse further calls; with `wait`, return once all but abandoned ones have ended."""
        with self._lock:
            first = not self._down
            self._down = True
        if cancel_futures:
            self._cancel_waiting()
        if first:
            for _ in range(self._slots):
                self._queue.put(None)
        if wait:
            for _ in range(self._slots):
                self._ended.get()
            for _ in range(self._slots):
                self._ended.put(None)  # for whoever waits besides

    def _cancel_waiting(self) -> None:
        kept = 0
        while True:
            try:
                item = self._queue.get_nowait()
            except Empty:
                break
            if item is None:
                kept += 1
            else:
                item[0].cancel()
        for _ in range(kept):
            self._queue.put(None)

    def _add_slot(self) -> None:
        with self._lock:
            if self._slots >= self._workers or self._down:
                return
            self._slots += 1
        self._start_thread()

    def _start_thread(self) -> None:
        # Daemons, because a task that never ends must not keep the interpreter from exiting.
        threading.Thread(target=self._work, name="statepipe-task", daemon=True).start()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            if not _run(item):
                return  # abandoned: `kill` has put another thread in this one's place
            del item  # or an idle thread would keep the last call's arguments alive
        self._ended.put(None)


def _run(item: _Item) -> bool:
    """Run one call; False if it was abandoned meanwhile."""
    future, fn, args, kwargs = item
    if not future.set_running_or_notify_cancel():
        return True
    cancellation.enter(future)
    if any(map(callable, args)):
        args = tuple(partial(_ask, future, a) if callable(a) else a for a in args)
    if kwargs:
        kwargs = {k: partial(_ask, future, a) if callable(a) else a for k, a in kwargs.items()}
    try:
        result = fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 the future carries it; the thread must go on
        return bool(future.settle(None, error))
    return bool(future.settle(result))


def _ask(future: ThreadFuture, fn: Callable[..., Any], *args: object, **kwargs: object) -> object:
    """Call `fn` for the task, unless the task was abandoned before or while it answered."""
    if future.raised:
        raise TaskCancelled("the attempt was asked to stop")
    answer = fn(*args, **kwargs)
    if future.raised:
        raise TaskCancelled("the attempt was asked to stop")
    return answer
