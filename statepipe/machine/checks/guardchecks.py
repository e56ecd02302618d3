"""
Guards that could never be decided: the parameters they name are declared, or they are not.

    check_guards    of the transitions of a machine
"""

from collections.abc import Iterator

from statepipe.machine.checks.findings import Finding, error
from statepipe.machine.definition import Machine
from statepipe.machine.guards import Guard
from statepipe.suggest import did_you_mean


def check_guards(machine: Machine) -> Iterator[Finding]:
    """Yield guards that look at a parameter which no instance has."""
    names = [each.name for each in machine.params]
    for state in machine.states:
        guards = dict.fromkeys(each.when for each in state.on if each.when is not None)
        for text in guards:
            for root, *path in Guard(text).names:
                if root == "params" and path and path[0] not in names:
                    yield error(
                        state.name,
                        f"guard `{text}` looks at a parameter that is not declared:"
                        f' "{path[0]}"{did_you_mean(path[0], names)}',
                        f"the parameters are {', '.join(names)}"
                        if names
                        else f'declare it: [params] {path[0]} = "text"',
                    )
