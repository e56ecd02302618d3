"""
How the machine is called that a task of several becomes: "orders/transforming/enrich".

    task_machine_name   the name, of machine, state and task
    task_of             the three of a name; None of a machine that an author wrote

No author's machine has a "/" in its name, so none is ever taken for another.
"""

from typing import NamedTuple


class TaskName(NamedTuple):
    """A task: the machine, the state, and its own name there."""

    machine: str
    state: str
    task: str


def task_machine_name(machine: str, state: str, task: str) -> str:
    """Return the name of the machine that a task becomes."""
    return f"{machine}/{state}/{task}"


def task_of(name: str) -> TaskName | None:
    """Return whose machine is called `name`; None if it is no task's."""
    parts = name.split("/")
    return TaskName(*parts) if len(parts) == len(TaskName._fields) else None
