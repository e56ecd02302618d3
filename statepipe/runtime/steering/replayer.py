"""
The part of an engine that sends rejected records through once more.

    Replayer.replay     makes the instances; `run` or a worker drives them
"""

from abc import ABC, abstractmethod

from statepipe.runtime.catalog import Catalog
from statepipe.runtime.driving.observers import Observers
from statepipe.runtime.steering.replaying import Choice, replay
from statepipe.store.file.connection import Store
from statepipe.store.stage.directory import Stage


class Replayer(ABC):
    """What `Engine.replay` needs of an engine."""

    catalog: Catalog
    _observers: Observers

    @property
    @abstractmethod
    def _store(self) -> Store: ...

    @property
    @abstractmethod
    def _stage(self) -> Stage: ...

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
