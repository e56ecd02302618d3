"""
`statepipe policy explain MACHINE.STATE`: what governs a state, and who said so.
"""

from typing import Any

import click

from statepipe.cli.options import command
from statepipe.cli.places import config_here
from statepipe.cli.session import Session
from statepipe.config import resolve_policy
from statepipe.errors import Refused, UsageError
from statepipe.machine.loader import find_machine, load_machine
from statepipe.units import format_duration


@click.group("policy")
def policy() -> None:
    """Look at policies: how tasks are retried, timed out and limited."""


@command(
    "explain",
    examples=[
        "statepipe policy explain flights.loading",
        "statepipe policy explain flights.loading --env prod -o json",
    ],
)
@click.argument("target", metavar="MACHINE.STATE")
def explain(*, target: str) -> None:
    """Print the merged policy of a state, and the origin of each part."""
    name, dot, state_name = target.partition(".")
    if not (name and dot and state_name):
        raise UsageError(
            f"{target!r} names no state of a machine",
            meaning="nothing was read",
            next_step="statepipe policy explain MACHINE.STATE",
        )
    out = Session.current().out()
    config = config_here()
    state = load_machine(find_machine(name, config.machines_dir)).state(state_name)
    if state.task is None:
        raise Refused(
            f"state {state_name!r} is final: nothing runs there, and no policy applies",
            meaning="nothing was changed",
            next_step="name a state that has a task",
        )
    resolved = resolve_policy(
        config, machine=name, state=state_name, settings=state.settings, retry=state.retry
    )
    values = resolved.policy.to_dict()
    out.rows(
        ["SETTING", "VALUE", "FROM"],
        [
            {
                "setting": field.removesuffix("_ms"),
                "value": value,
                "from": resolved.origins[field],
                "_value": _shown(field, value),
            }
            for field, value in values.items()
        ],
        cells=["setting", "_value", "from"],
    )
    out.note(f"digest {resolved.policy.digest}, stored with each attempt this policy governs")


def _shown(field: str, value: Any) -> str:  # noqa: ANN401  (a setting of any type)
    if value is None:
        return "none"
    if field.endswith("_ms"):
        return format_duration(value)
    return ", ".join(value) if isinstance(value, list) else str(value)


policy.add_command(explain)
