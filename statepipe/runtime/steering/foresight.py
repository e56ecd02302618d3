"""
What a resume would refuse for a machine that has changed, told before anybody tries.

    Foresight   the machines as their files are now, beside what began with them as they were

Nothing is written for it, and no function of an author's is imported.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from statepipe.clock import Clock
from statepipe.errors import DefinitionChanged, StatepipeError
from statepipe.machine.definition import Machine
from statepipe.machine.digest import digest
from statepipe.machine.states.taskgraph import Child
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.steering.adopting import refuse_changed
from statepipe.store import liveness
from statepipe.store.lookups import lookup
from statepipe.store.lookups.listing import Kind, Resumable
from statepipe.store.lookups.lookup import Found


class _Known(NamedTuple):
    """A machine as its file is now."""

    definition: int  # 0 if nothing has begun with it
    parts: frozenset[str]
    machine: Machine
    has_child: bool


class Foresight:
    """
    What has changed since instances of a store began.

    Args:
        catalog: The machines.
        connection: Of the store, for reading by its own modules.
        clock: Tells who lives.
        adopts: True if what has changed may go on with its machine as it is now.
    """

    def __init__(
        self,
        catalog: Catalog,
        connection: Any,  # noqa: ANN401  (the store's own)
        *,
        clock: Clock,
        adopts: bool = False,
    ) -> None:
        self._catalog = catalog
        self._connection = connection
        self._clock = clock
        self._adopts = adopts
        self._known: dict[str, _Known | StatepipeError] = {}

    def refusal(self, found: Found) -> DefinitionChanged | None:
        """Return why an instance cannot go on, or a child machine below it; None if all can."""
        try:
            self._refuse(found, whole=None)
            below = lookup.machines_below(self._connection, found)
            if below:
                living = self._living()
                for part, worker in below:
                    if worker not in living:
                        self._refuse(part, whole=found.id)
        except DefinitionChanged as error:
            return error
        return None

    def refuse_rewind(self, found: Found, to: str) -> None:
        """Raise DefinitionChanged if an instance cannot be put back with the machine it has."""
        self._refuse(found, whole=None, rewind_to=to)

    def refusals(self, chosen: Iterable[Resumable]) -> dict[str, DefinitionChanged]:
        """Return by id which of many cannot go on, and why."""
        refused = {}
        for each in chosen:
            if not self.is_plain(each.kind):
                error = self.refusal(lookup.find_instance(self._connection, each.id))
                if error is not None:
                    refused[each.id] = error
        return refused

    def left(self, chosen: Iterable[Resumable]) -> tuple[int, DefinitionChanged | None]:
        """
        Return how many of many cannot go on, and why the first of them cannot.

        What one cannot by its own machine, all of its kind cannot: one of them is looked at.
        """
        refused: list[DefinitionChanged] = []
        alike: dict[Kind, DefinitionChanged | None] = {}
        for each in chosen:
            kind = each.kind
            if self.is_plain(kind):
                continue
            if kind not in alike:
                alike[kind] = self._own(lookup.find_instance(self._connection, each.id))
            error = alike[kind]
            if error is None and self._known_of(kind.machine).has_child:
                error = self.refusal(lookup.find_instance(self._connection, each.id))
            if error is not None:
                refused.append(error)
        return len(refused), next(iter(refused), None)

    def is_plain(self, kind: Kind) -> bool:
        """Return True if its machine is what it began with, and no other does part of its work."""
        try:
            known = self._known_of(kind.machine)
        except StatepipeError:
            return False
        is_same = known.definition == kind.definition and kind.state in known.parts
        return is_same and not known.has_child

    def _own(self, found: Found) -> DefinitionChanged | None:
        try:
            self._refuse(found, whole=None)
        except DefinitionChanged as error:
            return error
        return None

    def _refuse(self, found: Found, *, whole: str | None, rewind_to: str = "") -> None:
        refuse_changed(
            found,
            self._known_of,
            connection=self._connection,
            catalog=self._catalog,
            adopts=self._adopts,
            whole=whole,
            rewind_to=rewind_to,
        )

    def _known_of(self, name: str) -> _Known:
        if name not in self._known:
            try:
                self._known[name] = self._read(name)
            except StatepipeError as error:
                self._known[name] = error
        known = self._known[name]
        if isinstance(known, StatepipeError):
            raise known
        return known

    def _read(self, name: str) -> _Known:
        machine = self._catalog.sound(name)
        number = lookup.definition_of(self._connection, name, digest(self._catalog.form(machine)))
        return _Known(
            definition=number or 0,
            parts=frozenset(each.name for each in machine.acting),
            machine=machine,
            has_child=any(isinstance(each.task, Child) for each in machine.states),
        )

    def _living(self) -> set[int]:
        everyone = liveness.workers(self._connection)
        return {each.n for each in everyone if not liveness.is_dead(each, clock=self._clock)}
