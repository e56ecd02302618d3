"""
The kinds of triggers there are.

    KINDS       by name
    declared    the triggers of all machines that this process knows
    broken      the machines whose file is broken, whose triggers nobody knows
    register    write a trigger of a machine down, if the store does not know it so yet
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from statepipe.errors import StatepipeError
from statepipe.machine.triggers.trigger import Trigger
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.triggers import arrivals, events, schedules, upstreams
from statepipe.runtime.triggers.kinds import Asked, Kind
from statepipe.store.file.connection import Store
from statepipe.store.triggers import standing

KINDS: Final[Mapping[str, Kind]] = {
    "schedule": schedules.KIND,
    "event": events.KIND,
    "file": arrivals.KIND,
    "after": upstreams.KIND,
}


def declared(catalog: Catalog) -> Iterator[tuple[str, Trigger]]:
    """Yield each trigger with the name of its machine; machines whose file is broken have none."""
    for name in catalog.names():
        with suppress(StatepipeError):
            for trigger in catalog.machine(name).triggers:
                yield name, trigger


def broken(catalog: Catalog) -> dict[str, StatepipeError]:
    """Return by machine what is wrong with its file; those that can be read are not in it."""
    found = {}
    for name in catalog.names():
        try:
            catalog.machine(name)
        except StatepipeError as error:
            found[name] = error
    return found


def register(store: Store, machine: str, trigger: Trigger) -> int:
    """Return the number of a trigger in the store; one that is new begins from now on."""
    name, now_ms = f"{machine}.{trigger.name}", store.clock.now_ms()
    asked = Asked(name, trigger, now_ms, store.connection)
    position = KINDS[trigger.on.kind].begin(asked)
    listens = listens_of(trigger)
    return standing.register(store, machine, trigger.name, listens=listens, position=position)


def listens_of(trigger: Trigger) -> dict[str, object]:
    """Return what makes a trigger another one if it changes, its kind included."""
    return {"kind": trigger.on.kind, **trigger.on.identity}
