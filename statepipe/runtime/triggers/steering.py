"""
What people do to triggers: let one rest, start occasions of the past.

    Triggers.pause, Triggers.unpause
    Triggers.backfill   start occasions of the past, but those that have an instance
    Filled              what came of that
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from statepipe.clock import Clock
from statepipe.errors import InstanceExists
from statepipe.machine.triggers.trigger import Trigger
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.driving.observers import Observers
from statepipe.runtime.program import Program
from statepipe.runtime.triggers.asking import named
from statepipe.runtime.triggers.kinds import Occasion
from statepipe.runtime.triggers.known import register
from statepipe.runtime.triggers.watch import starts_of, tell_of, wanted
from statepipe.store.file.connection import Store
from statepipe.store.lookups.triggers import id_of
from statepipe.store.triggers import deciding, standing
from statepipe.store.triggers.deciding import GROUP, Crowded, Decided
from statepipe.store.walk.admission import crowd, full


class Filled(NamedTuple):
    """The ids of what was started; and why an occasion was skipped, or refused, by its key."""

    started: list[str]
    skipped: Mapping[str, str]
    refused: Mapping[str, str]


class Triggers:
    """
    The triggers of known machines.

    Args:
        catalog: The machines.
        clock: Time.
        observers: Told of each instance that is created.
        rng: For ids.
        store: The store, opened when first asked for.
        program_of: A machine ready to be driven.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        clock: Clock,
        observers: Observers,
        rng: random.Random,
        store: Callable[[], Store],
        program_of: Callable[[str], Program],
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._observers = observers
        self._rng = rng
        self._store = store
        self._program_of = program_of

    def pause(self, name: str, *, reason: str) -> None:
        """
        Start nothing any more by the trigger called "machine.trigger", until `unpause`.

        Raises:
            UsageError, NotFound, DefinitionError: As `asking.named`.
            Refused: It is paused already.
        """
        self._pause(name, paused=True, reason=reason)

    def unpause(self, name: str, *, reason: str) -> None:
        """Go on: what came meanwhile is started, of a schedule by its catchup; else as `pause`."""
        self._pause(name, paused=False, reason=reason)

    def backfill(self, name: str, occasions: Sequence[Occasion], *, reason: str) -> Filled:
        """
        Start what `asking.missing` found, but what has an instance by now.

        Some at a time, each of them in one transaction; what is left over after a crash is
        missing still. An occasion whose parameters make no instance is written down with
        the reason, and so is one that is skipped because its key is taken.

        Raises:
            UsageError, NotFound, DefinitionError: As `asking.named`.
            Busy: As many of the machine are ready as may be; those before are started.
        """
        store, program, trigger, n = self._found(name)
        starts, filled, left = starts_of(program), Filled([], {}, {}), list(occasions)
        skipped, refused = dict[str, str](), dict[str, str]()
        while left:
            room = deciding.room(store.connection, starts)
            some = left[: max(1, min(GROUP, room))]
            try:
                decided, why = self._fill_in(store, program, trigger, n, some, reason=reason)
            except Crowded:
                if len(some) > 1:  # another process has filled the queue meanwhile
                    continue
                most = starts.terms.ready_max or 0
                there = crowd(store.connection, program.name, most=most)
                raise full(
                    program.name, there, more=len(left), most=most, made=len(filled.started)
                ) from None
            tell_of(decided, name, store, self._observers)
            filled.started.extend(id_of(store.connection, each) for each in decided.made)
            skipped |= decided.skipped
            refused |= why
            left = left[len(some) :]
        return filled._replace(skipped=skipped, refused=refused)

    def _fill_in(
        self,
        store: Store,
        program: Program,
        trigger: Trigger,
        n: int,
        some: Sequence[Occasion],
        *,
        reason: str,
    ) -> tuple[Decided, Mapping[str, str]]:
        """Start some, and return what became of them, and which were refused, and why."""
        while True:
            at_ms = self._clock.now_ms()
            asked = [wanted(program, trigger, each, at_ms=at_ms, rng=self._rng) for each in some]
            try:
                decided = deciding.fill_in(
                    store,
                    f"{program.name}.{trigger.name}",
                    n,
                    asked,
                    starts=starts_of(program),
                    reason=reason,
                )
            except InstanceExists:  # among many made-up ids two are the same
                continue
            return decided, {each.key: each.refusal for each in asked if each.refusal is not None}

    def _pause(self, name: str, *, paused: bool, reason: str) -> None:
        store, _, _, n = self._found(name)
        standing.pause(store, n, name=name, paused=paused, reason=reason)

    def _found(self, name: str) -> tuple[Store, Program, Trigger, int]:
        machine, trigger = named(self._catalog, name)
        program = self._program_of(machine.name)
        store = self._store()
        return store, program, trigger, register(store, machine.name, trigger)
