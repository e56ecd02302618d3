"""
Which attempt a print or a log record belongs to, where several share a process.

    Captured        a function whose output is captured; executors know it
    Beside          another call of the same attempt, in a worker of its own
    nobody          inside the block, output belongs to no attempt
    install         from now on the standard streams and the root logger ask whose it is
    uninstall       they are as they were

The context of the call tells attempts apart: it follows the thread of a task, its
generators and its coroutines, and `asyncio.to_thread`. It does not follow a
`threading.Thread` that a task starts; what that prints goes to the process's own streams.
"""

import io
import logging
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, ParamSpec, TextIO, TypeVar, cast

from statepipe.runtime.output.capture import Capture, Held, Outbox, Whose
from statepipe.runtime.output.records import level_of, listen, text_of

P = ParamSpec("P")
T = TypeVar("T")

_current: ContextVar[Capture | None] = ContextVar("statepipe_capture", default=None)

_lock = threading.Lock()
_installs = 0
_undo: list[Callable[[], object]] = []
_SOURCES: Final = ("stdout", "stderr")


class Captured(Capture):
    """
    A function and the capture its output goes to: one object, as there are so many attempts.

    In a thread it is called as it is; an executor that runs it in another process sends
    the function, and feeds the capture with what that process writes.

    Attributes:
        function: What is called.
    """

    def __init__(self, outbox: Outbox, whose: Whose, function: Callable[..., Any]) -> None:
        # Not through `super`: this is done for each attempt, however short.
        self._outbox = outbox
        self._whose = whose
        self.function = function

    def __call__(self, *args: object) -> Any:  # noqa: ANN401  (the function's)
        """Call the function."""
        token = _current.set(self)
        try:
            return self.function(*args)
        finally:
            _current.reset(token)


class Beside(Captured):
    """
    Another call of an attempt: its lines are the attempt's, but never mixed in the middle.

    Args:
        lead: The attempt's first call.
    """

    def __init__(self, lead: Captured) -> None:
        super().__init__(lead._outbox, lead._whose, lead.function)  # noqa: SLF001  (one capture)
        self._lead = lead

    def _hold(self, held: Held) -> None:
        self._lead._hold(held)  # noqa: SLF001  (one capture)


@contextmanager
def nobody() -> Generator[None]:
    """Let nothing inside the block count as output of an attempt: an inline task asked the loop."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def install() -> None:
    """Ask, of everything that is printed and logged in this process, whose it is."""
    global _installs  # noqa: PLW0603  (the streams are the process's)
    with _lock:
        _installs += 1
        for name in _SOURCES:
            stream = getattr(sys, name)
            if stream is not None and not isinstance(stream, _Stream):
                setattr(sys, name, cast("TextIO", _Stream(stream, name)))
        if _installs == 1:
            _undo.append(listen(_handler))


def uninstall() -> None:
    """Undo one `install`; after the last one everything is as it was."""
    global _installs  # noqa: PLW0603  (as in `install`)
    with _lock:
        _installs -= 1
        if _installs:
            return
        for name in _SOURCES:
            stream = getattr(sys, name)
            if isinstance(stream, _Stream):  # else somebody has put another in its place
                setattr(sys, name, stream.under)
        while _undo:
            _undo.pop()()


class _Stream:
    """A standard stream that hands on what attempts print; otherwise the one it stands for."""

    def __init__(self, under: TextIO, source: str) -> None:
        self.under = under
        self._source = source
        self._bytes = _Bytes(source)

    def write(self, text: str) -> int:
        capture = _current.get()
        if capture is None:
            return self.under.write(text)
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        capture.write(self._source, text)
        return len(text)

    def writelines(self, lines: Any) -> None:  # noqa: ANN401  (any iterable, as of any stream)
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if _current.get() is None:
            self.under.flush()

    def isatty(self) -> bool:
        return _current.get() is None and self.under.isatty()

    @property
    def buffer(self) -> Any:  # noqa: ANN401  (a binary stream)
        return self.under.buffer if _current.get() is None else self._bytes

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (the stream's own)
        return getattr(self.under, name)

    def __iter__(self) -> Any:  # noqa: ANN401  (as the stream does)
        return iter(self.under)


class _Bytes(io.RawIOBase):
    """What `sys.stdout.buffer` is to an attempt."""

    def __init__(self, source: str) -> None:
        self._source = source

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401  (anything with a buffer)
        raw = bytes(data)
        capture = _current.get()
        if capture is not None:
            capture.feed(self._source, raw)
        return len(raw)


class _Handler(logging.Handler):
    """Gives records of attempts to their captures; all others to whom they would have gone."""

    def emit(self, record: logging.LogRecord) -> None:
        capture = _current.get()
        if capture is not None:
            capture.log(level_of(record), text_of(record), int(record.created * 1000))
            return
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and _is_alone(record):
            last.handle(record)


def _is_alone(record: logging.LogRecord) -> bool:
    """Return whether nobody but us would handle `record`: then Python itself shows warnings."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        if any(handler is not _handler for handler in logger.handlers):
            return False
        logger = logger.parent if logger.propagate else None
    return True


_handler: Final = _Handler()
