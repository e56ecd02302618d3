"""
Which machines a worker can drive, and whose instances it leaves alone.

    Roster.left_out      machines that cannot be driven, and why
    Roster.left_alone    instances that began with another definition than their machine has now
    Roster.outdated      machines that have changed since this process read them
"""

from abc import ABC, abstractmethod

from statepipe.errors import DefinitionError, NotFound, StatepipeError
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.driver import Driver
from statepipe.runtime.program import Program, with_children
from statepipe.store.file.connection import Store
from statepipe.store.lookups import lookup
from statepipe.store.questions.outdated import Outdated, outdated


class Roster(ABC):
    """The part of an engine that knows its machines by whether they can be driven."""

    catalog: Catalog
    _driver: Driver

    @property
    @abstractmethod
    def _store(self) -> Store: ...

    @abstractmethod
    def _program(self, name: str) -> Program: ...

    def left_out(self) -> dict[str, StatepipeError]:
        """Return by machine why it cannot be driven: a worker drives all others."""
        found: dict[str, StatepipeError] = {}
        for name in self.catalog.names():
            try:
                with_children([name], self._program)
            except (DefinitionError, NotFound) as error:
                found[name] = error
        return found

    def left_alone(self) -> dict[str, int]:
        """
        Return by machine how many ready instances began with a definition no machine has now.

        Those of machines that are left out are not among them: what they began with is not known.
        """
        out = self.left_out()
        names = [name for name in self.catalog.names() if name not in out]
        known = [each.definition for each in with_children(names, self._program)]
        found = lookup.ready_of_others(self._store.connection, known)
        return {name: count for name, count in found.items() if name not in out}

    def outdated(self) -> list[Outdated]:
        """Return the machines that this process, as a worker, drives as they were; they changed."""
        worker = self._driver.worker
        if worker is None:
            return []
        with self._store.translating():
            names = outdated(self._store.connection, worker)
        return [Outdated(name, worker.host, worker.pid) for name in names]

    def _drivable(self) -> list[str]:
        """Return the names of the machines that can be driven; if none of them can, say why."""
        names, out = self.catalog.names(), self.left_out()
        if out and len(out) == len(names):
            raise next(iter(out.values()))
        return [name for name in names if name not in out]
