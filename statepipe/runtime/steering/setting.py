"""
Other parameters for an instance that is resumed.

    Setting         what they were, what they become, and the words for the journal
    setting         worked out for one instance, typed as its machine declares them
    changed         the same for parameters that were read
    changes_of      what is changed of some parameters, a text each

What came of the old value stays: staged batches, results, a plan to load. Only what is done from
here on sees the new one.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from statepipe.errors import BadParameter, Refused
from statepipe.io.plainjson import jsonable
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.steering.creating import inherited
from statepipe.sharing import Sharing
from statepipe.store.codec import decode
from statepipe.store.file.connection import Store
from statepipe.store.lookups import lookup
from statepipe.store.lookups.lookup import Found


class Setting(NamedTuple):
    """
    The parameters of one instance, changed.

    Attributes:
        before: What they were, encoded; the row must still have it.
        after: What they become, encoded.
        changed: What that changes, a text each, such as "count 6 -> 2".
    """

    before: bytes
    after: bytes
    changed: tuple[str, ...]

    def note(self, reason: str | None) -> str:
        """Return what the journal says: the changes, and the reason."""
        return ": ".join(filter(None, (", ".join(self.changed), reason)))


def setting(
    store: Store, catalog: Catalog, found: Found, given: Mapping[str, Any], *, sharing: Sharing
) -> Setting:
    """Return what becomes of the parameters of an instance, now; raises as `changed`."""
    before, partition = lookup.params_of(store.connection, found)
    return changed(
        catalog,
        found.machine,
        before,
        given,
        partition=partition,
        sharing=sharing,
        at_ms=store.clock.now_ms(),
    )


def changed(
    catalog: Catalog,
    machine: str,
    before: bytes,
    given: Mapping[str, Any],
    *,
    partition: str | None,
    sharing: Sharing,
    at_ms: int,
) -> Setting:
    """
    Return what becomes of the parameters of an instance.

    Args:
        catalog: Which knows its machine.
        machine: The machine's name.
        before: Its parameters, encoded.
        given: The new values: text, or typed.
        partition: The key of the partition that it is, None if it is none.
        sharing: How the instances of its machine share workers.
        at_ms: The moment, for a date such as "today".

    Raises:
        BadParameter: One is unknown, or not of its type.
        Refused: One says which partition it is, or is in the key that only so many may have.
    """
    how = catalog.machine(machine).partition
    if partition is not None and how is not None:
        for name in (how.param, how.until):
            if name in given:
                raise Refused(
                    f'"{name}" says which partition the instance is: it is {partition}',
                    meaning="nothing was changed",
                    next_step=f"statepipe run {machine} --partition KEY   # another partition",
                )
    for name in () if sharing.concurrency is None else sharing.concurrency.params:
        if name in given:  # by the key that it was made with it is counted, and waits for its turn
            raise Refused(
                f'"{name}" is in the concurrency key of {machine}, which an instance keeps',
                meaning="nothing was changed",
                next_step=f"statepipe restart ID -p {name}=VALUE   # another one, with its own key",
            )
    try:
        after = inherited(catalog, machine, before, given, at_ms=at_ms)
    except BadParameter as error:
        raise BadParameter(
            error.message, meaning="nothing was changed", next_step=error.next_step
        ) from error
    return Setting(before, after, tuple(changes_of(before, after, given)))


def changes_of(before: bytes, after: bytes, names: Iterable[str]) -> list[str]:
    """Return what is changed of the parameters `names`, a text each."""
    old, new = decode(before), decode(after)
    return [
        f"{name} {jsonable(old.get(name))} -> {jsonable(new[name])}"
        for name in names
        if old.get(name) != new[name]
    ]
