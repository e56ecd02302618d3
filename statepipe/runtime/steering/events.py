"""
What people and programs tell instances that rest: written down, then told to who listens.

    Sender.signal   an event to one instance; Sender.send tells more of what came of it
    Sender.emit     an event to all who wait for it with a key, and to what it starts
    Sender.callback an event by a token, as outside systems send it
    Sender.unpause  one that is paused may go on
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

from statepipe.errors import NotFound, StatepipeError
from statepipe.machine.states.waits import Wait
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.driving.observers import Observers
from statepipe.runtime.steering.callbacks import allowed
from statepipe.runtime.steering.foresight import Foresight
from statepipe.runtime.steering.judging import judged
from statepipe.runtime.steering.lateness import deadline_of, refuse_late, refuse_late_parts
from statepipe.runtime.steering.unpausing import refuse_unpaused, unpause
from statepipe.runtime.triggers.listening import Listening
from statepipe.store.file.connection import Store
from statepipe.store.lookups.lookup import find_instance
from statepipe.store.tokens import signer_of
from statepipe.store.walk import callbacks, emissions, signals
from statepipe.store.walk.callbacks import Called
from statepipe.store.walk.emissions import Emitted
from statepipe.store.walk.signals import Sent
from statepipe.suggest import did_you_mean


class Sender(ABC):
    """The part of an engine that tells instances something; it drives nothing."""

    catalog: Catalog
    _observers: Observers

    @property
    @abstractmethod
    def _store(self) -> Store: ...

    def signal(
        self,
        instance_id: str,
        event: str,
        params: Mapping[str, Any] | None = None,
        *,
        reason: str | None = None,
    ) -> bool:
        """
        Send an event; return False if the instance does not wait for it yet, and keeps it.

        Raises as `send`.
        """
        return self.send(instance_id, event, params, reason=reason).is_awaited

    def send(
        self,
        instance_id: str,
        event: str,
        params: Mapping[str, Any] | None = None,
        *,
        reason: str | None = None,
    ) -> Sent:
        """
        Send an event as `signal`, and return all that came of it: it may have been late.

        Raises:
            BadParameter: The parameters break the schema that the machine has for the event.
            StatepipeError: As `store.signals.send`.
        """
        store, given = self._store, params or {}
        found = find_instance(store.connection, instance_id)
        late = judged(self.catalog, found.machine, event, given, store=store)
        sent = signals.send(store, instance_id, event, given, reason=reason, late=late)
        if sent.late is None:
            self._observers.journaled(store, sent.instance, sent.seq)
        return sent

    def emit(
        self,
        event: str,
        key: str,
        params: Mapping[str, Any] | None = None,
        *,
        reason: str | None = None,
    ) -> Emitted:
        """
        Send an event to all who wait for it with `key`, now or later; the first emit wins.

        A worker starts an instance for each trigger that listens to it. For an instance whose wait
        for it has ended it is late, and goes by the rule of its machine; the answer says so, and
        which triggers start none, because what goes with the event makes no parameters of theirs.

        Raises:
            NotFound: No machine waits for it with a key or is started by it, here or in the store.
            ValueRefused, BadParameter: As `store.emissions.emit`.
        """
        known = emissions.known(self._store.connection) | self._listening.events
        if event not in known:  # files are read only if it is of a machine without instances yet
            self._refuse_unknown(event, known | self._awaited())
        for machine in emissions.judges(self._store.connection, event):
            judged(self.catalog, machine, event, params or {}, store=self._store)
        starts = self._listening.seen(self._store, event)
        emitted = emissions.emit(self._store, event, key, params or {}, reason=reason)
        for n, seq in emitted.woken:
            self._observers.journaled(self._store, n, seq)
        if emitted.repeats:
            return emitted
        refused = self._listening.refused(
            event, key, params or {}, now_ms=self._store.clock.now_ms()
        )
        return emitted._replace(
            starts=tuple(each for each in starts if each not in refused),
            refused=tuple(refused.items()),
        )

    def callback(
        self,
        token: str,
        event: str | None = None,
        params: Mapping[str, Any] | None = None,
        *,
        reason: str | None = None,
    ) -> Called:
        """
        Tell the state that waits behind a task what the bearer of its token says; once.

        Args:
            token: As `task.callback_token` gave it.
            event: One that the state waits for; None if there is only one.
            params: What goes with it, plain data: the state's result.
            reason: Why, for the journal.

        Raises:
            BadToken: It is none of this store's.
            BadParameter: What goes with it breaks the schema that the machine has for the event.
            NotFound, Refused, BadParameter, ValueRefused: As `store.callbacks.call_back`.
        """
        store = self._store
        whose = signer_of(store.path).read(token)
        brings = callbacks.expected(store, whose, event, judge=allowed)
        if brings is not None:
            judged(self.catalog, *brings, params or {}, store=store)
        called = callbacks.call_back(
            store, whose, event, params or {}, reason=reason, judge=allowed
        )
        if not called.is_repeated:
            self._observers.journaled(store, called.n, called.seq)
        return called

    def unpause(self, instance_id: str, *, reason: str | None = None) -> None:
        """
        Let a paused instance go on, with whoever drives instances; it is not driven here.

        Raises:
            NotFound, Refused: No such instance, or it is not paused, or has had its time.
            DefinitionChanged: It began with another definition than its machine has now, or a
                child machine below it did: no worker would drive that.
        """
        found = find_instance(self._store.connection, instance_id)
        refuse_unpaused(instance_id, found.status)
        foresight = Foresight(self.catalog, self._store.connection, clock=self._store.clock)
        if (changed := foresight.refusal(found)) is not None:
            raise changed
        deadline_ms = deadline_of(self.catalog.machine, found.machine)
        refuse_late(self._store, found, deadline_ms=deadline_ms)
        refuse_late_parts(self._store, found, self.catalog.machine)
        taken = unpause(self._store, found, reason=reason)
        self._observers.journaled(self._store, taken.n, taken.seq)

    def _refuse_unknown(self, event: str, known: set[str]) -> None:
        if event not in known:
            names = sorted(known)
            raise NotFound(
                f"no machine waits for an event {event!r} with a key, or is started by it"
                f"{did_you_mean(event, names)}",
                meaning="nothing was changed",
                next_step=f"the events that can be emitted are {', '.join(names)}"
                if names
                else f'wait = {{ event = "{event}", key = "{{params.day}}", timeout = "2d" }}',
            )

    @cached_property
    def _listening(self) -> Listening:
        return Listening(self.catalog)

    def _awaited(self) -> set[str]:
        """Return the events that known machines wait for with a key, broken files left out."""
        found: set[str] = set()
        for name in self.catalog.names():
            with suppress(StatepipeError):
                for state in self.catalog.machine(name).states:
                    if isinstance(state.task, Wait) and state.task.key:
                        found |= set(state.task.events)
        return found
