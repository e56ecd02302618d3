"""
Where the configuration and the store are, by the options of the command that runs.

Apart from the options themselves, so that `--help` need not import what reads a store.
"""

import os

from statepipe.cli.shared.session import Session, here
from statepipe.clock import SystemClock
from statepipe.config import Config, load_config
from statepipe.store.file import opening
from statepipe.store.file.connection import Store
from statepipe.store.file.stamp import Environment
from statepipe.store.reading import Reader


def config_here() -> Config:
    """
    Return the configuration that applies.

    Raises:
        DefinitionError: As `config.load_config`.
    """
    return config_of(Session.current())


def config_of(session: Session) -> Config:
    """Return the configuration that applies to a call with these options. Raises as above."""
    return load_config(
        start=here(),
        environ=os.environ,
        store=session.store,
        env=session.env,
        config=session.config,
    )


def environment_of(config: Config) -> Environment:
    """Return whose process this is."""
    return Environment(config.env, stamps=config.owns_store)


def open_reader() -> Reader:
    """
    Open the store for looking.

    Raises:
        DefinitionError: As `config_here`.
        StoreUnusable, WrongEnvironment: As `Reader`.
    """
    config = config_here()
    return Reader(config.store, environment=environment_of(config))


def open_store() -> Store:
    """
    Open the store for writing; it must be there.

    Raises:
        DefinitionError: As `config_here`.
        StoreUnusable, WrongEnvironment, Busy: As `opening.open_store`.
    """
    config = config_here()
    environment = environment_of(config)
    return opening.open_store(
        config.store, create=False, clock=SystemClock(), environment=environment
    )
