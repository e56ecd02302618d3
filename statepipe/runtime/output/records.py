"""
Log records as text, and how they leave a worker process.

    text_of         a record in one text, its traceback included; never fails
    level_of        its level by name, in lower case
    listen          let the root logger have a handler, and records of tasks pass
    PipeHandler     writes each record into a pipe, as one line of JSON
    read            what PipeHandler wrote
"""

import json
import logging
import os
from collections.abc import Callable
from typing import Final

from statepipe.observe import redact

#: Of one record; what is longer is cut.
RECORD_CHARS_MAX: Final = 8_000

#: The logger above all `task.log`.
TASKS: Final = "statepipe.task"

_LEVELS: Final = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
)
_formatter: Final = logging.Formatter("%(message)s")


def text_of(record: logging.LogRecord) -> str:
    """Return what a record says, with its traceback; of other loggers than `task.log` the name."""
    try:
        text = _formatter.format(record)
    except Exception as error:  # noqa: BLE001  (the author's arguments are formatted here)
        text = f"(a log record that cannot be formatted: {type(error).__name__})"
    if not record.name.startswith(TASKS):
        text = f"{record.name}: {text}"
    if len(text) > RECORD_CHARS_MAX:
        more = f"… ({len(text) - RECORD_CHARS_MAX:,} more characters)"
        text = redact.beginning(text, chars_max=RECORD_CHARS_MAX) + more
    return text


def level_of(record: logging.LogRecord) -> str:
    """Return "debug", "info", "warning", "error" or "critical"."""
    return next((name for number, name in _LEVELS if record.levelno >= number), "debug")


def listen(handler: logging.Handler) -> Callable[[], None]:
    """
    Give `handler` everything that tasks log, and what others log from INFO on.

    A level that somebody has chosen stays: only the defaults, which would hide INFO, go.
    Returns how to undo all of it.
    """
    root, tasks = logging.getLogger(), logging.getLogger(TASKS)
    before = (root.level, tasks.level)
    if root.level == logging.WARNING and not root.handlers:
        root.setLevel(logging.INFO)
    if tasks.level == logging.NOTSET:
        tasks.setLevel(logging.DEBUG)
    root.addHandler(handler)
    now = (root.level, tasks.level)

    def undo() -> None:
        root.removeHandler(handler)
        for logger, was, made in zip((root, tasks), before, now, strict=True):
            if logger.level == made:
                logger.setLevel(was)

    return undo


class PipeHandler(logging.Handler):
    """
    Writes each record as a line of JSON: its time in milliseconds, its level, its text.

    A task may have closed the pipe, and a driver may be gone: then nothing is written.
    """

    def __init__(self, pipe: int) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        fact = [int(record.created * 1000), level_of(record), text_of(record)]
        line = json.dumps(fact, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(self._pipe, left) :]
        except OSError:
            return


def read(line: bytes) -> tuple[int | None, str | None, str]:
    """Return time, level and text of a line; no time and level if a task scribbled it."""
    text = line.decode("utf-8", "backslashreplace")
    try:
        at_ms, level, said = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None, None, text
    is_moment = type(at_ms) is int and 0 < at_ms < _AT_MS_MAX
    if is_moment and isinstance(level, str) and level in _NAMES and isinstance(said, str):
        return at_ms, level, said
    return None, None, text


_AT_MS_MAX: Final = 1 << 53
_NAMES: Final = frozenset({"debug", *(name for _, name in _LEVELS)})
