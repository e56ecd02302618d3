"""
The machine that a task of a graph becomes, so that it can be driven as an instance of its own.

    task_machine    one acting state, called as the task, then `done` or `failed`
    task_machines   those of all tasks of a machine
    task_machine_of     one of them, by its name: "orders/transforming/enrich"

Derived from the parent's definition, the same from the same, and never written down by anyone.
It has the parent's version and parameters, and nothing else of it: what starts the parent, cuts
it into partitions, bounds it or tells of it does so once.
"""

from collections.abc import Iterator

from statepipe.errors import NotFound
from statepipe.machine.definition import FAILED_STATE, Machine, State, Transition
from statepipe.machine.names import task_machine_name
from statepipe.machine.taskgraph import Graph, GraphTask
from statepipe.machine.tasks import Run
from statepipe.model import OK
from statepipe.suggest import did_you_mean


def task_machine(machine: Machine, state: str, task: GraphTask) -> Machine:
    """Return the machine that `task` of `state` becomes."""
    work = State(
        name=task.name,
        task=Run(function=task.function, effect=task.effect),
        on=(Transition(event=OK, target="done"),),
        retry=task.retry,
        settings=task.settings,
        uses=task.uses,
    )
    return Machine(
        name=task_machine_name(machine.name, state, task.name),
        initial=task.name,
        states=(
            work,
            State(name="done", final="success"),
            State(name=FAILED_STATE, final="failure"),
        ),
        version=machine.version,
        params=machine.params,
    )


def task_machines(machine: Machine) -> Iterator[Machine]:
    """Yield the machines that the tasks of `machine` become, in the order they are listed."""
    for state in machine.states:
        if isinstance(state.task, Graph):
            for task in state.task.tasks:
                yield task_machine(machine, state.name, task)


def task_machine_of(machine: Machine, name: str) -> Machine:
    """
    Return the machine called `name`, of one of the tasks of `machine`.

    Raises:
        NotFound: None of them is called so.
    """
    known = {each.name: each for each in task_machines(machine)}
    if name in known:
        return known[name]
    tasks = [each.partition("/")[2].replace("/", ".") for each in known]
    asked = name.partition("/")[2].replace("/", ".")
    raise NotFound(
        f'machine "{machine.name}" has no task "{asked}"{did_you_mean(asked, tasks)}',
        meaning="nothing was run",
        next_step=f"its tasks are {', '.join(tasks)}" if tasks else "it has no tasks of several",
    )
