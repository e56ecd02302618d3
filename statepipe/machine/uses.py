"""
What the states of a machine use of the resources that `statepipe.toml` declares.

    refuse_undeclared   a state, or a task, that uses what nobody has declared
"""

from collections.abc import Collection

from statepipe.machine.definition import Machine
from statepipe.machine.taskmachine import task_machines
from statepipe.overrides import described
from statepipe.resources import refuse_unknown


def refuse_undeclared(machine: Machine, resources: Collection[str]) -> None:
    """
    Refuse a state, or a task, that uses what is none of `resources`: nothing would limit it.

    Raises:
        DefinitionError: There is one; the nearest resource is named.
    """
    for each in (machine, *task_machines(machine)):
        for state in each.states:
            refuse_unknown(state.uses, resources, where=described(each.name, state.name))
