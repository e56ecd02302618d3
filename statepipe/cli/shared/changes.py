"""
What a resume would refuse because a machine has changed, for commands that only say so.

    change_of    of one instance
    first_change of some that go on together or not at all
    refuse_changed_rewind   of one that is to be put back
    changes_in   of many, by id
    left_by      of many, counted
"""

from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from typing import Any

from statepipe.cli.shared.places import config_here
from statepipe.errors import DefinitionChanged
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.steering.foresight import Foresight
from statepipe.store.lookups import lookup
from statepipe.store.lookups.listing import Filter, Kind, Resumable
from statepipe.store.reading import Reader


def change_of(reader: Reader, name: str, *, adopts: bool = False) -> DefinitionChanged | None:
    """Return why an instance cannot go on with its machine, or a child machine below it."""
    return first_change(reader, [name], adopts=adopts)


def first_change(
    reader: Reader, names: Iterable[str], *, adopts: bool = False
) -> DefinitionChanged | None:
    """Return why the first of some that cannot go on with its machine cannot; None if all can."""
    with _foresight(reader, adopts=adopts) as (foresight, connection):
        refusals = (foresight.refusal(lookup.find_instance(connection, name)) for name in names)
        return next(filter(None, refusals), None)


def refuse_changed_rewind(reader: Reader, name: str, *, to: str) -> None:
    """Raise DefinitionChanged if an instance cannot be put back with the machine it has."""
    with _foresight(reader) as (foresight, connection):
        foresight.refuse_rewind(lookup.find_instance(connection, name), to)


def changes_in(
    reader: Reader, found: Iterable[Resumable], *, adopts: bool
) -> dict[str, DefinitionChanged]:
    """Return by id which of those that a bulk resume takes cannot go on, and why."""
    with _foresight(reader, adopts=adopts) as (foresight, _):
        return foresight.refusals(found)


def left_by(
    reader: Reader, wanted: Filter, kinds: Collection[Kind], *, adopts: bool
) -> tuple[int, DefinitionChanged | None]:
    """Return how many of what a bulk resume takes cannot go on, and why the first cannot."""
    with _foresight(reader, adopts=adopts) as (foresight, _):
        if all(map(foresight.is_plain, kinds)):  # as nearly always: no list is read for it
            return 0, None
    found = reader.resumable(wanted)
    with _foresight(reader, adopts=adopts) as (foresight, _):
        return foresight.left(found)


@contextmanager
def _foresight(reader: Reader, *, adopts: bool = False) -> Generator[tuple[Foresight, Any]]:
    """Open what is known of one moment, and the store's connection at it."""
    catalog = Catalog(config_here())
    with reader.moment() as connection:
        yield Foresight(catalog, connection, clock=reader.clock, adopts=adopts), connection
