"""
The kinds of triggers there are.

    KINDS       by name
    register    write a trigger of a machine down, if the store does not know it so yet
"""

from collections.abc import Mapping
from typing import Final

from statepipe.machine.triggers.trigger import Trigger
from statepipe.runtime.triggers import events, schedules
from statepipe.runtime.triggers.kinds import Asked, Kind
from statepipe.store.file.connection import Store
from statepipe.store.triggers import standing

KINDS: Final[Mapping[str, Kind]] = {"schedule": schedules.KIND, "event": events.KIND}


def register(store: Store, machine: str, trigger: Trigger) -> int:
    """Return the number of a trigger in the store; one that is new begins from now on."""
    asked = Asked(f"{machine}.{trigger.name}", trigger, store.clock.now_ms(), store)
    position = KINDS[trigger.on.kind].begin(asked)
    listens = listens_of(trigger)
    return standing.register(store, machine, trigger.name, listens=listens, position=position)


def listens_of(trigger: Trigger) -> dict[str, object]:
    """Return what makes a trigger another one if it changes, its kind included."""
    return {"kind": trigger.on.kind, **trigger.on.identity}
