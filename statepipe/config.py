"""
`statepipe.toml`: where the store is, and policy that changes without touching a machine.

    load_config         the file, the environment and the command line as one frozen Config
    resolve_policy      what governs a state, and where each part of it came from
    resolve_timeout     how long the work of a state may take that others do
    refuse_unknown_overrides    overrides of states that a machine does not have
    refuse_unknown_machines     overrides, and targets, of machines that are not there

Who wins, highest first: command line, `STATEPIPE_*`, the overlay `[env.NAME]`, the rest of
`statepipe.toml`, the machine file, the defaults. A policy is merged field by field.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from statepipe.logsettings import LogSettings, log_fields, log_settings
from statepipe.notify import Target, merged, target_fields
from statepipe.overrides import (
    NO_TASKS,
    Overrides,
    described,
    overrides_of,
    refuse_useless,
    table_name,
)
from statepipe.policy import Policy, policy_fields
from statepipe.resources import Resource, merged_resources, resource_fields, staged_bytes
from statepipe.sharing import sharing_fields
from statepipe.suggest import did_you_mean
from statepipe.tables import known, read, refusal, table, there
from statepipe.tasknames import task_of

FILE_NAME: Final = "statepipe.toml"
STORE_DEFAULT: Final = "checkpoints/statepipe.db"
#: Name of the policy that applies to every state that names none.
DEFAULT_POLICY: Final = "default"

T = TypeVar("T")

_LAYER: Final = ("store", "staged_max", "policies", "machines", "logging", "notify", "resources")
_TOP: Final = (*_LAYER, "env")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """
    One level of settings: the file itself, or the overlay of one environment.

    Attributes:
        where: The file; for an overlay with the table, as people would look it up.
        prefix: What its tables are called by: "" or "env.NAME.".
        store: The store as written there, or None.
        policies: Fields of each policy, by the policy's name.
        machines: Overrides, by machine and state; those of a task by the machine it becomes.
        sharing: Fields of a Sharing, by machine.
        logging: What it says of log lines.
        notify: Fields of each target of notifications, by the target's name.
        resources: Fields of each resource, by the resource's name.
        staged_bytes_max: As in Config; None if it does not say.
    """

    where: str
    prefix: str
    store: str | None
    policies: Mapping[str, Mapping[str, Any]]
    machines: Overrides
    sharing: Mapping[str, Mapping[str, Any]]
    logging: Mapping[str, Any]
    notify: Mapping[str, Mapping[str, Any]]
    resources: Mapping[str, Mapping[str, Any]]
    staged_bytes_max: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """
    What one run of statepipe works with.

    Attributes:
        path: The file it was read from, or None if there is none.
        root: The folder of the file, or the folder that was started in.
        machines_dir: Where machine files and their functions are.
        store: The checkpoint store, absolute if `start` was.
        env: Name of the environment, or None.
        environments: The names of all that the file declares.
        owns_store: True if `store` is that environment's alone, and not what all share by default.
        layers: The settings by level, the weakest first.
        logging: Where log lines go, and what is secret.
        targets: Who is told of what, by the target's name, overlay included.
        resources: What can be used only so much, by its name, overlay included.
        staged_bytes_max: Above it, no instance that has staged nothing begins; None for no bound.
    """

    path: Path | None
    root: Path
    machines_dir: Path
    store: Path
    env: str | None
    environments: tuple[str, ...]
    owns_store: bool
    layers: tuple[Layer, ...]
    logging: LogSettings
    targets: Mapping[str, Target]
    resources: Mapping[str, Resource]
    staged_bytes_max: int | None

    @property
    def policies(self) -> Mapping[str, Mapping[str, Any]]:
        """Fields of each named policy, overlay included, by the policy's name."""
        merged: dict[str, dict[str, Any]] = {}
        for layer in self.layers:
            for name, values in layer.policies.items():
                merged.setdefault(name, {}).update(values)
        return merged


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """
    What governs one state.

    Attributes:
        policy: The merged policy.
        origins: Where each of its fields came from, by field name.
    """

    policy: Policy
    origins: Mapping[str, str]


def load_config(
    *,
    start: Path,
    environ: Mapping[str, str],
    store: str | None = None,
    env: str | None = None,
    config: str | None = None,
) -> Config:
    """
    Return the configuration that applies in the folder `start`.

    Args:
        start: Where to look for `statepipe.toml`, there and in every folder above.
        environ: STATEPIPE_STORE, STATEPIPE_ENV, STATEPIPE_CONFIG and STATEPIPE_LOG_… are
            read; there "" is unset.
        store: The store, from the command line; relative to `start`.
        env: The environment, from the command line.
        config: The file, from the command line; relative to `start`.

    Raises:
        DefinitionError: If a file that is named is missing, cannot be read, or
            says something it cannot mean; if what the command line names is "".
    """
    named = _chosen(config, environ.get("STATEPIPE_CONFIG"), what="file")
    path = _found(start) if named is None else start / named
    values = {} if path is None else _parsed(path)
    root = start if path is None else path.parent
    chosen = _chosen(env, environ.get("STATEPIPE_ENV"), what="environment")
    layers = tuple(_layers(values, path=path, env=chosen))
    outside = _chosen(store, environ.get("STATEPIPE_STORE"), what="store")
    if outside is not None:
        place = start / outside
    else:
        place = root / (_strongest(layer.store for layer in layers) or STORE_DEFAULT)
    return Config(
        path=path,
        root=root,
        machines_dir=root / "machines",
        store=place,
        env=chosen,
        environments=tuple(values.get("env", ())),
        owns_store=chosen is not None and (outside is not None or layers[-1].store is not None),
        layers=layers,
        logging=log_settings(
            [layer.logging for layer in layers], environ=environ, start=start, root=root
        ),
        targets=merged((layer.notify for layer in layers), where=layers[0].where),
        resources=merged_resources((each.resources for each in layers), where=layers[0].where),
        staged_bytes_max=_strongest(layer.staged_bytes_max for layer in layers),
    )


def resolve_policy(
    config: Config,
    *,
    machine: str,
    state: str,
    settings: Mapping[str, Any],
    retry: str | Mapping[str, Any] | None,
) -> Resolved:
    """
    Return the policy of one state and the origin of each of its fields.

    Args:
        config: Named policies and overrides.
        machine: Name of the machine.
        state: Name of the state.
        settings: The state's own keys, as people write them.
        retry: The state's own `retry`: the name of a policy, or a policy's keys.

    Raises:
        DefinitionError: If a named policy is unknown, or two fields do not go together.
    """
    here = described(machine, state)
    merged: dict[str, Any] = {}
    origins = {each.name: "default" for each in fields(Policy)}

    def take(values: Mapping[str, Any], origin: str) -> None:
        merged.update(values)
        origins.update(dict.fromkeys(values, origin))

    for values, origin in _retry_fields(config, DEFAULT_POLICY, where=here):
        take(values, origin)
    for values, origin in _retry_fields(config, retry, where=here):
        take(values, origin)
    take(policy_fields(settings, where=here), here)
    for layer in config.layers:
        override = layer.machines.get(machine, {}).get(state)
        if override is not None:
            where = f"{layer.where} [{layer.prefix}{table_name(machine, state)}]"
            for values, origin in _retry_fields(config, override.retry, where=where):
                take(values, origin)
            take(override.fields, where)
    policy = Policy(**merged)
    policy.refuse_misfit(where=here)
    return Resolved(policy=policy, origins=origins)


def resolve_timeout(
    config: Config, *, machine: str, state: str, settings: Mapping[str, Any]
) -> tuple[int | None, str]:
    """
    Return how long the work of a state that others do may take, in ms, and who says so.

    None if nobody does: policies are of attempts, and none is made there. Only the state itself,
    and what overrides it, can say so.
    """
    origin = described(machine, state)
    found = policy_fields(settings, where=origin).get("timeout_ms"), origin
    for layer in config.layers:
        override = layer.machines.get(machine, {}).get(state)
        if override is not None and "timeout_ms" in override.fields:
            where = f"{layer.where} [{layer.prefix}{table_name(machine, state)}]"
            found = override.fields["timeout_ms"], where
    return found if found[0] is not None else (None, "default")


def refuse_unknown_overrides(
    config: Config,
    *,
    machine: str,
    states: Collection[str],
    tasks: Mapping[str, Collection[str]] = NO_TASKS,
) -> None:
    """
    Refuse overrides of what `machine` does not have; nothing else would notice them.

    Args:
        config: The overrides.
        machine: The name of the machine.
        states: Its states in which something runs.
        tasks: As in `refuse_useless`.

    Raises:
        DefinitionError: If there is one.
    """
    for layer in config.layers:
        where = f"{layer.where}: [{layer.prefix}"
        refuse_useless(layer.machines, machine=machine, states=states, tasks=tasks, where=where)


def refuse_unknown_machines(config: Config, *, machines: Collection[str]) -> None:
    """
    Refuse what is said of a machine that is not there; nothing else would notice it.

    Raises:
        DefinitionError: If there is one.
    """
    for layer in config.layers:
        said = [(name, f"machines.{name}") for name in layer.machines if task_of(name) is None]
        for target, values in layer.notify.items():
            said += [(name, f"notify.{target}") for name in values.get("machines", ())]
        for name, place in said:
            if name not in machines:
                raise refusal(
                    f"{layer.where}: [{layer.prefix}{place}]:"
                    f' there is no machine "{name}"{did_you_mean(name, machines)}',
                    next_step=f"correct the name, or write {config.machines_dir / name}.toml",
                )


def _retry_fields(
    config: Config, retry: str | Mapping[str, Any] | None, *, where: str
) -> Iterator[tuple[Mapping[str, Any], str]]:
    """What a `retry` stands for, weakest first, each with its origin."""
    if retry is None:
        return
    if not isinstance(retry, str):
        yield policy_fields(retry, where=f"{where}, retry"), f"{where}, retry"
        return
    policies = [DEFAULT_POLICY, *(name for layer in config.layers for name in layer.policies)]
    if retry not in policies:
        raise refusal(
            f'{where}: there is no policy "{retry}"{did_you_mean(retry, policies)}',
            next_step=f"add [policies.{retry}] to {config.path or FILE_NAME}",
        )
    for layer in config.layers:
        if retry in layer.policies:
            yield layer.policies[retry], f"{layer.where} [{layer.prefix}policies.{retry}]"


def _strongest(values: Iterable[T | None]) -> T | None:
    """Return the last of `values` that is not None, the weakest first; None if all are."""
    return next((value for value in reversed(list(values)) if value is not None), None)


def _chosen(said: str | None, variable: str | None, *, what: str) -> str | None:
    """Return what the caller says, else the variable; the caller's "" is a mistake, not nothing."""
    if said == "":
        raise refusal(f'the {what} that is named is ""', next_step=f"name the {what}, or none")
    return said if said is not None else variable or None


def _found(start: Path) -> Path | None:
    for folder in (start, *start.parents):
        path = folder / FILE_NAME
        # A link that leads nowhere is a mistake to be told, not a missing file.
        if there(path):
            return path
    return None


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return read(path, where=f"{path} ", kind=FILE_NAME)
    except OSError as error:
        raise refusal(
            f"{path} cannot be read: {error.strerror}",
            next_step="name a file that you may read: --config, or STATEPIPE_CONFIG",
        ) from None


def _layers(values: Mapping[str, Any], *, path: Path | None, env: str | None) -> Iterator[Layer]:
    where = FILE_NAME if path is None else str(path)
    known(values, _TOP, where=where)
    yield _layer(values, where=where, prefix="")
    overlays = table(values, "env", where=where)
    for name in overlays:
        overlay = table(overlays, name, where=f"{where}: env")
        known(overlay, _LAYER, where=f"{where}: env.{name}")
        layer = _layer(overlay, where=where, prefix=f"env.{name}.")
        if name == env:
            yield layer
    if env is not None and env not in overlays:
        raise refusal(
            f'{where}: there is no environment "{env}"{did_you_mean(env, overlays)}',
            next_step=f"add [env.{env}], or use "
            + (", ".join(overlays) if overlays else "no --env and no STATEPIPE_ENV"),
        )


def _layer(values: Mapping[str, Any], *, where: str, prefix: str) -> Layer:
    at = f"{where}: {prefix}"
    policies = table(values, "policies", where=where)
    machines = table(values, "machines", where=where)
    notify = table(values, "notify", where=where)
    resources = table(values, "resources", where=where)
    store = values.get("store")
    if store is not None and (not isinstance(store, str) or not store or "\0" in store):
        raise refusal(f"{at}store is {store!r}, not a path", next_step=f'store = "{STORE_DEFAULT}"')
    return Layer(
        where=where,
        prefix=prefix,
        store=store,
        policies={
            name: policy_fields(table(policies, name, where=at), where=f"{at}policies.{name}")
            for name in policies
        },
        machines=overrides_of(machines, where=at),
        sharing={
            name: sharing_fields(table(machines, name, where=at), where=f"{at}machines.{name}: ")
            for name in machines
        },
        logging=log_fields(table(values, "logging", where=where), where=f"{at}logging"),
        notify={
            name: target_fields(table(notify, name, where=at), where=f"{at}notify.{name}")
            for name in notify
        },
        resources={
            name: resource_fields(table(resources, name, where=at), where=f"{at}resources.{name}")
            for name in resources
        },
        staged_bytes_max=staged_bytes(values.get("staged_max"), where=at),
    )
