"""
Creating an instance of a machine, whose id may be taken.

    create      at rest in the machine's initial state
    new_instance    what the store needs to know of it
    inherited   parameters of an instance that is made of another one
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from statepipe.errors import BadParameter, InstanceExists, InstancePruned
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.program import Program
from statepipe.sharing import PRIORITY_MAX
from statepipe.store.codec import decode
from statepipe.store.file.connection import Store
from statepipe.store.steering import instances as steering
from statepipe.store.steering.instances import NewInstance

IfExists = Literal["fail", "attach", "skip"]


class Created(NamedTuple):
    """
    What became of it.

    Attributes:
        n: Number of the new instance; None if there already is one of that id, or of its key.
        id: Its id, or that of the one that is there; None if that one is to be skipped.
        cancelled: Ids of those that had its key and were cancelled, and whether that is done.
    """

    n: int | None
    id: str | None
    cancelled: Mapping[str, bool] = MappingProxyType({})


def create(
    store: Store,
    program: Program,
    *,
    params: bytes,
    instance_id: str | None,
    make_id: Callable[[], str],
    if_exists: IfExists,
    reason: str | None,
    priority: int | None = None,
) -> Created:
    """Create an instance at rest in the machine's initial state; as `Engine.create`."""
    while True:
        name = instance_id or make_id()
        try:
            made = steering.create(
                store,
                machine=program.name,
                definition=program.definition,
                initial=program.table.machine.initial,
                instances=[new_instance(program, name, params, priority=priority)],
                reason=reason,
                terms=program.sharing.terms,
            )
        except InstanceExists as error:
            if instance_id is None:  # among many made-up ids two are the same
                continue
            if if_exists == "fail" or (if_exists == "attach" and isinstance(error, InstancePruned)):
                raise
            return Created(None, name if if_exists == "attach" else None)
        if not made.numbers:  # as many as may be have its key
            return Created(None, None)
        return Created(made.numbers[0], name, made.cancelled)


def new_instance(
    program: Program,
    name: str,
    params: bytes,
    *,
    partition: str | None = None,
    priority: int | None = None,
) -> NewInstance:
    """
    Return an instance to be made, with its key and its priority.

    Raises:
        BadParameter: The key is too long, or `priority` is none.
    """
    sharing = program.sharing
    key = sharing.key_of(program.name, decode(params))
    if priority is not None and not -PRIORITY_MAX <= priority <= PRIORITY_MAX:
        raise BadParameter(
            f"priority is {priority}, outside -{PRIORITY_MAX}..{PRIORITY_MAX}",
            meaning="nothing was created",
            next_step="priority=10",
        )
    return NewInstance(
        name, params, partition, sharing.priority if priority is None else priority, key
    )


def inherited(
    catalog: Catalog, name: str, params: bytes, given: Mapping[str, Any], *, at_ms: int
) -> bytes:
    """
    Return the parameters of another instance, as those of a new one; what is `given` wins.

    Those that the machine `name` does not have any more are left out.

    Raises:
        BadParameter: As `Catalog.bound`.
    """
    known = {param.name for param in catalog.machine(name).params}
    kept = {key: value for key, value in decode(params).items() if key in known}
    try:
        return catalog.bound(name, {**kept, **given}, at_ms=at_ms)
    except BadParameter as error:  # who has an instance already sets, and does not give
        step = error.next_step
        raise BadParameter(
            error.message,
            meaning=error.meaning,
            next_step=f"--set {step[3:]}" if step.startswith("-p ") else step,
        ) from error
