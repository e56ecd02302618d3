"""
An instance whose machine's deadline has passed: whatever took it back to work, nothing would begin.

    lateness            the refusal of that; None if it has time
    refuse_late         raise it
    lateness_of_parts   the same of what would be taken back with an instance: child machines
    refuse_late_parts   raise that
    deadline_of         how long an instance of a machine may take, as its file says now

The deadline is a policy, and what an instance began with does not keep it: raised, it is there
for all that have not ended.
"""

import shlex
from collections.abc import Callable, Iterable
from contextlib import suppress

from statepipe.errors import DefinitionError, NotFound, Refused
from statepipe.machine.definition import Machine
from statepipe.store.file.connection import Store
from statepipe.store.lookups import lookup
from statepipe.store.lookups.lookup import Found
from statepipe.store.walk import children
from statepipe.store.walk.children import GoingOn
from statepipe.tasknames import task_of
from statepipe.units import format_duration


def lateness(
    instance_id: str, machine: str, *, deadline_ms: int | None, created_at_ms: int, now_ms: int
) -> Refused | None:
    """Return why taking an instance back to work would be in vain; None if it has time."""
    if deadline_ms is None or now_ms < created_at_ms + deadline_ms:
        return None
    return Refused(
        f"the time of {instance_id!r} is over: it was created"
        f" {format_duration(now_ms - created_at_ms)} ago, and the deadline of {machine} is"
        f" {format_duration(deadline_ms)}",
        meaning="nothing was changed; nothing of it would begin",
        next_step=f"raise `deadline` of {machine}, which may change at any time;"
        f" then statepipe resume {shlex.quote(instance_id)}",
    )


def refuse_late(store: Store, found: Found, *, deadline_ms: int | None) -> None:
    """
    Refuse an instance that has had its time; what is being cancelled is cleaned all the same.

    Raises:
        Refused: As `lateness` says.
    """
    if deadline_ms is None or found.is_being_cancelled:
        return
    created_at_ms = lookup.created_at_ms(store.connection, found)
    refusal = lateness(
        found.id,
        found.machine,
        deadline_ms=deadline_ms,
        created_at_ms=created_at_ms,
        now_ms=store.clock.now_ms(),
    )
    if refusal is not None:
        raise refusal


def refuse_late_parts(store: Store, found: Found, load: Callable[[str], Machine]) -> None:
    """
    Refuse an instance whose child machine has had its time; likewise.

    Raises:
        Refused: As `lateness_of_parts` says.
    """
    if found.is_being_cancelled:
        return
    parts = children.going_on(store.connection, found.n)
    state = found.failed_state or found.state
    now_ms = store.clock.now_ms()
    refusal = lateness_of_parts(found.id, parts, state=state, load=load, now_ms=now_ms)
    if refusal is not None:
        raise refusal


def lateness_of_parts(
    instance_id: str,
    parts: Iterable[GoingOn],
    *,
    state: str,
    load: Callable[[str], Machine],
    now_ms: int,
) -> Refused | None:
    """Return why an instance would fail at once by what a resume takes back with it, or None."""
    for part in parts:
        refusal = lateness(
            part.id,
            part.machine,
            deadline_ms=None if task_of(part.machine) else deadline_of(load, part.machine),
            created_at_ms=part.created_at_ms,
            now_ms=now_ms,
        )
        if refusal is not None:
            return Refused(
                f"{refusal.message}; it does part of the work of {instance_id!r}",
                meaning=refusal.meaning,
                next_step=f"raise `deadline` of {part.machine}, which may change at any time; then"
                f" statepipe resume {shlex.quote(instance_id)}. Or begin another {part.machine}:"
                f" statepipe rewind {shlex.quote(instance_id)} --to {state}",
            )
    return None


def deadline_of(load: Callable[[str], Machine], machine: str) -> int | None:
    """Return how long an instance may take as `load` has it; None for any time, or no machine."""
    with suppress(NotFound, DefinitionError):
        return load(machine).deadline_ms
    return None
