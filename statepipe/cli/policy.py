"""
`statepipe policy explain MACHINE.STATE`: what governs a state, and who said so.
"""

from collections.abc import Iterator
from typing import Any

import click

from statepipe.cli.shared.options import command
from statepipe.cli.shared.places import config_here
from statepipe.cli.shared.render import Output
from statepipe.cli.shared.session import Session
from statepipe.config import FILE_NAME, Config
from statepipe.errors import UsageError
from statepipe.machine.alerts import hearers
from statepipe.machine.definition import Machine, State
from statepipe.machine.loading.loader import machine_named
from statepipe.machine.states.taskgraph import Child, Graph
from statepipe.machine.states.waits import Wait
from statepipe.machine.taskmachine import graph_task, task_machine
from statepipe.machine.uses import refuse_undeclared
from statepipe.overrides import described
from statepipe.runtime.policies import policy_of, timeout_of
from statepipe.tasknames import TaskName
from statepipe.units import format_duration, format_size


@click.group("policy")
def policy() -> None:
    """Look at policies: how tasks are retried, timed out and limited."""


@command(
    "explain",
    examples=[
        "statepipe policy explain flights.loading",
        "statepipe policy explain flights.loading --env prod -o json",
        "statepipe policy explain orders.transforming.enrich",
    ],
)
@click.argument("target", metavar="MACHINE.STATE[.TASK]")
def explain(*, target: str) -> None:
    """Print the merged policy of a state or task, who is told of it, and where it is from."""
    name, dot, state_name = target.partition(".")
    state_name, _, task_name = state_name.partition(".")
    if not (name and dot and state_name):
        raise UsageError(
            f"{target!r} names no state of a machine",
            meaning="nothing was read",
            next_step="statepipe policy explain MACHINE.STATE",
        )
    out = Session.current().out()
    config = config_here()
    machine = machine_named(name, config.machines_dir)
    told = machine
    acting = (each for each in machine.acting if each.name == state_name)
    state = next(acting, None) or machine.state(state_name)
    if task_name:
        task = graph_task(machine, TaskName(name, state_name, task_name))
        machine = task_machine(machine, state_name, task)
        state = machine.state(machine.initial)
    rows = [*_limits(machine, state, config), *_told(told, state, config)]
    if not rows:
        assert state.final is not None, "whatever acts has limits"
        rows = [_row(f"notify {_told_of(state)}", None, "default", shown="nobody")]
    _print(out, rows)
    if isinstance(state.task, Graph | Child):
        out.note("others do its work, under policies of their own: name a task, or their machine")
    elif isinstance(state.task, Wait):
        out.note("nothing runs while it waits, so no policy governs it")
    elif state.task is not None:
        digest = policy_of(config, machine, state).policy.digest
        out.note(f"digest {digest}, stored with each attempt this policy governs")


def _limits(machine: Machine, state: State, config: Config) -> Iterator[dict[str, Any]]:
    """What bounds what runs in a state; nothing if it is final."""
    if state.task is None:
        return
    if isinstance(state.task, Wait):
        yield _waited(machine, state, state.task)
        return
    if isinstance(state.task, Graph | Child):
        value, origin = timeout_of(config, machine, state)
        yield _row("timeout", value, origin, shown=_shown("timeout_ms", value))
        return
    resolved = policy_of(config, machine, state)
    for field, value in resolved.policy.to_dict().items():
        origin = resolved.origins[field]
        yield _row(field.removesuffix("_ms"), value, origin, shown=_shown(field, value))
    yield from _used(machine, state, config)


def _waited(machine: Machine, state: State, wait: Wait) -> dict[str, Any]:
    """What ends a wait, if nothing that it waits for does."""
    here = described(machine.name, state.name)
    if wait.until is not None:
        said = f"{wait.until.text} {wait.until.tz}"
        return _row("until", wait.until.text, here, shown=said)
    setting = "timeout" if wait.events or wait.dataset else "for"
    return _row(setting, wait.ms, here, shown=format_duration(wait.ms))


def _used(machine: Machine, state: State, config: Config) -> Iterator[dict[str, Any]]:
    """What each attempt needs, with the numbers that apply to all who use it."""
    refuse_undeclared(machine, config.resources)
    for name in state.uses:
        where = f"{config.path or FILE_NAME} [resources.{name}]"
        yield _row(f"uses {name}", str(config.resources[name]), where)
    if config.staged_bytes_max is not None:
        said = format_size(config.staged_bytes_max)
        yield _row("staged_max", config.staged_bytes_max, str(config.path), shown=said)


def _told(machine: Machine, state: State, config: Config) -> Iterator[dict[str, Any]]:
    """Who is told of an end in a final state; of another one, of retries that were of no use."""
    event = _told_of(state)
    here = f"machine {machine.name}"
    for target in state.notify:
        yield _row(f"notify {event}", target, f"{here}, state {state.name}")
    for target in hearers(event, machine.name, config.targets, named=machine.notify):
        if target not in state.notify:
            where = f"{config.path or FILE_NAME} [notify.{target}]"
            yield _row(f"notify {event}", target, here if target in machine.notify else where)


def _told_of(state: State) -> str:
    """Return the event that a state can bring about."""
    return {"success": "done", "failure": "failed", None: "retries_exhausted"}[state.final]


def _row(setting: str, value: Any, origin: str, *, shown: str = "") -> dict[str, Any]:  # noqa: ANN401  (a setting of any type)
    return {"setting": setting, "value": value, "from": origin, "_value": shown or value}


def _print(out: Output, rows: list[dict[str, Any]]) -> None:
    out.rows(["SETTING", "VALUE", "FROM"], rows, cells=["setting", "_value", "from"])


def _shown(field: str, value: Any) -> str:  # noqa: ANN401  (a setting of any type)
    if value is None:
        return "none"
    if field.endswith("_ms"):
        return format_duration(value)
    return ", ".join(value) if isinstance(value, list) else str(value)


policy.add_command(explain)
