"""
A machine file as a Machine: TOML in, frozen values out, every mistake named by file and key.

    load_machine    one file; the short form (extract, validate, transform, load) or the long one
    machine_named   the same, by the name of the machine
    find_machine    the file of a machine, by name
    list_machines   the names of all machines in a folder

The loader only says which key holds what; whether a value makes sense is checked by the
definition itself, and its refusal is passed on with the file and the key in front.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from statepipe.errors import DefinitionError, NotFound, UsageError
from statepipe.machine.definition import FAILED_STATE, Machine, State, Transition
from statepipe.machine.events import event_rules
from statepipe.machine.loading.tasktables import CHILD, LOAD, SOURCE, TASKS, VALIDATE, task_of
from statepipe.machine.loading.template import (
    expanded,
    is_file,
    listed,
    members,
    template_of,
    templates,
)
from statepipe.machine.names import check_name
from statepipe.machine.parameter import Param
from statepipe.machine.partition import Partition
from statepipe.machine.reading import (
    at,
    duration_of,
    names_of,
    needed,
    parsed,
    retry_of,
    table_of,
    text_of,
)
from statepipe.machine.states.cleanup import CLEANUP_KEYS
from statepipe.machine.triggers.reading import triggers_of
from statepipe.model import INVALID, OK
from statepipe.policy import STATE_KEYS
from statepipe.sharing import SHARING_KEYS, Sharing, sharing_fields
from statepipe.suggest import did_you_mean
from statepipe.tables import known, refusal, there
from statepipe.wishes import CANCELLING_STATE

_COMMON: Final = (
    *("machine", "version", "why", "deadline", "notify", "params", "partition"),
    *("triggers", "events", "on_cancel"),
    *SHARING_KEYS,
)
_LONG: Final = ("initial", "states")
#: The states of the short form, in order: the key, and the state it becomes.
_SHORT: Final = {
    "extract": "extracting",
    "validate": "validating",
    "transform": "transforming",
    "load": "loading",
}
_STATE: Final = (
    *(*TASKS, *VALIDATE, *SOURCE, *CHILD, "final", "on", "retry", "notify", "uses", "queue"),
    *STATE_KEYS,
)
#: What a line of the short form may say, where that is more than a function.
_SHORT_KEYS: Final = {"extract": ("run", *SOURCE), "validate": ("run", "contract", *VALIDATE)}
_TARGET: Final = ("to", "when", "max_visits")
_PARAM: Final = ("type", "default", "required")
_PARTITION: Final = tuple(field.name for field in fields(Partition))


def load_machine(path: Path) -> Machine:
    """
    Return the machine that the file at `path` describes.

    Raises:
        NotFound: If there is no such file.
        DefinitionError: If it is no TOML, has an unknown key, or describes no sound machine.
    """
    template = template_of(path)
    if template is not None:
        values = expanded(template, path)
        with at(f"{template} with {path}"):
            return _machine(values)
    with at(str(path)):
        machine = _machine(parsed(path))
        if machine.name != path.stem:
            raise refusal(
                f'machine is "{machine.name}", but the file is called "{path.name}"',
                next_step=f'machine = "{path.stem}", or call the file {machine.name}.toml',
            )
        return machine


def machine_named(name: str, machines_dir: Path) -> Machine:
    """
    Return the machine `name` as its file in `machines_dir` defines it.

    Raises:
        UsageError, NotFound, DefinitionError: As `find_machine` and `load_machine`.
    """
    return load_machine(find_machine(name, machines_dir))


def find_machine(name: str, machines_dir: Path) -> Path:
    """
    Return the path of the file of machine `name`.

    Raises:
        UsageError: If `name` is no name of a machine; a path, for example.
        NotFound: If there is no such file.
        DefinitionError: If there are two, or nobody can tell.
    """
    try:
        check_name("machine", name)
    except DefinitionError as error:
        raise UsageError(
            error.message,
            meaning="a machine is called by its name, not by a path; nothing was read",
            next_step="statepipe run NAME   # the file is machines/NAME.toml",
        ) from None
    path = machines_dir / f"{name}.toml"
    found = [path] if is_file(path) else []
    found += [each for each in _from_templates(machines_dir) if each.stem == name]
    if len(found) > 1:
        raise refusal(
            f'machine "{name}" is there twice: {found[0]} and {found[1]}',
            next_step="give one of the files another name",
        )
    if found:
        return found[0]
    if there(path):
        raise NotFound(
            f"{path} is not a file",
            meaning="nothing was run",
            next_step=f"ls -ld {path}   # a machine is one TOML file there",
        )
    names = list_machines(machines_dir)
    raise NotFound(
        f'there is no machine "{name}" in {machines_dir}{did_you_mean(name, names)}',
        meaning="nothing was run",
        next_step=f"there are {', '.join(names)}" if names else f"write {path}",
    )


def list_machines(machines_dir: Path) -> list[str]:
    """Return the names of the machines in `machines_dir`, those of templates as well, sorted."""
    names = {path.stem for path in _from_templates(machines_dir)}
    for path in listed(machines_dir, "*.toml"):
        try:
            check_name("machine", path.stem)
        except DefinitionError:
            continue  # a TOML file of another kind: no machine can have its name
        if is_file(path):
            names.add(path.stem)
    return sorted(names)


def _from_templates(machines_dir: Path) -> Iterator[Path]:
    for template in templates(machines_dir):
        yield from members(template)


def _machine(values: Mapping[str, Any]) -> Machine:
    short = [key for key in _SHORT if key in values]
    long = [key for key in _LONG if key in values]
    if short and long:
        raise refusal(
            f'"{short[0]}" belongs to the short form and "{long[0]}" to the long one',
            next_step="use one form: extract, validate, transform, load; or initial and states",
        )
    if short:
        known(values, (*_COMMON, *_SHORT))
        needed(values, ("machine", "extract"))
        states = _short_states(values)
        initial = states[0].name
    else:
        known(values, (*_COMMON, *_LONG, *(() if long else _SHORT)))
        needed(values, ("machine", *(_LONG if long else ("extract",))))
        tables = table_of("states", values["states"])
        states = tuple(_state(name, value) for name, value in tables.items())
        initial = text_of("initial", values["initial"])
    params = table_of("params", values.get("params", {}))
    # A Machine may be called as a task of one is; a file may not.
    check_name("machine", values["machine"])
    return Machine(
        name=text_of("machine", values["machine"]),
        initial=initial,
        states=states,
        version=values.get("version", 1),
        params=tuple(_param(name, value) for name, value in params.items()),
        deadline_ms=duration_of("deadline", values.get("deadline")),
        partition=_partition(values.get("partition")),
        why=text_of("why", values.get("why", "")),
        notify=names_of("notify", values, example="oncall"),
        triggers=triggers_of(values.get("triggers", {})),
        on_cancel=_on_cancel(values.get("on_cancel")),
        events=event_rules(values.get("events", {})),
        sharing=Sharing(**sharing_fields(values, where="")),
    )


def _on_cancel(value: object) -> State | None:
    if value is None:
        return None
    with at("on_cancel"):
        table = {"run": value} if isinstance(value, str) else table_of(None, value)
        known(table, ("run", "retry", "uses", *CLEANUP_KEYS))
        needed(table, ("run",))
        return _built_state(CANCELLING_STATE, table)


def _short_states(values: Mapping[str, Any]) -> tuple[State, ...]:
    keys = [key for key in _SHORT if key in values]
    targets = [*(_SHORT[key] for key in keys[1:]), "done"]
    acting = []
    for key, target in zip(keys, targets, strict=True):
        with at(key):
            table = _short_state(key, values[key])
            on = {OK: target}
            if "max_rejects" in table:
                on[INVALID] = FAILED_STATE
            acting.append(_built_state(_SHORT[key], {**table, "on": on}))
    return (
        *acting,
        State(name="done", final="success"),
        State(name=FAILED_STATE, final="failure"),
    )


def _short_state(key: str, value: object) -> dict[str, Any]:
    """One line of the short form as a table of the long one."""
    if isinstance(value, str):
        return {"run": value}
    table = dict(table_of(None, value))
    extra = (*STATE_KEYS, "retry", "uses", "queue")
    if key == "load" and "run" not in table:
        known(table, (*LOAD, *extra, "run"))
        return {"load": {k: table.pop(k) for k in LOAD if k in table}, **table}
    known(table, (*_SHORT_KEYS.get(key, ("run",)), *extra))
    return table


def _state(name: str, value: object) -> State:
    with at(f"states.{name}"):
        return _built_state(name, table_of(None, value))


def _built_state(name: str, table: Mapping[str, Any]) -> State:
    known(table, _STATE)
    if sum(key in table for key in (*TASKS, "final")) != 1:
        raise refusal(
            f"must have exactly one of {', '.join(TASKS)}, final",
            next_step='run = "module:function", or final = "success"',
        )
    for task, keys, what in (
        ("contract", VALIDATE, "has a contract"),
        ("run", SOURCE, "runs a source"),
        ("machine", CHILD, "has a child machine"),
    ):
        if misplaced := [key for key in keys if key in table and task not in table]:
            raise refusal(
                f'key "{misplaced[0]}" belongs to a state that {what}',
                next_step=f"write it inside load: load = {{ …, {misplaced[0]} = … }}"
                if "load" in table and misplaced[0] in LOAD
                else f"remove {misplaced[0]}, or say {task} = …",
            )
    return State(
        name=name,
        task=task_of(table),
        final=table.get("final"),
        on=tuple(_transitions(table_of("on", table.get("on", {})))),
        retry=retry_of(table),
        settings={key: table[key] for key in STATE_KEYS if key in table},
        notify=names_of("notify", table, example="oncall"),
        uses=names_of("uses", table, example="crm-api"),
        queue=table.get("queue"),
    )


def _transitions(events: Mapping[str, Any]) -> Iterator[Transition]:
    for event, value in events.items():
        with at(f"on.{event}"):
            choices = value if isinstance(value, list) else [value]
            if not choices:
                raise refusal("leads nowhere", next_step=f'on.{event} = "a state"')
            for choice in choices:
                table: Mapping[str, Any] = (
                    {"to": choice} if isinstance(choice, str) else table_of(None, choice)
                )
                known(table, _TARGET)
                needed(table, ("to",))
                yield Transition(
                    event=event,
                    target=text_of("to", table["to"]),
                    when=table.get("when"),
                    max_visits=table.get("max_visits"),
                )


def _param(name: str, value: object) -> Param:
    with at(f"params.{name}"):
        table: Mapping[str, Any] = (
            {"type": value} if isinstance(value, str) else table_of(None, value)
        )
        known(table, _PARAM)
        required = table.get("required", "default" not in table)
        if not isinstance(required, bool):
            raise refusal(f"required is {required!r}", next_step="required = false")
        if required and "default" in table:
            raise refusal(
                "a parameter with a default is never required",
                next_step="remove default, or required",
            )
        return Param(
            name=name,
            type=table.get("type", "text"),
            default=table.get("default"),
            required=required,
        )


def _partition(value: object) -> Partition | None:
    if value is None:
        return None
    with at("partition"):
        table = table_of(None, value)
        known(table, _PARTITION)
        needed(table, ("by",))
        for key in ("param", "until", "source"):
            if key in table:
                text_of(key, table[key])
        return Partition(**table)
