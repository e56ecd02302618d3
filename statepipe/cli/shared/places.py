"""
Where the configuration and the store are, by the options of the command that runs.

Apart from the options themselves, so that `--help` need not import what reads a store.
"""

import os
from pathlib import Path

from statepipe.cli.shared.session import Session
from statepipe.config import Config, load_config
from statepipe.store.reading import Reader


def config_here() -> Config:
    """
    Return the configuration that applies.

    Raises:
        DefinitionError: As `config.load_config`.
    """
    session = Session.current()
    return load_config(
        start=Path.cwd(),
        environ=os.environ,
        store=session.store,
        env=session.env,
        config=session.config,
    )


def open_reader() -> Reader:
    """
    Open the store for looking.

    Raises:
        DefinitionError: As `config_here`.
        StoreUnusable: As `Reader`.
    """
    return Reader(config_here().store)
