"""
What people and programs ask of instances that may still go on.

    Asker.cancel, Asker.kill    its end, with its machine's `on_cancel` or without
    Asker.pause                 a rest, until it is resumed
"""

from abc import ABC, abstractmethod

from statepipe.runtime.driving.observers import Observers
from statepipe.store.file.connection import Store
from statepipe.store.walk import asking
from statepipe.wishes import Wish


class Asker(ABC):
    """The part of an engine that asks; it drives nothing."""

    _observers: Observers

    @property
    @abstractmethod
    def _store(self) -> Store: ...

    def cancel(self, instance_id: str, *, reason: str | None = None) -> bool:
        """
        Cancel an instance; return False if its driver was asked to and will.

        Of a machine with `on_cancel` it is now in `cancelling`: `run`, or a worker, runs that.

        Raises:
            NotFound, Refused: No such instance, or it is done or cancelled already. One that
                has failed may be cancelled.
        """
        return self._ask(instance_id, "cancel", reason=reason)

    def kill(self, instance_id: str, *, reason: str | None = None) -> bool:
        """End an instance by force: without grace, and without `on_cancel`; else as `cancel`."""
        return self._ask(instance_id, "kill", reason=reason)

    def pause(self, instance_id: str, *, reason: str | None = None) -> bool:
        """Let an instance rest at its next boundary until it is resumed; else as `cancel`."""
        return self._ask(instance_id, "pause", reason=reason)

    def _ask(self, instance_id: str, wish: Wish, *, reason: str | None) -> bool:
        done = asking.request(self._store, instance_id=instance_id, wish=wish, reason=reason)
        fulfilled = "pause" if wish == "pause" else "cancel"
        self._observers.asked(self._store, instance_id, kind=fulfilled if done else "request")
        return done
