"""
Whose store it is: the environment it was stamped with, and who is kept out by that.

    Environment     whose process wants to use a store, and whether the store may become its own
    stamp_of        the environment a store belongs to
    refuse_other    keep out everybody else's process, before anything is read or changed
    stamp           a store that is nobody's becomes the environment's own
    restamp         it becomes another one's, or nobody's, because a person says so
"""

from pathlib import Path
from typing import NamedTuple

from statepipe.errors import Busy, WrongEnvironment
from statepipe.sqlite import sqlite3
from statepipe.store import liveness
from statepipe.store.file.connection import Store
from statepipe.units import plural

_STAMP = "UPDATE store SET environment = :name WHERE environment IS NULL"
_RESTAMP = "UPDATE store SET environment = :name"


class Environment(NamedTuple):
    """
    Whose process wants to use a store.

    Attributes:
        name: The environment that was chosen, None for none.
        stamps: True if the store is that environment's alone, and becomes so if it is nobody's.
    """

    name: str | None
    stamps: bool = False


def stamp_of(connection: sqlite3.Connection) -> str | None:
    """Return the environment that the store belongs to, None for none."""
    name: str | None = connection.execute("SELECT environment FROM store").fetchone()[0]
    return name


def refuse_other(connection: sqlite3.Connection, path: Path, environment: Environment) -> None:
    """
    Refuse a process of another environment than the store's. What is nobody's is everybody's.

    Raises:
        WrongEnvironment: It is one; or it names none.
    """
    owner = stamp_of(connection)
    if owner is None or owner == environment.name:
        return
    given = f"and not to {environment.name}" if environment.name else "and --env names none"
    raise WrongEnvironment(
        f"{path} belongs to the environment {owner}, {given}",
        meaning="nothing was read or changed",
        next_step=f"statepipe --env {owner} …   # or name the store that you mean: --store",
    )


def stamp(store: Store, environment: Environment) -> None:
    """
    Make a store that is nobody's the environment's own, if it is to be.

    Raises:
        WrongEnvironment: Another process was faster, and it is another one's now.
    """
    if environment.stamps and environment.name and stamp_of(store.connection) is None:
        with store.write() as connection:
            connection.execute(_STAMP, {"name": environment.name})
    # Also if it was stamped when we looked: of two that make a store one is the first.
    refuse_other(store.connection, store.path, environment)


def restamp(store: Store, name: str | None) -> None:
    """
    Make a store another environment's, or nobody's.

    Raises:
        Busy: Processes work with it, which would go on as if it were still theirs.
    """
    every = liveness.workers(store.connection)
    alive = [each for each in every if not liveness.is_dead(each, clock=store.clock)]
    if alive:
        raise Busy(
            f"{plural(len(alive), 'process')} at work in {store.path}, for example"
            f" {alive[0].pid} on {alive[0].host}",
            meaning="nothing was changed",
            next_step="stop them first, then the same command again",
        )
    with store.write() as connection:
        connection.execute(_RESTAMP, {"name": name})
