"""
`statepipe check`: everything that can be proved of a machine before it runs.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

import click

from statepipe.cli.shared.options import command
from statepipe.cli.shared.places import config_here
from statepipe.cli.shared.render import Output
from statepipe.cli.shared.session import Session
from statepipe.config import (
    FILE_NAME,
    Config,
    refuse_unknown_machines,
)
from statepipe.errors import DefinitionError, NotFound
from statepipe.io.contract import Contract
from statepipe.io.declared import read_declared
from statepipe.io.destinations import check_address, lacking, refuse_store
from statepipe.machine.alerts import named_targets
from statepipe.machine.checks import upstreams
from statepipe.machine.checks.checker import check as findings_of
from statepipe.machine.checks.findings import Finding, warning
from statepipe.machine.definition import Machine
from statepipe.machine.loading.loader import list_machines, machine_named
from statepipe.machine.states.tasks import Load
from statepipe.notify import Target
from statepipe.runtime.agreement import disagreements
from statepipe.runtime.policies import policy_of
from statepipe.runtime.tasks.functions import kind_of, resolve
from statepipe.units import plural

EXIT_FOUND: Final = 6


@command("check", examples=["statepipe check", "statepipe check flights -o json"])
@click.argument("machines", nargs=-1, metavar="[MACHINE]...")
def check(*, machines: tuple[str, ...]) -> int:
    """
    Check machines, all of them if none is named. Exits 6 if one must not run.

    Functions are imported, contracts read, policies merged; nothing is run.
    """
    out = Session.current().out()
    config = config_here()
    names = list(machines) or list_machines(config.machines_dir)
    if not names:
        raise NotFound(
            f"there are no machines in {config.machines_dir}",
            meaning="nothing was checked",
            next_step="statepipe init demo   # makes one to begin with",
        )
    found = {name: findings(name, config) for name in names}
    if not machines:
        found |= _strangers(config, known=names)
    if out.is_json:
        facts = [_facts(name, each) for name in found for each in found[name]]
        out.values([{**each, "fix": out.addressed(each["fix"])} for each in facts])
    else:
        for name in found:
            _print(out, name, found[name])
    failed = any(each.severity == "error" for name in found for each in found[name])
    return EXIT_FOUND if failed else 0


def findings(name: str, config: Config) -> list[Finding]:
    """
    Return what is wrong with one machine; a file that cannot be loaded, or two, is one finding.

    Raises:
        NotFound, UsageError: There is no such machine.
    """
    try:
        machine = machine_named(name, config.machines_dir)
    except DefinitionError as error:
        return [_error(error)]
    found = findings_of(
        machine,
        functions=lambda run: kind_of(resolve(run.reference, config.machines_dir)),
        contracts=lambda contract: Contract.load(config.machines_dir / contract),
        tables=lambda load: read_declared(
            config.machines_dir / load.contracts[0], key=load.key, adds=load.columns == "add"
        ),
        policies=partial(policy_of, config),
        machines=lambda other: machine_named(other, config.machines_dir),
    )
    dependent = upstreams.check(machine, _all(config)) if upstreams.needs(machine) else []
    unknown = [_error(error) for error in disagreements(config, machine)]
    return [*unknown, *_addresses(machine, config), *found, *dependent]


def _all(config: Config) -> dict[str, Machine | None]:
    """Return all machines by name; None for one whose file cannot be loaded."""
    loaded: dict[str, Machine | None] = {}
    for name in list_machines(config.machines_dir):
        loaded[name] = None
        with suppress(DefinitionError):
            loaded[name] = machine_named(name, config.machines_dir)
    return loaded


def _addresses(machine: Machine, config: Config) -> Iterator[Finding]:
    """Destinations that nothing speaks, here or at all, or that cannot do what is asked of them."""
    for state in machine.states:
        if isinstance(state.task, Load):
            load = state.task
            adds = None if load.contract is None else load.columns == "add"
            try:
                check_address(load.to, key=load.key, adds=adds)
                refuse_store(load.to, base_dir=config.root, store=config.store)
            except DefinitionError as error:
                yield replace(_error(error), state=state.name)
            if (missing := lacking(load.to)) is not None:
                library, extra = missing
                yield warning(
                    state.name,
                    f"{load.to} needs {library}, which is not installed here",
                    f'pip install "statepipe[{extra}]"',
                )


def _strangers(config: Config, *, known: list[str]) -> dict[str, list[Finding]]:
    """What `statepipe.toml` says of machines that are not there, to nobody, or at a risk."""
    try:
        refuse_unknown_machines(config, machines=known)
    except DefinitionError as error:
        return {FILE_NAME: [_error(error)]}
    named: set[str] = set()
    for name in known:
        with suppress(DefinitionError):  # it is told with the machine
            named.update(named_targets(machine_named(name, config.machines_dir)))
    found = [each for target in config.targets.values() for each in _of_target(target, named)]
    return {FILE_NAME: found} if found else {}


def _of_target(target: Target, named: set[str]) -> Iterator[Finding]:
    """What keeps a target from being told, or tells a shell more than is meant."""
    if target.name not in named and not target.hears_by_itself:
        yield warning(
            None,
            f"notify.{target.name} is told of nothing: it has neither on nor machines,"
            " and no machine names it",
            f'on = ["failed", "stalled"], or notify = "{target.name}" in a machine',
        )
    if target.way == "url" and find_spec("apprise") is None:
        yield warning(
            None,
            f"notify.{target.name} needs apprise, which is not installed here",
            "pip install 'statepipe[notify]', or use webhook or command",
        )
    for word in target.for_a_shell:
        yield warning(
            None,
            f"notify.{target.name}: a shell reads {{{word}}} as a part of its program:"
            " what stands in an id or an error would be run",
            f'"$STATEPIPE_NOTICE_{word.upper()}" in its place, in no other quotes',
        )


def _error(error: DefinitionError) -> Finding:
    return Finding(severity="error", state=None, message=error.message, fix=error.next_step)


def _print(out: Output, name: str, found: list[Finding]) -> None:
    errors = sum(each.severity == "error" for each in found)
    warnings = len(found) - errors
    if not found:
        out.raw(f"{name}: {out.paint('ok')}")
        return
    counts = [plural(errors, "error")] if errors else []
    counts += [plural(warnings, "warning")] if warnings else []
    out.say(f"{name}: {', '.join(counts)}")
    for each in found:
        where = f"{each.state}: " if each.state else ""
        out.say(f"  {each.severity}: {where}{each.message}")
        out.say(f"    fix: {each.fix}")


def _facts(name: str, each: Finding) -> dict[str, Any]:
    return {
        "machine": name,
        "severity": each.severity,
        "state": each.state,
        "message": each.message,
        "fix": each.fix,
    }
