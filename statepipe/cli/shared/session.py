"""
The common options as given; `cli.places` finds the configuration and the store by them.

    Session     the options
    Told        an error that was told already
    here        the folder that the command was started in
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from statepipe.cli.shared.addressing import Address
from statepipe.cli.shared.render import Output
from statepipe.errors import StatepipeError, UsageError

FORMATS: Final = ("table", "json", "jsonl")
#: As `logsettings` has them, which `--help` need not import.
LOG_FORMATS: Final = ("text", "json", "none")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
#: Where click's context has the worker process that was started before the command was imported.
SPARE: Final = "statepipe.spare"


@dataclass(slots=True, kw_only=True)
class Session:
    """
    One call of the command line. Filled in while the options are parsed.

    Attributes:
        store: The store as given, or None.
        env: The environment as given, or None.
        config: The configuration file as given, or None.
        output: "table", "json" or "jsonl"; None is "table".
        quiet: True to say nothing but the answer.
        no_color: True for no colours.
        debug: True to print tracebacks of defects.
        log_format: "text", "json" or "none", or None.
        log_file: Where log lines are appended to, or None.
        log_level: The least important level of log lines, or None.
        changes: True if the command changes something, and its refusals are log lines, too.
        is_logged: True once an error of the command was written as a log line.
        is_alone: True if the process was started for the command.
    """

    store: str | None = None
    env: str | None = None
    config: str | None = None
    output: str | None = None
    quiet: bool = False
    no_color: bool = False
    debug: bool = False
    log_format: str | None = None
    log_file: str | None = None
    log_level: str | None = None
    changes: bool = False
    is_logged: bool = False
    is_alone: bool = False

    @classmethod
    def current(cls) -> "Session":
        """Return the session of the command that is running."""
        return click.get_current_context().find_root().ensure_object(cls)

    def out(self) -> Output:
        """Return where and how to print."""
        return Output(
            form=self.output or "table",
            quiet=self.quiet,
            color=not self.no_color and not os.environ.get("NO_COLOR"),
            address=self.address,
        )

    @property
    def address(self) -> Address:
        """The options given that say which store is meant; the environment stays as it is."""
        given = (("--env", self.env), ("--store", self.store), ("--config", self.config))
        return tuple((option, value) for option, value in given if value is not None)


def here() -> Path:
    """
    Return the folder that the command was started in.

    Raises:
        UsageError: Somebody has removed it.
    """
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError(
            "the folder that this was started in is not there any more",
            meaning="nothing was read or changed: nobody knows which project is meant",
            next_step='cd "$PWD"   # or into the folder of statepipe.toml',
        ) from None


class Told(Exception):
    """
    An error was told as a log line; what is left is its exit code.

    Attributes:
        error: Which.
    """

    def __init__(self, error: StatepipeError) -> None:
        super().__init__(error.message)
        self.error = error
