"""
Which triggers listen to an event, by the machines that this process knows.

    Listening           read once; machines whose file is broken are left out
    Listening.is_any    whether there is any trigger at all
    Listening.seen      those of one event, written down in the store before it is emitted
    Listening.refused   those that start nothing for an emit, and why
"""

from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from statepipe.errors import DefinitionError
from statepipe.machine.triggers.events import Emitted
from statepipe.machine.triggers.trigger import Trigger
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.triggers.asking import preview
from statepipe.runtime.triggers.events import occasion_of
from statepipe.runtime.triggers.known import declared, register
from statepipe.store.file.connection import Store


class Listening:
    """
    The triggers of known machines that listen to events.

    Args:
        catalog: The machines.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    @property
    def events(self) -> set[str]:
        """The events that some trigger listens to."""
        return set(self._by_event)

    def seen(self, store: Store, event: str) -> list[str]:
        """
        Return the names of the triggers that listen to `event`, with their machines.

        One that no worker has seen yet begins with what is emitted from now on.
        """
        listening = self._by_event.get(event, [])
        for machine, trigger in listening:
            register(store, machine, trigger)
        return [f"{machine}.{trigger.name}" for machine, trigger in listening]

    def refused(
        self, event: str, key: str, params: Mapping[str, Any], *, now_ms: int
    ) -> dict[str, str]:
        """Return which of the triggers that listen start nothing for an emit, and why."""
        occasion = occasion_of(event, key, params, at_ms=now_ms)
        found = {}
        for name, trigger in self._by_event.get(event, []):
            try:
                machine, sharing = self._catalog.machine(name), self._catalog.sharing(name)
                looked = preview(machine, trigger, occasion, now_ms=now_ms, sharing=sharing)
                why = looked.refusal
            except DefinitionError as error:
                why = error.message
            if why is not None:
                found[f"{name}.{trigger.name}"] = why
        return found

    @property
    def is_any(self) -> bool:
        """True if some machine can start by itself, so that a store is made for it."""
        return any(self._triggers)

    @cached_property
    def _by_event(self) -> dict[str, list[tuple[str, Trigger]]]:
        found: dict[str, list[tuple[str, Trigger]]] = defaultdict(list)
        for machine, trigger in self._triggers:
            if isinstance(trigger.on, Emitted):
                found[trigger.on.event].append((machine, trigger))
        return dict(found)

    @cached_property
    def _triggers(self) -> list[tuple[str, Trigger]]:
        return list(declared(self._catalog))
