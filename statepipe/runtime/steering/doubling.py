"""
Rows that a load would append once more beside those that are there: refused.

    refuse_doubling   raise the refusal

What was loaded is told by the definition that loaded it, and what will be, by the machine as it
is now: the two need not be the same.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from statepipe.errors import Refused
from statepipe.machine.definition import Machine
from statepipe.machine.paths import graph_of, reached
from statepipe.machine.states.tasks import Load
from statepipe.store.lookups.lookup import Found
from statepipe.units import plural


def refuse_doubling(
    machine: Machine,
    form: Mapping[str, Any],
    undone: Mapping[str, int],
    *,
    found: Found,
    to: str,
    again: str,
) -> None:
    """
    Refuse to do states again whose rows would then be there twice.

    Args:
        machine: What the instance will be one of.
        form: What it was one of until now, in canonical form.
        undone: How many batches each state has loaded that would be done again.
        found: Where it stands.
        to: The state that it goes on in.
        again: The command, up to the name of that state.

    Raises:
        Refused: One of them would.
    """
    for state, count in undone.items():
        if not count:
            continue
        old = form["states"].get(state, {}).get("task", {})
        for name, new in _appending(machine, to):
            if name == state or (_is_new(form, name, new) and _is_same_table(old, new)):
                were = f"{plural(count, 'batch')} of {found.id!r} {'was' if count == 1 else 'were'}"
                raise _refusal(were, old, new, name=name, machine=machine, again=f"{again} {to}")


def _appending(machine: Machine, to: str) -> Iterator[tuple[str, Load]]:
    """Yield what appends in `to` or after it."""
    for name in sorted(reached(graph_of(machine), [to])):
        task = machine.state(name).task
        if isinstance(task, Load) and task.mode == "append":
            yield name, task


def _is_new(form: Mapping[str, Any], name: str, new: Load) -> bool:
    """Return whether a state that appends is not what it was until now."""
    was = form["states"].get(name, {}).get("task", {})
    return not (_appends(was) and was["load"] == new.to and was["table"] == new.table)


def _appends(form: Mapping[str, Any]) -> bool:
    return "load" in form and not form["key"] and form.get("mode") != "replace"


def _is_same_table(old: Mapping[str, Any], new: Load) -> bool:
    """Return whether both may be one table: an address can be written in several ways."""
    if not new.table:
        return bool(old.get("load") == new.to)
    one, other = (name.rpartition(".")[2].casefold() for name in (old.get("table", ""), new.table))
    return bool(one == other)


def _refusal(
    were: str, old: Mapping[str, Any], new: Load, *, name: str, machine: Machine, again: str
) -> Refused:
    if _appends(old) and (old["load"], old["table"]) == (new.to, new.table):
        return Refused(
            f"{were} appended to {new.table or new.to!r}, which has no key to upsert by: loading"
            " again would double what is there",
            meaning="nothing was changed; the rows stay as they are",
            next_step=f"delete its rows by hand, then start another instance of {machine.name}",
        )
    place = old.get("table") or old.get("load")
    how = f"{'upserted' if old.get('key') else 'loaded'} into {place!r}" if place else "loaded"
    return Refused(
        f"{were} {how}, and {name!r} of the machine as it is now appends to"
        f" {new.table or new.to!r}: loading again could double what is there",
        meaning="nothing was changed; the rows stay as they are",
        next_step=f"restore the machine, or give {name!r} a key, then: {again} --definition latest",
    )
