"""
A standard future that costs a fraction of a microsecond.

`concurrent.futures.Future` builds a condition, a lock and three lists for each future;
at 60,000 calls a second nearly all of them are never waited for. `LightFuture` builds
the condition when somebody first asks for it (`result` on an unfinished one, `wait`,
`as_completed`, `cancel`), and from then on is the standard future in every respect.

    LightFuture.settle     finish it, unless somebody else did
    finished, failed       futures that were born done
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any, Final, TypeVar, cast

T = TypeVar("T")

_log = logging.getLogger(__name__)

PENDING: Final = "PENDING"
RUNNING: Final = "RUNNING"
FINISHED: Final = "FINISHED"
_DONE: Final = frozenset({"CANCELLED", "CANCELLED_AND_NOTIFIED", FINISHED})

# One lock for all light futures, held for a few instructions at a time. A lock of its
# own for each would cost more than the rest of the future.
_LOCK = threading.Lock()


class LightFuture(Future[T]):
    """A `concurrent.futures.Future`; only cheaper while nobody waits for it."""

    # Class attributes stand for what the standard __init__ would set on each instance.
    _full: threading.Condition | None = None
    _state: str = PENDING
    _result: T | None = None
    _exception: BaseException | None = None

    def __init__(self) -> None:  # the standard one is what we avoid
        self._done_callbacks: list[Callable[[Future[T]], Any]] = []

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]  # made when it is asked for
        """Turn into a full future: whatever asks for the condition is about to wait or cancel."""
        with _LOCK:
            if self._full is None:
                self._waiters: list[Any] = []
                self._full = threading.Condition()
            return self._full

    def settle(self, result: T | None, error: BaseException | None = None) -> str:
        """
        Finish with `error`, or with `result` if there is none; call the callbacks.

        Returns:
            The state before, "PENDING" or "RUNNING"; "" if it was done already and
            nothing was changed.
        """
        with _LOCK:
            full = self._full
            before = self._state
            if full is None:
                if before in _DONE:
                    return ""
                self._result = result
                self._exception = error
                self._state = FINISHED
        if full is not None:
            with full:
                before = self._state
                if before in _DONE:
                    return ""
                self._result = result
                self._exception = error
                self._state = FINISHED
                for waiter in self._waiters:
                    (waiter.add_exception if error else waiter.add_result)(self)
                full.notify_all()
        if self._done_callbacks:
            self._invoke_callbacks()  # type: ignore[attr-defined]  # private to the Future that it is by then
        return before

    def set_result(self, result: T) -> None:
        """Finish with `result`; InvalidStateError if it is done already."""
        if not self.settle(result):
            raise InvalidStateError(f"{self._state}: {self!r}")

    def set_exception(self, exception: BaseException | None) -> None:
        """Finish with `exception`; InvalidStateError if it is done already."""
        if not self.settle(None, exception):
            raise InvalidStateError(f"{self._state}: {self!r}")

    def set_running_or_notify_cancel(self) -> bool:
        """Return True and be running, or False if it was cancelled or killed while it waited."""
        with _LOCK:
            if self._full is None:
                if self._state != PENDING:
                    return False
                self._state = RUNNING
                return True
        with self._full:
            if self._state == FINISHED:
                return False
        return super().set_running_or_notify_cancel()

    def add_done_callback(self, fn: Callable[[Future[T]], Any]) -> None:
        """Call `fn(self)` when done, at once if it is; what `fn` raises is logged."""
        with _LOCK:
            if self._full is None and self._state not in _DONE:
                self._done_callbacks.append(fn)
                return
        if self._state != FINISHED:
            super().add_done_callback(fn)
            return
        try:
            fn(self)
        except Exception:  # noqa: BLE001 as the standard future does
            _log.exception("callback of %r failed", self)

    def done(self) -> bool:
        """True if it was cancelled, killed or has ended."""
        return self._state in _DONE

    def result(self, timeout: float | None = None) -> T:
        """Return the result or raise the error, after at most `timeout` seconds of waiting."""
        if self._state != FINISHED:
            return super().result(timeout)
        if self._exception is not None:
            try:
                raise self._exception
            finally:
                self = None  # type: ignore[assignment]  # noqa: PLW0642 no cycle with the traceback
        return cast("T", self._result)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error, None if there was none, after at most `timeout` seconds of waiting."""
        if self._state != FINISHED:
            return super().exception(timeout)
        return self._exception


def finished(result: T) -> LightFuture[T]:
    """Return a future that has ended with `result`."""
    future: LightFuture[T] = LightFuture.__new__(LightFuture)
    future._result = result  # noqa: SLF001 the point of this module
    future._state = FINISHED  # noqa: SLF001  (of the standard library's Future, which it stands for)
    return future


def failed(error: BaseException) -> LightFuture[Any]:
    """Return a future that has ended with `error`."""
    future: LightFuture[Any] = LightFuture.__new__(LightFuture)
    future._exception = error  # noqa: SLF001 the point of this module
    future._state = FINISHED  # noqa: SLF001  (of the standard library's Future, which it stands for)
    return future
