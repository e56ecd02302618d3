"""
The machine that a task of a graph becomes, so that it can be driven as an instance of its own.

    task_machine    one acting state, called as the task, then `done` or `failed`
    task_machines   those of all tasks of a machine
    graph_task      a task, by its name
    tasks_of        the names of the tasks, by state

Derived from the parent's definition, the same from the same, and never written down by anyone.
It has the parent's version and parameters, and nothing else of it: what starts the parent, cuts
it into partitions, bounds it or tells of it does so once.
"""

from collections.abc import Iterator

from statepipe.errors import NotFound
from statepipe.machine.definition import FAILED_STATE, Machine, State, Transition
from statepipe.machine.states.taskgraph import Child, Graph, GraphTask
from statepipe.machine.states.tasks import Run
from statepipe.model import OK
from statepipe.suggest import did_you_mean
from statepipe.tasknames import TaskName, task_machine_name


def task_machine(machine: Machine, state: str, task: GraphTask) -> Machine:
    """Return the machine that `task` of `state` becomes."""
    work = State(
        name=task.name,
        # Its batches stay for those that need it, until the parent is done.
        task=Run(function=task.function, effect=task.effect, raw="keep"),
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


def graph_task(machine: Machine, name: TaskName) -> GraphTask:
    """
    Return the task called `name`, of `machine`.

    Raises:
        NotFound: It has none of that name.
    """
    for state in machine.states:
        if state.name == name.state and isinstance(state.task, Graph):
            for task in state.task.tasks:
                if task.name == name.task:
                    return task
    tasks = [f"{state}.{task}" for state, names in tasks_of(machine).items() for task in names]
    asked = f"{name.state}.{name.task}"
    raise NotFound(
        f'machine "{machine.name}" has no task "{asked}"{did_you_mean(asked, tasks)}',
        meaning="nothing was run",
        next_step=f"its tasks are {', '.join(tasks)}" if tasks else "no state has several tasks",
    )


def tasks_of(machine: Machine) -> dict[str, tuple[str, ...]]:
    """Return the states whose work others do, each with its tasks; () with a child machine."""
    return {
        state.name: tuple(task.name for task in state.task.tasks)
        if isinstance(state.task, Graph)
        else ()
        for state in machine.states
        if isinstance(state.task, Graph | Child)
    }
