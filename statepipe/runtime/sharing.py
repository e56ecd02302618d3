"""
How a machine's instances share workers, as `statepipe.toml` and the machine file say it together.

    sharing_of      of a machine
    queues_of       of each of its acting states
    scope_of        what a worker of some queues drives
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from statepipe.config import Config
from statepipe.machine.definition import Machine
from statepipe.runtime.program import Program
from statepipe.sharing import Sharing
from statepipe.store.walk.ready import Scope


def sharing_of(config: Config, machine: Machine) -> Sharing:
    """
    Return how the instances of `machine` share workers; `statepipe.toml` wins key by key.

    Raises:
        DefinitionError: A key names a parameter that not every instance has.
    """
    sharing = machine.sharing
    for layer in config.layers:
        said = layer.sharing.get(machine.name, {})
        sharing = replace(sharing, **said)
        if "concurrency" in said:
            where = f"{layer.where}: {layer.prefix}machines.{machine.name}.concurrency.key"
            machine.refuse_keys(where, said["concurrency"].params)
    return sharing


def queues_of(
    config: Config, machine: Machine, whole: tuple[Machine, str] | None
) -> dict[str, str]:
    """
    Return the queue of each acting state: what is said of a state wins over its machine's.

    Of a machine that is one task of a state, `whole` is the machine of that state, and its name.
    """
    if whole is not None:
        of_states = queues_of(config, whole[0], None)
        return {state.name: of_states[whole[1]] for state in machine.acting}
    queue = sharing_of(config, machine).queue
    queues = {}
    for state in machine.acting:
        queues[state.name] = state.queue or queue
        for layer in config.layers:
            override = layer.machines.get(machine.name, {}).get(state.name)
            if override is not None and override.queue is not None:
                queues[state.name] = override.queue
    return queues


def scope_of(programs: Sequence[Program], queues: Collection[str]) -> Scope:
    """Return what a worker drives: these machines, while in states of `queues`."""
    return Scope(
        definitions=frozenset(program.definition for program in programs),
        elsewhere=frozenset(
            (program.definition, state)
            for program in programs
            for state, queue in program.queues.items()
            if queue not in queues
        ),
    )
