"""
What governs the work of a state, as the machine file and `statepipe.toml` say it together.

    policy_of       of each attempt there, and where each part of it came from
    timeout_of      how long it may take if others do it
"""

from statepipe.config import Config, Resolved, resolve_policy, resolve_timeout
from statepipe.machine.definition import Machine, State


def policy_of(config: Config, machine: Machine, state: State) -> Resolved:
    """
    Return the policy of `state`, and the origin of each of its fields.

    Raises:
        DefinitionError: As `resolve_policy`.
    """
    return resolve_policy(
        config,
        machine=machine.name,
        state=state.name,
        settings=state.settings,
        retry=state.retry,
    )


def timeout_of(config: Config, machine: Machine, state: State) -> tuple[int | None, str]:
    """Return as `resolve_timeout` how long `state` may take, and who says so."""
    return resolve_timeout(config, machine=machine.name, state=state.name, settings=state.settings)
