"""
An instance whose machine is not what it began with: refused, unless it may go on with that.

    refuse_changed   raise the refusal
    adoptions        the same of the child machines below it, which go on with it

An instance goes on with the machine it began with, and so does one of another machine that does
part of its work: that machine's file is another one, and may have changed when the parent's has
not. It goes on with what its machine is now only if that is said of it, or of its parent.
"""

import json
import shlex
from collections.abc import Callable, Container, Sequence
from typing import Any, Final, Protocol

from statepipe.errors import DefinitionChanged, DefinitionError, NotFound
from statepipe.machine.definition import Machine
from statepipe.machine.digest import describe_changes
from statepipe.model import Status
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.program import Program, unknown_state
from statepipe.store import liveness
from statepipe.store.file.connection import Store
from statepipe.store.liveness import Worker
from statepipe.store.lookups import lookup
from statepipe.store.lookups.lookup import Found, definition_body
from statepipe.store.walk.children import Adoption
from statepipe.store.walk.claims import dead_workers

_ENDED: Final = (Status.FAILED, Status.CANCELLED)


class Known(Protocol):
    """What is known of a machine as it is now; a `Program` knows more."""

    @property
    def definition(self) -> int:
        """The number of its definition in the store."""

    @property
    def parts(self) -> Container[str]:
        """Its acting states by name."""

    @property
    def machine(self) -> Machine:
        """Its definition."""


def refuse_changed(
    found: Found,
    program_of: Callable[[str], Known],
    *,
    connection: Any,  # noqa: ANN401  (the store's own)
    catalog: Catalog,
    adopts: bool,
    whole: str | None = None,
    rewind_to: str = "",
) -> None:
    """
    Refuse an instance whose machine is not what it began with.

    Args:
        found: Where the instance stands.
        program_of: Gives its machine as it is now.
        connection: Of the store, which has the definition it began with.
        catalog: Knows the form of the machine.
        adopts: True to let it go on with the machine as it is now, if that can be.
        whole: The id of the one that goes on if it does part of its work.
        rewind_to: The state that a rewind puts it back into, which is what is refused then;
            "" for a resume.

    Raises:
        DefinitionChanged: What changed, and what to do.
    """
    again = f"statepipe resume {shlex.quote(whole or found.id)}"
    if rewind_to:
        again = f"statepipe rewind {shlex.quote(found.id)} --to {rewind_to}"
    try:
        program = program_of(found.machine)
    except (NotFound, DefinitionError) as error:
        raise _changed(found, [error.message], again, adoptable=False, whole=whole) from error
    states = [rewind_to] if rewind_to else _goes_on_in(found)
    lost = next((state for state in states if state not in program.parts), None)
    if program.definition == found.definition:
        if lost is not None and not rewind_to and found.status != Status.DONE:
            raise _astray(found, lost, again, whole=whole)
        return
    if adopts and lost is None:
        return
    body = definition_body(connection, found.definition)
    changes = describe_changes(json.loads(body), catalog.form(program.machine))
    raise _changed(found, changes, again, adoptable=lost is None, whole=whole)


def adoptions(
    found: Found,
    program_of: Callable[[str], Program],
    *,
    store: Store,
    catalog: Catalog,
    adopts: bool,
    me: Worker | None,
) -> list[Adoption]:
    """
    Return what goes on by its machine of now, of the child machines below an instance.

    One that a living process drives is left to that. `me` is this process.

    Raises:
        DefinitionChanged: One of them began with another definition, and `adopts` is False, or
            its machine has no more the state it is in.
    """
    below = lookup.machines_below(store.connection, found)
    if not below:
        return []
    living = liveness.living(store.connection, dead=dead_workers(store, me=me))
    made = []
    for part, worker in below:
        if worker in living:
            continue
        refuse_changed(
            part,
            program_of,
            connection=store.connection,
            catalog=catalog,
            adopts=adopts,
            whole=found.id,
        )
        number = program_of(part.machine).definition
        if number != part.definition:
            made.append(Adoption(part.n, part.seq, number))
    return made


def _goes_on_in(found: Found) -> Sequence[str]:
    """Return the states that its machine must have: it goes on there, or comes to rest there."""
    states = [found.failed_state, None if found.status in _ENDED else found.state]
    return [state for state in states if state is not None]


def _changed(
    found: Found, changes: Sequence[str], again: str, *, adoptable: bool, whole: str | None
) -> DefinitionChanged:
    """Return the error that says what changed; `adoptable` if the machine could go on with it."""
    return DefinitionChanged(
        f"machine {found.machine!r} changed since {found.id!r} began{_part_of(whole)}: "
        + "; ".join(changes),
        meaning=f"nothing was changed; the instance rests in {found.failed_state or found.state!r}",
        next_step=f"restore the machine, or: {again} --definition latest"
        if adoptable
        else f"restore the machine as it was, then: {again}",
    )


def _astray(found: Found, state: str, again: str, *, whole: str | None) -> DefinitionChanged:
    return DefinitionChanged(
        f"{unknown_state(found.machine, state, found.id)}{_part_of(whole)}",
        meaning="nothing was changed",
        next_step=f"give {found.machine} that state again, then: {again} --definition latest",
    )


def _part_of(whole: str | None) -> str:
    return "" if whole is None else f" (it does part of the work of {whole!r})"
