"""
Where the configuration and the store are, by the options of the command that runs.

Apart from the options themselves, so that `--help` need not import what reads a store.
"""

import os

from statepipe.cli.shared.session import Session, here
from statepipe.clock import SystemClock
from statepipe.config import Config, load_config
from statepipe.errors import NotFound
from statepipe.store.file import opening
from statepipe.store.file.connection import Store
from statepipe.store.file.stamp import Environment
from statepipe.store.lookups.listing import machines
from statepipe.store.reading import Reader
from statepipe.suggest import did_you_mean
from statepipe.tasknames import task_of


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


def refuse_unknown(reader: Reader, machine: str | None) -> None:
    """
    Refuse a name that is no machine's, before its instances are looked for; None is all of them.

    A machine whose file is gone is known by its instances, and one that never ran by its file.

    Raises:
        NotFound: It is neither in the store nor in the folder of the machines.
        DefinitionError: As `config_here`.
    """
    if machine is None:
        return
    with reader.moment() as connection:
        known = machines(connection)
    if machine in known:
        return
    # Only a name that the store has not seen needs the files.
    from statepipe.machine.loading.loader import list_machines  # noqa: PLC0415  (imported when used)

    folder = config_here().machines_dir
    known |= set(list_machines(folder))
    task = task_of(machine)
    if machine in known or (task is not None and task.machine in known):
        return
    raise NotFound(
        f"there is no machine {machine!r}, in this store or in {folder}"
        + did_you_mean(machine, known),
        meaning="nothing was changed",
        next_step="statepipe check   # names the machines; --store names another store",
    )
