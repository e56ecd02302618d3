"""
The executor for debugging: a call runs where it was submitted, before `submit` returns.

Breakpoints, profilers and tracebacks see the task as if it had been called by hand.
Nothing can be killed, and nothing else happens meanwhile.
"""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from statepipe.runtime.executors.light import failed, finished

P = ParamSpec("P")
T = TypeVar("T")


class InlineExecutor(Executor):
    """Runs each call at once, in the caller's thread."""

    def __init__(self) -> None:
        self._down = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """
        Call `fn` and return a future that is done.

        Raises:
            RuntimeError: After `shutdown`.
        """
        if self._down:
            raise RuntimeError("cannot submit a call after shutdown")
        try:
            return finished(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 the future carries it, as any executor's
            return failed(error)

    def kill(self, future: Future[T], error: BaseException, *, grace_ms: int) -> None:
        """Do nothing: a future of this executor was done before anybody could hold it."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 the standard signature
        """Refuse further calls; none can be running."""
        self._down = True
