"""
Where log lines go: `--log-format`, `--log-file`, `--log-level`, STATEPIPE_LOG_…, `[logging]`.

    log_lines       for the length of a command, records of the logger "statepipe" are shown
    LogLines        what that means for everything else that the command prints
    TextFormatter   a record as a line for people

By default there are none: people have the progress of a command, and `statepipe history`.
A file alone means JSON; a format alone means standard error, which then has nothing else.
"""

import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from statepipe.cli.shared.addressing import Address, addressed
from statepipe.cli.shared.render import Output, escape
from statepipe.cli.shared.session import Session, Told, here
from statepipe.config import Config
from statepipe.errors import StatepipeError, UsageError
from statepipe.observe import redact
from statepipe.observe.lines import JsonFormatter, log_fact, rfc3339
from statepipe.runtime.driving.observers import Log

#: What tasks log is theirs: it is stored with their attempt, and shown by `statepipe logs`.
_TASKS: Final = "statepipe.task"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLines:
    """
    How a command logs.

    Attributes:
        log: What the engine tells its facts; None if nobody wants them.
        on_stderr: True if standard error is for log lines, and for nothing else.
    """

    log: Log | None = None
    on_stderr: bool = False


@contextmanager
def log_lines(config: Config, session: Session) -> Generator[LogLines]:
    """
    Show log lines as options, environment and file say, for as long as the block runs.

    An error of ours that leaves the block becomes a line, too; if the lines are JSON on
    standard error it is not told a second time: `Told` says so to the last door.

    Raises:
        UsageError: The file cannot be opened.
    """
    settings = config.logging
    file = here() / session.log_file if session.log_file else settings.file
    form = session.log_format or settings.format or ("none" if file is None else "json")
    if form == "none":
        yield LogLines()
        return
    handler = _StderrHandler() if file is None else _FileHandler(file)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    handler.addFilter(lambda record: not record.name.startswith(_TASKS))
    level = session.log_level or settings.level or ("debug" if form == "json" else "info")
    logger = logging.getLogger("statepipe")
    before = logger.level
    logger.setLevel(level.upper())
    logger.addHandler(handler)
    try:
        yield LogLines(log=log_fact, on_stderr=file is None)
    except StatepipeError as error:
        # Not its traceback: the three parts of an error of ours say more.
        session.is_logged = True
        logger.error("%s", error.message, extra=_facts_of(error, session.address))  # noqa: TRY400  (its text is for people, not its traceback)
        if file is None and form == "json":
            raise Told(error) from error
        raise
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        handler.close()


class TextFormatter(logging.Formatter):
    """A line for people: when, how bad, what; nothing that a terminal might obey."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its line break; more lines for a traceback."""
        when = rfc3339(round(record.created * 1000))
        text = redact.beginning(record.getMessage(), chars_max=4_000)
        line = f"{when}  {record.levelname:<7}  {escape(text)}"
        if record.exc_info and record.exc_info[0] is not None:
            trace = redact.redacted(self.formatException(record.exc_info))
            line += "\n" + escape(trace, lines=True)
        return line


class _StderrHandler(logging.Handler):
    """Writes lines to whatever standard error is now; a reader that has gone stops no run."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except OSError:
            return


class _FileHandler(logging.Handler):
    """
    Appends each line to a file with one write, so that several processes may share it.

    The file is opened anew when somebody has moved it away, as logrotate does. If it cannot
    be written to, that is said once, and the run goes on.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._complained = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = self._open()
        except OSError as error:
            raise UsageError(
                f"the log file {path} cannot be opened: {error.strerror}",
                meaning="nothing was run",
                next_step="name another one: --log-file, STATEPIPE_LOG_FILE, or [logging] file",
            ) from error

    def emit(self, record: logging.LogRecord) -> None:
        line = memoryview(f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))
        try:
            self._follow()
            while line:
                line = line[os.write(self._fd, line) :]
        except OSError as error:
            if not self._complained:
                self._complained = True
                Output(form="table").note(
                    f"statepipe: log lines cannot be written to {self._path}:"
                    f" {error.strerror}; the run goes on"
                )

    def close(self) -> None:
        os.close(self._fd)
        super().close()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def _follow(self) -> None:
        """Open the file anew if the path leads to another one, or to none, by now."""
        mine = os.fstat(self._fd)
        try:
            now = os.stat(self._path)  # noqa: PTH116  (once a line: a Path costs more than the call)
        except FileNotFoundError:
            now = None
        if now is None or (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino):
            fresh = self._open()
            os.close(self._fd)
            self._fd = fresh


def _facts_of(error: StatepipeError, address: Address) -> dict[str, object]:
    facts: dict[str, object] = {"error_class": type(error).__name__, "exit_code": error.exit_code}
    if error.meaning:
        facts["meaning"] = error.meaning
    if error.next_step:
        facts["next_step"] = addressed(error.next_step, address)
    return facts
