"""
An engine for commands that change something and drive nothing.

    intervening     open it, with log lines as for commands that drive
"""

from collections.abc import Generator
from contextlib import contextmanager

from statepipe.cli.shared.loglines import log_lines
from statepipe.cli.shared.session import Session
from statepipe.config import Config
from statepipe.engine import Engine


@contextmanager
def intervening(config: Config, *, create: bool) -> Generator[Engine]:
    """
    Open an engine for one command; `create` makes the store if it is missing.

    Raises:
        StoreUnusable, Busy, DefinitionError: As `Engine`.
    """
    with (
        log_lines(config, Session.current()) as lines,
        Engine(config, create=create, log=lines.log) as engine,
    ):
        yield engine
