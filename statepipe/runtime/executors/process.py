"""
The default executor: a pool of worker processes, any of which can be killed at any moment.

    ProcessExecutor.submit   a named function and plain data; no pickle
    ProcessExecutor.kill     SIGTERM, a grace, then SIGKILL to all that the task started

Each slot of the pool is a thread that owns one worker process and talks with it. A worker
stays for the next call as long as it sends whole results and leaves nothing behind. A
crash fails one call; the next one finds a fresh worker.

    what happens                                 the future ends with
    the function returns                         its value, through the codec
    it raises                                    that exception, if its class is a builtin or ours
    the process exits, dies, breaks the wire     TaskCrashed, with the signal and the last words
    `kill`, whatever the task does then          the error given to `kill`

What a worker prints and logs goes to the capture of a `Captured` function, whole, before
its future is done; of any other it is read and forgotten but for the end. Processes that
a call leaves running are killed before its future is done.
"""

import logging
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Any, Final, ParamSpec, TypeVar, cast

from statepipe.clock import SystemClock
from statepipe.errors import DataError, TaskCrashed
from statepipe.runtime import failure
from statepipe.runtime.executors import wire
from statepipe.runtime.executors.reaper import Reaper
from statepipe.runtime.executors.spare import Spare
from statepipe.runtime.executors.worker import OUTPUT_BYTES_MAX, Worker
from statepipe.runtime.output.capture import Capture
from statepipe.runtime.output.streams import Captured

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)

WORKERS_MAX: Final = 256


class ProcessExecutor(Executor):
    """
    Runs calls in up to `workers` processes, started as calls come.

    Args:
        workers: Calls that may run at once, 1 to 256.
        output_bytes_max: How much of the end of each output of a worker is kept, at least 1.
        spare: A worker that was started beforehand, for the first call; whoever started it ends
            it if there is none.
    """

    def __init__(
        self,
        workers: int,
        *,
        output_bytes_max: int = OUTPUT_BYTES_MAX,
        spare: Spare | None = None,
    ) -> None:
        if not 1 <= workers <= WORKERS_MAX:
            raise ValueError(f"workers is {workers}, outside 1..{WORKERS_MAX}")
        if output_bytes_max < 1:
            raise ValueError(f"output_bytes_max is {output_bytes_max}, below 1")
        self._workers = workers
        self._output_bytes_max = output_bytes_max
        self._queue: SimpleQueue[CallFuture | None] = SimpleQueue()
        self._reaper = Reaper(SystemClock())
        self._lock = threading.Lock()
        self._slots: list[threading.Thread] = []
        self._spare = spare
        self._down = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """
        Run `fn(*args, **kwargs)` in a worker process.

        Arguments are plain data, or callables: a callable stays here, the worker gets a
        stand-in for it, and a thread of this executor calls the real one. It must return
        or raise soon after the call was killed.

        Raises:
            ValueError: If `fn` cannot be imported by its name.
            RuntimeError: After `shutdown`.
        """
        if self._down:
            raise RuntimeError("cannot submit a call after shutdown")
        output = fn if isinstance(fn, Captured) else None
        name = _name_of(fn.function if isinstance(fn, Captured) else fn)
        future = CallFuture(name, list(args), dict(kwargs), output=output)
        self._queue.put(future)
        if len(self._slots) < self._workers:
            self._add_slot()
        return cast("Future[T]", future)

    def kill(self, future: Future[T], error: BaseException, *, grace_ms: int) -> None:
        """
        End `future` with `error`; return at once.

        A call that has not begun never will. A running one is asked to stop (SIGTERM to
        its process group, `task.cancelled`, and TaskCancelled from what it asks); if it
        has not ended after `grace_ms` milliseconds, 0 or more, it and everything it
        started are killed. The future is done when they are gone. A second kill can
        shorten the grace; the first error stays. A future that is done stays as it is.
        """
        if not isinstance(future, CallFuture):
            raise TypeError(f"{future!r} is not a future of this executor")
        if future.ask_to_stop(error):
            self._reaper.after(grace_ms, future.end)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 the standard signature
        """Refuse further calls; with `wait`, return once all calls and all workers have ended."""
        with self._lock:
            first = not self._down
            self._down = True
        if cancel_futures:
            self._cancel_waiting()
        if first:
            for _ in self._slots:
                self._queue.put(None)
        if wait:
            for slot in self._slots:
                slot.join()
            self._reaper.stop()

    def _cancel_waiting(self) -> None:
        ends = 0
        while True:
            try:
                future = self._queue.get_nowait()
            except Empty:
                break
            if future is None:
                ends += 1
            else:
                future.cancel()
        for _ in range(ends):
            self._queue.put(None)

    def _add_slot(self) -> None:
        with self._lock:
            if len(self._slots) >= self._workers or self._down:
                return
            # Daemons: workers die with us by themselves, nobody has to be waited for.
            slot = threading.Thread(target=self._work, name="statepipe-slot", daemon=True)
            self._slots.append(slot)
            slot.start()

    def _work(self) -> None:
        worker: Worker | None = None
        while (future := self._queue.get()) is not None:
            try:
                worker = self._serve(future, worker)
            except Exception as error:  # noqa: BLE001 a bug of ours fails this call, and hangs none
                _log.exception("a worker's slot failed")
                worker = None
                future.conclude(error=error)
            del future  # or an idle slot would keep the last call's arguments alive
        if worker is not None:
            worker.bury()

    def _serve(self, future: "CallFuture", worker: Worker | None) -> Worker | None:
        """Do one call; return the worker if it can do another."""
        if not future.begin():
            return worker
        if worker is None and self._spare is not None:
            worker = self._spare.take()
        if worker is not None and not worker.alive:
            worker.bury()  # it died idle, which is nobody's failure
            worker = None
        try:
            frame = future.frame()
            worker = worker or Worker.start(output_bytes_max=self._output_bytes_max)
        except DataError as error:
            future.conclude(error=error)
            return worker
        except OSError as error:
            future.conclude(error=TaskCrashed(f"no worker process could be started: {error}"))
            return None
        message = None
        if future.attach(worker):
            message = worker.call(frame, future.answer, output=future.output)
        if future.detach() or message is None or worker.worn:
            death = worker.bury()
            worker = None
        else:
            death = ""
        future.conclude(message, death=death)
        return worker


class CallFuture(Future[Any]):
    """
    The future of one call, and what its slot and those who kill it must agree on.

    Between `attach` and `detach` there is a worker to signal; both, and the signals,
    hold the lock, so that nothing is ever sent to a worker that serves another call.

    Attributes:
        output: Where what the call prints and logs goes, if anybody wants it.
    """

    def __init__(
        self,
        name: str,
        args: list[Any],
        kwargs: dict[str, Any],
        *,
        output: Capture | None = None,
    ) -> None:
        super().__init__()
        self.output = output
        self._name = name
        self._args = args
        self._kwargs = kwargs
        self._guard = threading.Lock()
        self._begun = False
        self._over = False
        self._worker: Worker | None = None
        self._error: BaseException | None = None

    def begin(self) -> bool:
        """Return True if the call should be made: nobody cancelled or killed it while it waited."""
        with self._guard:
            if self._over or not self.set_running_or_notify_cancel():
                return False
            self._begun = True
            return True

    def frame(self) -> bytes:
        """Return the packed call; DataError if an argument is not plain data."""
        places = [*enumerate(self._args), *self._kwargs.items()]
        proxied = [place for place, value in places if callable(value)]
        args = [None if place in proxied else value for place, value in enumerate(self._args)]
        kwargs = {k: None if k in proxied else value for k, value in self._kwargs.items()}
        return wire.pack(["call", self._name, args, kwargs, proxied])

    def attach(self, worker: Worker) -> bool:
        """Name the worker that does the call; False if the call was killed in the meantime."""
        with self._guard:
            self._worker = worker
            return self._error is None

    def answer(self, message: wire.Message) -> bytes:
        """Call the callable that an "ask" message names; return the packed reply."""
        _kind, place, args, kwargs = message
        fn = self._args[place] if isinstance(place, int) else self._kwargs[place]
        try:
            if self._error is None:
                return wire.pack(["answer", fn(*args, **kwargs)])
        except BaseException as error:  # noqa: BLE001 it is raised again where the task runs
            return wire.pack(["raised", failure.names_of(error), failure.message_of(error)])
        return wire.pack(["raised", ["TaskCancelled"], "the attempt was asked to stop"])

    def ask_to_stop(self, error: BaseException) -> bool:
        """Note `error` and send SIGTERM; True if `end` must follow after the grace."""
        with self._guard:
            if self._over or self.cancelled():
                return False
            first = self._error is None
            self._error = self._error or error
            if self._begun:
                if first and self._worker is not None:
                    self._worker.ask_to_stop()
                return True
            self._over = True
        self.set_exception(error)
        return False

    def end(self) -> None:
        """Kill the worker and all it started, if the call is not over."""
        with self._guard:
            if self._worker is not None:
                self._worker.end()

    def detach(self) -> bool:
        """The call is over; True if it was killed, and its worker with it."""
        with self._guard:
            self._over = True
            self._worker = None
            return self._error is not None

    def conclude(
        self,
        message: wire.Message | None = None,
        *,
        death: str = "",
        error: BaseException | None = None,
    ) -> None:
        """Finish: with the error of `kill`, else `error`, the worker's message, or its death."""
        self._over = True
        failed = self._error or error
        if failed is None and message is None:
            failed = TaskCrashed(death)
        elif failed is None and message is not None and message[0] == "error":
            failed = failure.rebuild(message[1], message[2])
            failed.add_note(message[3])
        if failed is not None:
            self.set_exception(failed)
        elif message is not None:
            self.set_result(message[1])


def _name_of(fn: Callable[..., Any]) -> str:
    """Return "module:qualname", by which a worker will import exactly `fn`."""
    module = getattr(fn, "__module__", None)
    qualified = getattr(fn, "__qualname__", None)
    found: Any = sys.modules.get(str(module))
    if module != "__main__" and qualified is not None:
        for part in str(qualified).split("."):
            found = getattr(found, part, None)
        if found is fn:
            return f"{module}:{qualified}"
    raise ValueError(
        f"{fn!r} cannot be imported by name in another process; submit a function defined"
        " at the top of an importable module, not a lambda, a closure, a method or one of __main__"
    )
