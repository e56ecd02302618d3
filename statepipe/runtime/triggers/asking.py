"""
What people ask of triggers; nothing is started or changed.

    named       a trigger of a machine, by its name
    standings   how all triggers stand: those of machine files, and those that the store knows
    preview     what an occasion would start, or why nothing
    previewed   what a trigger would start from a moment on
    missing     the occasions of a period that have no instance yet
"""

import json
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Any, Final, NamedTuple

from statepipe.errors import (
    BadParameter,
    DefinitionError,
    NotFound,
    Refused,
    UsageError,
    ValueRefused,
)
from statepipe.machine.definition import Machine
from statepipe.machine.triggers.schedules import Schedule
from statepipe.machine.triggers.trigger import Trigger
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.triggers.kinds import Asked, Occasion
from statepipe.runtime.triggers.known import KINDS, broken, declared, listens_of
from statepipe.runtime.triggers.watch import bound
from statepipe.sharing import Sharing
from statepipe.store.codec import encode
from statepipe.store.lookups.triggers import Listed, listed, taken
from statepipe.store.triggers.standing import written
from statepipe.store.walk.admission import crowd
from statepipe.suggest import did_you_mean

#: Occasions that one backfill may ask for.
BACKFILL_MAX: Final = 10_000


class Stands(NamedTuple):
    """
    How a trigger stands.

    Attributes:
        machine: Whose it is.
        name: Its name.
        trigger: Its definition; None if no machine file has it any more.
        row: What the store knows; None if no worker has seen it yet.
        due: How many occasions are due and not yet decided upon, as far as one look sees.
        next_at_ms: When the next one is due, if the clock tells.
        waits: Why what is due is not decided upon; None if nothing is in its way.
        broken: Why the file of its machine cannot be read, so it starts nothing; None if it can.
    """

    machine: str
    name: str
    trigger: Trigger | None
    row: Listed | None
    due: int
    next_at_ms: int | None
    waits: str | None = None
    broken: str | None = None


class Missing(NamedTuple):
    """The occasions of a period: those that have no instance yet, and how many have one."""

    occasions: tuple[Occasion, ...]
    taken: int


class Preview(NamedTuple):
    """What an occasion would start: with which parameters, or why nothing."""

    key: str
    params: dict[str, Any] | None
    refusal: str | None


def named(catalog: Catalog, name: str) -> tuple[Machine, Trigger]:
    """
    Return the trigger called "machine.trigger", and its machine.

    Raises:
        UsageError, NotFound, DefinitionError: There is none; or as `Catalog.sound`.
    """
    owner, dot, own = name.partition(".")
    if not dot:
        raise UsageError(
            f"{name!r} does not name a trigger",
            meaning="nothing was changed",
            next_step="MACHINE.TRIGGER, as `statepipe triggers ls` lists them",
        )
    machine = catalog.sound(owner)
    for trigger in machine.triggers:
        if trigger.name == own:
            return machine, trigger
    names = [each.name for each in machine.triggers]
    raise NotFound(
        f"machine {owner!r} has no trigger {own!r}{did_you_mean(own, names)}",
        meaning="nothing was changed",
        next_step=f"its triggers are {', '.join(names) or 'none'}",
    )


def standings(
    catalog: Catalog,
    connection: Any,  # noqa: ANN401  (the store's own, or None)
    *,
    now_ms: int,
    sharing_of: Callable[[Machine], Sharing],
) -> list[Stands]:
    """Return how all triggers stand; of a machine whose file is broken those that were seen."""
    rows = {} if connection is None else {(e.machine, e.name): e for e in listed(connection)}
    found = [
        _stands(machine, trigger, rows.pop((machine, trigger.name), None), connection, now_ms)
        for machine, trigger in declared(catalog)
    ]
    found = [
        each._replace(waits=_crowded(catalog.machine(each.machine), connection, sharing_of))
        if each.due
        else each
        for each in found
    ]
    found += [Stands(row.machine, row.name, None, row, 0, None) for row in rows.values()]
    unread = broken(catalog)
    found = [
        each._replace(broken=unread[each.machine].message) if each.machine in unread else each
        for each in found
    ]
    return sorted(found, key=lambda each: (each.machine, each.name))


def preview(
    machine: Machine, trigger: Trigger, occasion: Occasion, *, now_ms: int, sharing: Sharing
) -> Preview:
    """Return what an occasion would start now, or why its parameters make no instance."""
    try:
        params = bound(machine, trigger, occasion, at_ms=now_ms)
        encode(params)
        sharing.key_of(machine.name, params)
    except (BadParameter, ValueRefused) as error:
        return Preview(occasion.key, None, error.message)
    return Preview(occasion.key, params, None)


def previewed(
    machine: Machine,
    trigger: Trigger,
    connection: Any,  # noqa: ANN401  (the store's own)
    *,
    from_ms: int,
    count: int,
    now_ms: int,
    sharing: Sharing,
) -> list[Preview]:
    """Return what the first `count` occasions from a moment on would start."""
    asked = Asked(f"{machine.name}.{trigger.name}", trigger, now_ms, connection)
    occasions = KINDS[trigger.on.kind].between(asked, from_ms, None)
    return [
        preview(machine, trigger, each, now_ms=now_ms, sharing=sharing)
        for each in islice(occasions, count)
    ]


def missing(
    machine: Machine,
    trigger: Trigger,
    connection: Any,  # noqa: ANN401  (the store's own; None for a schedule without any store)
    *,
    from_ms: int,
    until_ms: int,
    now_ms: int,
) -> Missing:
    """
    Return the occasions from one moment to another, both included, that have no instance.

    Raises:
        Refused: They are too many, or some are still to come.
    """
    if until_ms > now_ms:
        raise _refused("the end of the period is still to come", "--to a moment of the past")
    asked = Asked(f"{machine.name}.{trigger.name}", trigger, now_ms, connection)
    between = KINDS[trigger.on.kind].between(asked, from_ms, until_ms)
    occasions = tuple(islice(between, BACKFILL_MAX + 1))
    if len(occasions) > BACKFILL_MAX:
        raise _refused(f"more than {BACKFILL_MAX:,} occasions", "choose a shorter period")
    if connection is None:
        return Missing(occasions, 0)
    keys = [each.key for each in occasions]
    listens = written(listens_of(trigger))
    had = taken(connection, machine.name, trigger.name, keys, listens=listens)
    return Missing(tuple(each for each in occasions if each.key not in had), len(had))


def _refused(what: str, next_step: str) -> Refused:
    return Refused(what, meaning="nothing was started", next_step=next_step)


def _stands(
    machine: str,
    trigger: Trigger,
    row: Listed | None,
    connection: Any,  # noqa: ANN401  (the store's own)
    now_ms: int,
) -> Stands:
    if connection is None:
        return Stands(machine, trigger.name, trigger, row, 0, None)
    kind = KINDS[trigger.on.kind]
    asked = Asked(f"{machine}.{trigger.name}", trigger, now_ms, connection)
    is_known = row is not None and row.listens == written(listens_of(trigger))
    position = json.loads(row.position) if row is not None and is_known else kind.begin(asked)
    due = kind.look(asked, position)
    next_at_ms = due.look_at_ms if isinstance(trigger.on, Schedule) else None
    return Stands(machine, trigger.name, trigger, row, len(due.occasions), next_at_ms)


def _crowded(
    machine: Machine,
    connection: Any,  # noqa: ANN401  (the store's own)
    sharing_of: Callable[[Machine], Sharing],
) -> str | None:
    """Return that the queue of a machine is full; None if it is not."""
    most = None
    with suppress(DefinitionError):
        most = sharing_of(machine).ready_max
    if most is None or (ready := crowd(connection, machine.name, most=most)) < most:
        return None
    return f"the queue is full ({ready:,} of {most:,} ready)"
