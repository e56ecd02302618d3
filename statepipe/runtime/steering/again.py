"""
The part of an engine by which something is done once more; `run` or a worker drives it.

    Again.rewind    puts an instance back into an earlier state
    Again.replay    makes instances of what was rejected
"""

from abc import ABC, abstractmethod
from typing import Literal

from statepipe.runtime.catalog import Catalog
from statepipe.runtime.driving.observers import Observers
from statepipe.runtime.program import Program
from statepipe.runtime.steering.replaying import Choice, replay
from statepipe.runtime.steering.rewinding import put_back
from statepipe.store.file.connection import Store
from statepipe.store.lookups.lookup import Found
from statepipe.store.stage.directory import Stage

Adopt = Literal["pinned", "latest"]


class Again(ABC):
    """What it needs of an engine."""

    catalog: Catalog
    _observers: Observers

    @property
    @abstractmethod
    def _store(self) -> Store: ...

    @property
    @abstractmethod
    def _stage(self) -> Stage: ...

    @abstractmethod
    def _find(self, instance_id: str) -> Found: ...

    @abstractmethod
    def _program(self, name: str) -> Program: ...

    @abstractmethod
    def _same_definition(self, found: Found, *, adopt: Adopt) -> Found: ...

    def rewind(
        self, instance_id: str, *, to: str, reason: str | None = None, definition: Adopt = "pinned"
    ) -> None:
        """
        Put an instance back to rest in a state it was in before, in a new generation.

        Raises as `runtime.rewinding.put_back`, and DefinitionChanged as `resume`.
        """
        found = self._find(instance_id)
        if definition == "pinned":
            self._same_definition(found, adopt="pinned")
        put_back(self._store, found, self._program(found.machine), to=to, reason=reason)
        self._observers.journaled(self._store, found.n, found.seq + 1)

    def replay(self, instance_id: str, choice: Choice | None = None, *, reason: str) -> list[str]:
        """
        Make instances that send rejected records through once more; return their ids.

        `run` or a worker drives them. Raises as `runtime.replaying.replay`.
        """
        made = replay(
            self._store, instance_id, choice, stage=self._stage, catalog=self.catalog, reason=reason
        )
        for each in made:
            self._observers.journaled(self._store, each.n, seq=1)
        return [each.id for each in made]
