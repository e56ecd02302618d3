"""
Creating an instance of a machine, whose id may be taken.

    create      at rest in the machine's initial state
    inherited   parameters of an instance that is made of another one
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from statepipe.errors import InstanceExists, InstancePruned
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.program import Program
from statepipe.store.codec import decode
from statepipe.store.file.connection import Store
from statepipe.store.steering import instances as steering

IfExists = Literal["fail", "attach", "skip"]


class Created(NamedTuple):
    """
    What became of it.

    Attributes:
        n: Number of the new instance; None if there already is one of that id.
        id: Its id, or that of the one that is there; None if that one is to be skipped.
    """

    n: int | None
    id: str | None


def create(
    store: Store,
    program: Program,
    *,
    params: bytes,
    instance_id: str | None,
    make_id: Callable[[], str],
    if_exists: IfExists,
    reason: str | None,
) -> Created:
    """Create an instance at rest in the machine's initial state; as `Engine.create`."""
    while True:
        name = instance_id or make_id()
        try:
            (n,) = steering.create(
                store,
                machine=program.name,
                definition=program.definition,
                initial=program.table.machine.initial,
                instances=[steering.NewInstance(name, params)],
                reason=reason,
            )
        except InstanceExists as error:
            if instance_id is None:  # among many made-up ids two are the same
                continue
            if if_exists == "fail" or (if_exists == "attach" and isinstance(error, InstancePruned)):
                raise
            return Created(None, name if if_exists == "attach" else None)
        return Created(n, name)


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
    return catalog.bound(name, {**kept, **given}, at_ms=at_ms)
