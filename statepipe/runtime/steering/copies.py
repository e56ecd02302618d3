"""
Instances made of another one, which is not touched.

    Copies.restart      from the start, with its parameters
    Copies.fork         from a state it was in, with what it knew and had staged then

`Engine.run` or a worker drives them, as any other instance.
"""

import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from statepipe.clock import Clock
from statepipe.errors import DefinitionChanged, InstanceExists, Refused
from statepipe.machine.states.tasks import Load
from statepipe.model import Stay
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.driving.observers import Observers
from statepipe.runtime.picture import Picture
from statepipe.runtime.program import Program
from statepipe.runtime.steering.adopting import refuse_changed
from statepipe.runtime.steering.creating import inherited, new_instance
from statepipe.runtime.steering.rewinding import rewound
from statepipe.runtime.steering.setting import changes_of
from statepipe.runtime.steering.way import Passage
from statepipe.store.file.connection import Store
from statepipe.store.lookups.lookup import definition_body
from statepipe.store.stage.directory import Stage
from statepipe.store.steering.copying import GIVEN, Given, Looked, create, free_id, look
from statepipe.store.walk.children import refuse_part
from statepipe.store.walk.making import New


class Copies:
    """
    Makes instances of others, for one engine.

    Args:
        catalog: The machines known.
        clock: Time.
        observers: Told of what is journaled.
        store: The store, opened when first asked for; and where it keeps staged batches.
        program_of: A machine by name, ready to be driven.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        clock: Clock,
        observers: Observers,
        store: Callable[[], tuple[Store, Stage]],
        program_of: Callable[[str], Program],
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._observers = observers
        self._store_of = store
        self._program_of = program_of

    def restart(
        self,
        instance_id: str,
        *,
        params: Mapping[str, Any] | None = None,
        new_id: str | None = None,
        reason: str | None = None,
    ) -> str:
        """
        Make an instance that does all that another one did, from the start; return its id.

        It is of the machine as it is now. It loads under an identity of its own, so what has
        no key to upsert by is there twice.

        Args:
            instance_id: Which one, whatever it is doing.
            params: Values in place of those that it had.
            new_id: The id of the new one, or None to have one made.
            reason: Why, for the journal.

        Raises:
            NotFound, DefinitionError: No such instance, or its machine is gone or wrong.
            BadParameter: A parameter is unknown, of the wrong type, or now wanted.
            InstanceExists: The id is taken.
            Refused: It replays what another one rejected; or another one has its key, and
                nothing is made then (`concurrency`).
            Busy: As many of the machine are ready as may be (`ready_max`).
        """
        looked = self._look(instance_id, verb="restart")
        program = self._program_of(looked.found.machine)
        encoded, changed = self._params(looked, params or {})
        new = New(
            id="",
            definition=program.definition,
            params=encoded,
            state=program.table.machine.initial,
            now_ms=self._clock.now_ms(),
            event="restart",
            note=_note(looked, changed, reason),
            partition=looked.partition,
        )
        return self._make(looked, new, program, given=None, new_id=new_id)

    def fork(
        self,
        instance_id: str,
        *,
        at: str | None = None,
        params: Mapping[str, Any] | None = None,
        new_id: str | None = None,
        adopts: bool = False,
        reason: str | None = None,
    ) -> str:
        """
        Make an instance that goes on from where another one was; return its id.

        It knows what the other knew when it last entered that state, and has copies of its own
        of the batches that were that state's input.

        Args:
            instance_id: Which one, whatever it is doing.
            at: The state, one that it was in; None for the one it rests or failed in.
            params: Values in place of those that it had; results that came of those stay.
            new_id: The id of the new one, or None to have one made.
            adopts: Whether the machine may have changed since: it goes on with what it is now.
            reason: Why, for the journal.

        Raises:
            NotFound: No such instance, or it never was in that state.
            DefinitionChanged: The machine has changed, and `adopts` is False.
            BadParameter, InstanceExists: As `restart`.
            Refused: The state is final, or needs batches that were given back, or loads
                what another one has appended; or the instance replays rejected records; or
                another one has its key, as `restart`.
            Busy: As `restart`.
            StagedDataDamaged: A staged batch is not what was committed.
        """
        looked = self._look(instance_id, verb="fork")
        found = looked.found
        at = at or found.failed_state or found.state
        program = self._unchanged(looked, at, adopts=adopts)
        picture = rewound(
            [Passage(*row) for row in looked.steps],
            found=found,
            machine=program.table.machine,
            form=json.loads(definition_body(self._store_of()[0].connection, found.definition)),
            to=at,
            loaded=looked.loaded,
            is_staged=lambda stay: looked.staged.get(stay, 0) > 0,
            verb="fork",
        )
        encoded, changed = self._params(looked, params or {})
        picture, given = _given(looked, program, at, picture)
        new = New(
            id="",
            definition=program.definition,
            params=encoded,
            state=at,
            now_ms=self._clock.now_ms(),
            event="fork",
            note=_note(looked, changed, reason),
            partition=looked.partition,
            picture=picture,
        )
        return self._make(looked, new, program, given=given, new_id=new_id)

    def _look(self, instance_id: str, *, verb: str) -> Looked:
        store, _ = self._store_of()
        looked = look(store, instance_id)
        refuse_part(store.connection, looked.found.n, instance_id, verb=verb)
        if looked.replays is not None:
            raise Refused(
                f"{instance_id!r} replays what {looked.replays!r} rejected: a {verb} of it would"
                " load these records twice",
                meaning="nothing was made",
                next_step=f"statepipe quarantine replay {shlex.quote(looked.replays)} --dry-run",
            )
        return looked

    def _unchanged(self, looked: Looked, at: str, *, adopts: bool) -> Program:
        found = looked.found
        if not adopts:
            store, _ = self._store_of()
            try:
                refuse_changed(
                    found,
                    self._program_of,
                    connection=store.connection,
                    catalog=self._catalog,
                    adopts=False,
                )
            except DefinitionChanged as error:
                raise DefinitionChanged(
                    error.message,
                    meaning="nothing was made",
                    next_step="restore the machine, or: statepipe fork"
                    f" {shlex.quote(found.id)} --at {at} --definition latest",
                ) from error
        return self._program_of(found.machine)

    def _params(self, looked: Looked, given: Mapping[str, Any]) -> tuple[bytes, list[str]]:
        """Return the parameters of the copy, and what is changed of them, for the journal."""
        now_ms = self._clock.now_ms()
        encoded = inherited(self._catalog, looked.found.machine, looked.params, given, at_ms=now_ms)
        return encoded, changes_of(looked.params, encoded, given)

    def _make(
        self,
        looked: Looked,
        new: New,
        program: Program,
        *,
        given: Given | None,
        new_id: str | None,
    ) -> str:
        store, stage = self._store_of()
        new = _shared(new, program)
        origin_id = looked.found.id
        while True:
            name = new_id or free_id(store.connection, origin_id, new.event)
            try:
                made = create(
                    store,
                    new._replace(id=name),
                    origin=looked.found,
                    given=given,
                    stage=stage,
                    terms=program.sharing.terms,
                )
            except InstanceExists:
                if new_id is None:  # somebody else has just made one
                    continue
                raise
            self._observers.journaled(store, made.n, seq=1)
            for each, done in made.cancelled.items():
                self._observers.asked(store, each, kind="cancel" if done else "request")
            return name


def _given(
    looked: Looked, program: Program, at: str, picture: bytes | None
) -> tuple[bytes | None, Given | None]:
    """Return what the copy knows, and what it is given."""
    known = Picture.read(picture)
    if known.input is None:
        return picture, None
    loads = isinstance(program.table.machine.state(at).task, Load)
    given = Given(
        n=looked.found.n,
        stay=known.input,
        batches=looked.staged.get(known.input, 0),
        loads=Stay(1, at, known.visit(at)) if loads else None,
    )
    return known._replace(input=known.input._replace(generation=GIVEN)).write(), given


def _shared(new: New, program: Program) -> New:
    """Return `new` with the key and the priority that its parameters give it."""
    as_made = new_instance(program, new.id, new.params)
    return new._replace(priority=as_made.priority, key=as_made.key)


def _note(looked: Looked, changed: list[str], reason: str | None) -> str:
    said = ", ".join([f"of {looked.found.id}", *changed])
    return f"{said}: {reason}" if reason else said
