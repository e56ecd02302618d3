"""
What the children of a state are: instances of which machines, and with which parameters.

    Brood           that, of one state
    brood_of        the same, of a definition
    children_of     the machines that the children of a machine's instances are of
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from statepipe.machine.definition import Machine, State
from statepipe.machine.states.taskgraph import Child, Graph, GraphTask
from statepipe.sharing import Sharing
from statepipe.store.codec import encode
from statepipe.tasknames import task_machine_name


class ChildKind(NamedTuple):
    """
    What a child is an instance of.

    Attributes:
        definition: The number of its definition.
        machine: Its machine.
        initial: The state it begins in.
        sharing: How its machine's instances share workers.
    """

    definition: int
    machine: str
    initial: str
    sharing: Sharing = Sharing()


class Brood(NamedTuple):
    """
    What the children of a state are.

    Attributes:
        graph: The tasks, of which each is an instance; one of the state's name, if it is
            another machine's instance that does the work.
        kinds: What each is an instance of, by task.
        params: Gives the parameters of each, encoded, of those of its parent; at a moment.
        timeout_ms: How long all of it may take; None for no bound.
        is_machine: Whether it is another machine's instance: what it has staged is its own.
    """

    graph: Graph
    kinds: Mapping[str, ChildKind]
    params: Callable[[Mapping[str, Any], int], bytes]
    timeout_ms: int | None
    is_machine: bool = False


def brood_of(
    machine: Machine,
    state: State,
    kind_of: Callable[[str], ChildKind],
    bound: Callable[..., bytes],
    *,
    timeout_ms: int | None,
) -> Brood:
    """
    Return what the children of a state are.

    Args:
        machine: The machine of their parent.
        state: The state.
        kind_of: Gives what an instance of a machine is, by the machine's name.
        bound: `Catalog.bound`.
        timeout_ms: How long all of it may take; None for no bound.
    """
    task = state.task
    if isinstance(task, Child):
        name = task.machine
        alone = Graph(tasks=(GraphTask(name=state.name, function="statepipe:child"),))

        def params(given: Mapping[str, Any], at_ms: int) -> bytes:
            return bound(name, task.given(given), at_ms=at_ms)

        return Brood(alone, {state.name: kind_of(name)}, params, timeout_ms, is_machine=True)
    assert isinstance(task, Graph), "what else has children"
    kinds = {
        each.name: kind_of(task_machine_name(machine.name, state.name, each.name))
        for each in task.tasks
    }
    return Brood(task, kinds, lambda given, _: encode(dict(given)), timeout_ms)


def children_of(machine: Machine) -> tuple[str, ...]:
    """Return the machines that the children of the instances of `machine` are of."""
    names: list[str] = []
    for state in machine.states:
        if isinstance(state.task, Child):
            names.append(state.task.machine)
        elif isinstance(state.task, Graph):
            names += [
                task_machine_name(machine.name, state.name, each.name) for each in state.task.tasks
            ]
    return tuple(dict.fromkeys(names))
