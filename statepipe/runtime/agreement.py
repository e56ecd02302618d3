"""
What a machine and `statepipe.toml` say of each other, and only one of them knows.

    disagreements   all of it, for `statepipe check`; whoever drives refuses the first
"""

from collections.abc import Callable, Iterator

from statepipe.config import Config, refuse_unknown_overrides
from statepipe.errors import DefinitionError
from statepipe.machine.alerts import named_targets
from statepipe.machine.definition import Machine
from statepipe.machine.taskmachine import tasks_of
from statepipe.machine.uses import refuse_undeclared
from statepipe.notify import refuse_unknown
from statepipe.runtime.sharing import sharing_of


def disagreements(config: Config, machine: Machine) -> Iterator[DefinitionError]:
    """
    Yield what is wrong with settings of `machine`, and with what it takes for granted of them.

    That is: overrides of states in which nothing runs, somebody to be told who is no target, a
    state that uses what is no resource, a concurrency key of what not every instance has.
    """
    name, states = machine.name, [state.name for state in machine.running]
    refusals: tuple[Callable[[], object], ...] = (
        lambda: refuse_unknown_overrides(
            config, machine=name, states=states, tasks=tasks_of(machine)
        ),
        lambda: refuse_unknown(named_targets(machine), config.targets, where=f"machine {name}"),
        lambda: refuse_undeclared(machine, config.resources),
        lambda: sharing_of(config, machine),
    )
    for refuse in refusals:
        try:
            refuse()
        except DefinitionError as error:
            yield error
