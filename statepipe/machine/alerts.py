"""
Who is told of what the instances of one machine do: the machine's `notify` and the targets' `on`.

    Alerts      by final state, and for retries that were of no use
    alerts_of   worked out once for a machine; None if nobody is told of anything
    alerts_of_task      the same for a task of several, which is an instance of its own
    hearers     the targets that are told of one event of any instance
    named_targets   all that a machine names

A target is told of an event once, however many ways lead to it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from statepipe.machine.definition import FAILED_STATE, Machine
from statepipe.machine.states.taskgraph import GraphTask
from statepipe.notify import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """
    Who is told of what an instance does, and what every notice says of where that was.

    Attributes:
        store: The id of the store.
        env: The environment, None if none was chosen.
        version: The machine's version.
        ends: The targets that are told of an end, by the final state.
        exhausted: The targets that are told of a state left with all attempts used up.
        drift: The targets that are told of a source whose records change their shape.
        skipped: The targets that are told of a state that has ended without some of its tasks.
    """

    store: str
    env: str | None
    version: int
    ends: Mapping[str, tuple[str, ...]]
    exhausted: tuple[str, ...]
    drift: tuple[str, ...]
    skipped: tuple[str, ...] = ()


def alerts_of(
    machine: Machine, targets: Mapping[str, Target], *, store: str, env: str | None
) -> Alerts | None:
    """
    Return who is told of what instances of `machine` do; None if nobody is.

    Args:
        machine: The definition; every target it names is one of `targets`.
        targets: All that there are, by name.
        store: The id of the store.
        env: The environment, None if none was chosen.
    """
    ends = {}
    for state in machine.states:
        if state.final is not None:
            event = "done" if state.final == "success" else "failed"
            told = (*state.notify, *hearers(event, machine.name, targets, named=machine.notify))
            if told:
                ends[state.name] = tuple(dict.fromkeys(told))
    exhausted = hearers("retries_exhausted", machine.name, targets, named=machine.notify)
    drift = hearers("drift", machine.name, targets, named=machine.notify)
    skipped = hearers("skipped", machine.name, targets, named=machine.notify)
    if not ends and not exhausted and not drift and not skipped:
        return None
    return Alerts(
        store=store,
        env=env,
        version=machine.version,
        ends=ends,
        exhausted=exhausted,
        drift=drift,
        skipped=skipped,
    )


def alerts_of_task(
    task: GraphTask, parent: Machine, targets: Mapping[str, Target], *, store: str, env: str | None
) -> Alerts | None:
    """
    Return who is told of what the instances of a task do; None if nobody is.

    Its failure is told if others go on in spite of it; otherwise the parent fails with it, and
    tells. That it is done is told by the parent as well.

    Args:
        task: One of several in a state.
        parent: The machine of that state.
        targets: As in `alerts_of`.
        store: As in `alerts_of`.
        env: As in `alerts_of`.
    """
    alerts = alerts_of(parent, targets, store=store, env=env)
    if alerts is None:
        return None
    failed = () if task.on_error == "halt" else alerts.ends.get(FAILED_STATE, ())
    if not failed and not alerts.exhausted:
        return None
    return replace(alerts, ends={FAILED_STATE: failed} if failed else {}, drift=(), skipped=())


def hearers(
    event: str, machine: str, targets: Mapping[str, Target], *, named: Collection[str]
) -> tuple[str, ...]:
    """
    Return the names of the targets that are told of `event`.

    Args:
        event: One of `notify.EVENTS`.
        machine: The name of the machine whose instance it is.
        targets: All that there are, by name.
        named: What the machine's own `notify` names.
    """
    return tuple(
        name
        for name, target in targets.items()
        if target.hears(event, machine=machine, named=name in named)
    )


def named_targets(machine: Machine) -> list[str]:
    """Return the targets that `machine` and its states name."""
    return [*machine.notify, *(name for state in machine.states for name in state.notify)]
