"""
What is proved of child machines: they are there, are given what they need, and end.

    check_children      what is wrong with those of all states that have one
    prove_children      that, and what may not be meant
"""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from statepipe.errors import DefinitionError, NotFound
from statepipe.filling import params_in, whole
from statepipe.machine.checks.findings import Finding, error, warning
from statepipe.machine.definition import Machine
from statepipe.machine.parameter import Param
from statepipe.machine.scalars import convert
from statepipe.machine.states.taskgraph import Child
from statepipe.model import ERROR, SKIPPED
from statepipe.suggest import did_you_mean

#: Today does not matter when a value is only checked.
_ANY_DAY: Final = dt.date(2000, 1, 1)
_HOW: Final = 'params = { day = "{params.day}" }: one of the parent, or a value'


def prove_children(machine: Machine, machines: Callable[[str], Machine]) -> Iterator[Finding]:
    """Yield what `check_children` does, and where a child may be skipped without a way on."""
    yield from check_children(machine, machines)
    for state in machine.states:
        if not isinstance(state.task, Child) or state.on_event(SKIPPED):
            continue
        with suppress(NotFound, DefinitionError):  # it is told of by the other
            concurrency = machines(state.task.machine).sharing.concurrency
            if concurrency is not None and concurrency.behavior == "skip":
                yield warning(
                    state.name,
                    f'machine "{state.task.machine}" is not begun while its key is taken, and'
                    f' nothing says what then: the state ends with "{ERROR}"',
                    f'on.{SKIPPED} = "the state for it"',
                )


def check_children(machine: Machine, machines: Callable[[str], Machine]) -> Iterator[Finding]:
    """
    Yield what is wrong with the child machines of `machine`.

    Args:
        machine: The parent.
        machines: Gives a machine by its name; raises NotFound or DefinitionError if it cannot.
    """
    for state in machine.states:
        if isinstance(state.task, Child):
            try:
                child = machines(state.task.machine)
            except (NotFound, DefinitionError) as refused:
                yield error(state.name, refused.message, refused.next_step)
                continue
            yield from _given(state.name, state.task, child, parent=machine)
            if way := _way_back(child, machine.name, machines):
                yield error(
                    state.name,
                    f"the machines {' -> '.join((machine.name, *way))} begin each other without"
                    " end",
                    "let one of them begin no other",
                )


def _given(state: str, task: Child, child: Machine, *, parent: Machine) -> Iterator[Finding]:
    """The child has the parameters it is given, is given those it needs, and of their type."""
    takes = {each.name: each for each in child.params}
    has = {each.name: each for each in parent.params}
    for name, value in task.params.items():
        if name not in takes:
            yield error(
                state,
                f'machine "{child.name}" has no parameter "{name}"{did_you_mean(name, takes)}',
                f"its parameters are {', '.join(takes)}" if takes else "remove params",
            )
        elif wrong := _unfit(value, takes[name], has):
            yield error(state, f'parameter "{name}" of machine "{child.name}" {wrong}', _HOW)
    for name, param in takes.items():
        if param.required and name not in task.params:
            yield error(state, f'parameter "{name}" of machine "{child.name}" is not given', _HOW)


def _unfit(value: Any, param: Param, has: dict[str, Param]) -> str:  # noqa: ANN401 - any plain value
    """Why `value` is none for `param`; "" if it is one, or nobody can tell before it runs."""
    only = whole(value) if isinstance(value, str) else None
    if only is not None:
        given = has[only]
        if param.required and not (given.required or given.default is not None):
            return f'is needed, and "{only}", which it is given, may be absent'
        fits = {param.type, "text"} | ({"int"} if param.type == "float" else set())
        return "" if given.type in fits else f'is of type {param.type}, "{only}" is {given.type}'
    if isinstance(value, str) and params_in(value):
        return ""
    try:
        convert(param.type, value, today=_ANY_DAY)
    except ValueError as wrong:
        return str(wrong)
    return ""


def _way_back(
    child: Machine, home: str, machines: Callable[[str], Machine]
) -> tuple[str, ...] | None:
    """The machines that begin each other, from `child` to `home`; None if there are none."""
    waiting: list[tuple[Machine, tuple[str, ...]]] = [(child, (child.name,))]
    seen: set[str] = set()
    while waiting:
        at, way = waiting.pop(0)
        if at.name == home:
            return way
        if at.name in seen:
            continue
        seen.add(at.name)
        for state in at.states:
            if isinstance(state.task, Child):
                with suppress(NotFound, DefinitionError):  # it is told of the machine itself
                    waiting.append((machines(state.task.machine), (*way, state.task.machine)))
    return None
