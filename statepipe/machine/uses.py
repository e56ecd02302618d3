"""
What the states of a machine use of the resources that `statepipe.toml` declares.

    refuse_undeclared   a state that uses what nobody has declared
"""

from collections.abc import Collection

from statepipe.machine.definition import Machine
from statepipe.resources import refuse_unknown


def refuse_undeclared(machine: Machine, resources: Collection[str]) -> None:
    """
    Refuse a state that uses what is none of `resources`: nothing would limit it.

    Raises:
        DefinitionError: There is one; the nearest resource is named.
    """
    for state in machine.states:
        refuse_unknown(state.uses, resources, where=f"machine {machine.name}, state {state.name}")
