"""
What `[machines.M.states.S]` of `statepipe.toml` says of one state, or of one task of several.

    overrides_of    the table `machines`, by machine and state
    Override        what it says of one state
    table_name      where that stands, as people would look it up
    described       the same, of the machine file
    refuse_useless  an override that no attempt would be governed by

A task is a state of the machine it becomes (see `tasknames`): what stands under
`[machines.M.states.S.tasks.T]` is kept, and found, as of state T of machine M/S/T.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from statepipe.policy import policy_fields
from statepipe.sharing import SHARING_KEYS, queue_name
from statepipe.suggest import did_you_mean
from statepipe.tables import known, refusal, table
from statepipe.tasknames import task_machine_name, task_of

#: What may be said of a state whose work is done by its tasks, or by another machine.
_OF_OTHERS: Final = frozenset({"timeout_ms"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """
    What `[machines.M.states.S]` says of one state.

    Attributes:
        retry: Fields of a policy from its `retry`: the name of a policy, or an inline table.
        fields: Fields of a policy from its other keys; they win over `retry`.
        queue: Whose workers drive an instance that is in it; None if it does not say.
    """

    retry: str | Mapping[str, Any] | None
    fields: Mapping[str, Any]
    queue: str | None = None


Overrides = Mapping[str, Mapping[str, Override]]

NO_TASKS: Final[Mapping[str, Collection[str]]] = MappingProxyType({})


def overrides_of(machines: Mapping[str, Any], *, where: str) -> Overrides:
    """
    Return what the table `machines` says, by machine and state.

    Args:
        machines: The table.
        where: Names its place in messages.

    Raises:
        DefinitionError: It says something that it cannot mean.
    """
    found: dict[str, dict[str, Override]] = {}
    for machine in machines:
        at = f"{where}machines.{machine}"
        said = table(machines, machine, where=where)
        known(said, ("states", *SHARING_KEYS), where=at)
        states = table(said, "states", where=at)
        found[machine] = {}
        for state in states:
            values = dict(table(states, state, where=at))
            inside = f"{at}.states.{state}"
            for task, override in _tasks(values.pop("tasks", {}), where=inside):
                found[task_machine_name(machine, state, task)] = {task: override}
            if values or "tasks" not in states[state]:
                found[machine][state] = _override(values, where=inside)
    return found


def table_name(machine: str, state: str) -> str:
    """Return the name of the table in which a state of a machine, or a task, is overridden."""
    if task := task_of(machine):
        return f"machines.{task.machine}.states.{task.state}.tasks.{task.task}"
    return f"machines.{machine}.states.{state}"


def described(machine: str, state: str) -> str:
    """Return how a state of a machine, or a task, is called in the messages of its definition."""
    if task := task_of(machine):
        return f"machine {task.machine}, state {task.state}, task {task.task}"
    return f"machine {machine}, state {state}"


def refuse_useless(
    overrides: Overrides,
    *,
    machine: str,
    states: Collection[str],
    tasks: Mapping[str, Collection[str]],
    where: str,
) -> None:
    """
    Refuse what is said of a state or task that is not there, or in which nothing heeds it.

    Args:
        overrides: What one level of settings says.
        machine: The machine that is looked at.
        states: Its states in which something runs.
        tasks: Those of them whose work others do, with the names of their tasks, if it is tasks.
        where: Names the level in messages: "[" and what stands before the table's name.

    Raises:
        DefinitionError: There is one.
    """
    for state, override in overrides.get(machine, {}).items():
        at = f"{where}{table_name(machine, state)}]"
        if state not in states:
            raise refusal(
                f'{at}: machine "{machine}" has no state "{state}" in which something runs'
                f"{did_you_mean(state, states)}",
                next_step=f"those are {', '.join(states)}"
                if states
                else "remove it: how long a state waits is said in the machine, in its wait",
            )
        if state in tasks and (override.retry is not None or set(override.fields) - _OF_OTHERS):
            raise refusal(
                f'{at}: the work of state "{state}" is done by others: no attempt is made in it'
                " that could be limited, but for its timeout",
                next_step=f"write it into [{table_name(machine, state)}.tasks.TASK]"
                if tasks[state]
                else "write it into the table of the child machine",
            )
    for name in overrides:
        task = task_of(name)
        if task is None or task.machine != machine:
            continue
        there = tasks.get(task.state, ())
        if task.task not in there:
            raise refusal(
                f'{where}{table_name(name, task.task)}]: state "{task.state}" of machine'
                f' "{machine}" has no task "{task.task}"{did_you_mean(task.task, there)}',
                next_step=f"its tasks are {', '.join(there)}"
                if there
                else f"write it into [{table_name(machine, task.state)}]",
            )


def _tasks(value: object, *, where: str) -> Iterator[tuple[str, Override]]:
    tasks = table({"tasks": value}, "tasks", where=where)
    for name in tasks:
        inside = f"{where}.tasks.{name}"
        yield name, _override(table(tasks, name, where=inside), where=inside)


def _override(values: Mapping[str, Any], *, where: str) -> Override:
    retry = values.get("retry")
    if not isinstance(retry, str | Mapping | None):
        raise refusal(
            f"{where}: retry is {retry!r}, neither the name of a policy nor a table",
            next_step='retry = "transient", or retry = { max_attempts = 5 }',
        )
    if isinstance(retry, Mapping):
        policy_fields(retry, where=f"{where}.retry")
    own = {key: value for key, value in values.items() if key not in ("retry", "queue")}
    queue = values.get("queue")
    return Override(
        retry=retry,
        fields=policy_fields(own, where=where),
        queue=None if queue is None else queue_name(f"{where}: queue", queue),
    )
