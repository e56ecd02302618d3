"""
What is proved of machines that depend on each other: by waits for datasets, by `after` triggers.

    needs       which machines one needs, and where it says so: Need
    check       every finding about what one machine needs of the others
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from statepipe.errors import BadParameter, DefinitionError
from statepipe.filling import filled, params_in, whole
from statepipe.machine.checks.findings import Finding
from statepipe.machine.definition import Machine
from statepipe.machine.parameter import Param
from statepipe.machine.partition import Partition, chosen
from statepipe.machine.paths import one_cycle, reached, reversed_graph
from statepipe.machine.states.datasets import Dataset, in_utc
from statepipe.machine.states.taskgraph import Child
from statepipe.machine.states.tasks import Run
from statepipe.machine.states.waits import Wait
from statepipe.machine.triggers.places import places_of
from statepipe.machine.triggers.trigger import Trigger
from statepipe.machine.triggers.upstreams import After, upstream_param
from statepipe.suggest import did_you_mean

#: What a key is tried with: a value of each type that keys of dates are made of.
_SAMPLES: Final[Mapping[str, Any]] = {
    "date": dt.date(2013, 2, 1),
    "datetime": dt.datetime(2013, 2, 1, 5, tzinfo=dt.UTC),
}
_KEYS: Final = {"hour": "2013-02-01T05", "day": "2013-02-01", "month": "2013-02"}


class Need(NamedTuple):
    """A machine that another one needs, and the place that says so."""

    machine: str
    kind: str  # "instance", "partition", "group", "watermark", "covers"
    where: str
    state: str | None = None


def needs(machine: Machine) -> list[Need]:
    """Return what `machine` needs of others, in the order it says so."""
    found = [
        Need(state.task.dataset.machine, state.task.dataset.kind, "wait.dataset", state.name)
        for state in machine.states
        if isinstance(state.task, Wait) and state.task.dataset is not None
    ]
    return found + [
        Need(each.on.machine, each.on.form, f"triggers.{each.name}.after")
        for each in machine.triggers
        if isinstance(each.on, After)
    ]


def check(machine: Machine, others: Mapping[str, Machine | None]) -> list[Finding]:
    """
    Return what is wrong with what `machine` needs of others.

    Args:
        machine: The definition.
        others: All machines there are by name, this one too; None for one that is broken.
    """
    findings = []
    for need in needs(machine):
        if need.machine not in others:
            names = ", ".join(sorted(others))
            message = f"there is no machine {need.machine!r}{did_you_mean(need.machine, others)}"
            findings.append(_error(need, message, f"there are {names}"))
        elif (other := others[need.machine]) is not None:
            findings += _misfit(need, other)
    for state in machine.states:
        if isinstance(state.task, Wait) and state.task.dataset is not None:
            findings += _bad_key(machine, state.name, state.task, state.task.dataset, others)
    for trigger in machine.triggers:
        if isinstance(trigger.on, After):
            findings += _bad_params(trigger, others.get(trigger.on.machine))
    return findings + _circle(machine, others)


def _misfit(need: Need, other: Machine) -> Iterator[Finding]:
    """What the other machine does not have, and so is never there."""
    partition = other.partition
    if need.kind in {"partition", "group", "covers"} and partition is None:
        yield _error(
            need,
            f"machine {other.name!r} does not say what its partitions are",
            f'[partition], and by = "date", in {other.name}.toml',
        )
    has_mark = any(isinstance(each.task, Run) and each.task.watermark for each in other.states)
    if need.kind == "watermark" and not has_mark:
        yield _error(
            need,
            f"no source of machine {other.name!r} has a watermark",
            f'watermark = "updated_at" in the state of {other.name}.toml that reads',
        )


def _bad_params(trigger: Trigger, other: Machine | None) -> Iterator[Finding]:
    """Forms that the other's partitions do not have, and parameters that it does not."""
    after = trigger.on
    assert isinstance(after, After)
    if other is None:
        return
    need = Need(other.name, after.form, f"triggers.{trigger.name}.after")
    how = other.partition
    steps = {"day": ("hour",), "month": ("hour", "day")}
    if how is not None and after.covers is not None and how.step not in steps[after.covers]:
        yield _error(
            need,
            f"covers a {after.covers}, and the partitions of {other.name!r} are by"
            f" {how.step or how.by}",
            'partition = "each", or group = "each"',
        )
    if how is not None and after.partition == "latest" and how.by == "list":
        yield _error(
            need,
            f"the partitions of {other.name!r} are listed: none of them is later than another",
            'partition = "each", or group = "each"',
        )
    declared = [each.name for each in other.params]
    for key, value in trigger.params.items():
        for name in map(upstream_param, places_of(value) or ()):
            if name is not None and name not in declared:
                yield _error(
                    need,
                    f"params.{key}: machine {other.name!r} has no parameter {name!r}"
                    f"{did_you_mean(name, declared)}",
                    f"its parameters are {', '.join(declared) or 'none'}",
                )


def _bad_key(
    machine: Machine,
    state: str,
    wait: Wait,
    dataset: Dataset,
    others: Mapping[str, Machine | None],
) -> Iterator[Finding]:
    """The key of a partition that no partition of the other machine ever has."""
    other = others.get(dataset.machine)
    if dataset.kind != "partition" or other is None or other.partition is None:
        return
    how, need = other.partition, Need(other.name, "partition", "wait.dataset", state)
    only, own = whole(wait.key), machine.partition and machine.partition.param
    if other.name == machine.name and only is not None and only == own:
        yield _error(need, "waits for the partition that it is itself", "wait for another one")
    types = {each.name: each.type for each in machine.params}
    param = next(each for each in other.params if each.name == how.param)
    if only is not None and types[only] in {param.type, "text"}:
        return
    named = params_in(wait.key)
    if any(types[name] not in _SAMPLES for name in named):
        return
    text = filled(wait.key, {name: _SAMPLES[types[name]] for name in named}, as_text=in_utc)
    if not _is_key(how, param, text):
        wanted = _KEYS.get(str(how.step), "a key that it lists")
        yield _error(
            need,
            f"partition {wait.key!r} becomes {text!r}, which no partition of {other.name!r} is",
            f"its partitions are called such as {wanted}"
            if how.by == "date"
            else f"its partitions are by {how.by}",
        )


def _is_key(how: Partition, param: Param, text: str) -> bool:
    if how.source is not None:
        return True
    try:
        (found,) = chosen(how, param, [text], listed=how.values, today=dt.date(2000, 1, 1))
    except (BadParameter, DefinitionError):
        return False
    return found.key == text


def _circle(machine: Machine, others: Mapping[str, Machine | None]) -> list[Finding]:
    """Machines that wait for each other: none of them would ever begin."""
    known = {name: other for name, other in others.items() if other is not None}
    graph = {name: _leads(other) & known.keys() for name, other in known.items()}
    if machine.name not in graph:
        return []
    both = reached(graph, [machine.name]) & reached(reversed_graph(graph), [machine.name])
    circle = one_cycle({name: graph[name] & both for name in both})
    need = next((each for each in needs(machine) if each.machine in both), None)
    if not circle or need is None:  # of children alone, which are proved with the states
        return []
    said = " -> ".join((*circle, circle[0]))
    message = f"machines wait for each other, and none of them would begin: {said}"
    return [_error(need, message, "let one of them begin by itself")]


def _leads(machine: Machine) -> frozenset[str]:
    """Return the machines without which one does not begin, or go on."""
    children = {each.task.machine for each in machine.states if isinstance(each.task, Child)}
    # One of its own partitions may wait for another.
    waits = (each for each in needs(machine) if each.machine != machine.name or each.state is None)
    return frozenset(children | {each.machine for each in waits})


def _error(need: Need, message: str, fix: str) -> Finding:
    return Finding(severity="error", state=need.state, message=f"{need.where}: {message}", fix=fix)
