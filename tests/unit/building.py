"""
Machines for tests: fixed ones, strategies that draw random ones, and a writer of TOML.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.loading.loader import load_machine
from statepipe.machine.names import reference_of
from statepipe.machine.states.jobs import Job
from statepipe.machine.states.judging import Validate
from statepipe.machine.states.taskgraph import Child, Graph, GraphTask
from statepipe.machine.states.tasks import AnyTask, Load, Run
from statepipe.machine.states.waits import Wait

ORDERS = """\
machine = "orders"
version = 3
initial = "extracting"
deadline = "6h"

[params]
day = { type = "date", default = "today" }

[states.extracting]
run = "orders:extract"
retry = "transient"
timeout = "20m"
on = { ok = "validating", empty = "done" }

[states.validating]
contract = "contracts/order.json"
on.ok = [{ to = "loading", when = "records > 0" }, "done"]
on.invalid = { to = "cleaning", max_visits = 2 }

[states.cleaning]
run = "orders:clean"
on = { ok = "extracting" }

[states.loading]
load = { to = "sqlite:///shop.db", table = "orders", key = ["order_id"] }
on = { ok = "done" }

[states.done]
final = "success"

[states.failed]
final = "failure"
"""

KINDS = {"orders:extract": "source", "orders:clean": "call"}


def written(folder: Path, text: str, name: str = "orders") -> Path:
    """Write `text` as the file of machine `name` and return its path."""
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def orders(folder: Path, *edits: tuple[str, str]) -> Machine:
    """Return the machine `orders`, with some of its text replaced."""
    text = ORDERS
    for old, new in edits:
        assert old in text, f"{old!r} is not in the file to edit"
        text = text.replace(old, new)
    return load_machine(written(folder, text))


def acting(name: str, *on: Transition, run: str = "m:f") -> State:
    """Return a state that runs a function."""
    return State(name=name, task=Run(function=run), on=on)


def to(
    target: str, event: str = "ok", when: str | None = None, most: int | None = None
) -> Transition:
    """Return a transition."""
    return Transition(event=event, target=target, when=when, max_visits=most)


def pipeline(*states: State, initial: str = "a", told: tuple[str, ...] = ()) -> Machine:
    """Return a machine of `states` and a successful end called `done`, of which some are told."""
    done = State(name="done", final="success", notify=told)
    return Machine(name="m", initial=initial, states=(*states, done))


_NAMES = ["a", "b-1", "c_2", "end", "note"]
_EVENTS = ["ok", "error", "timeout", "empty", "trigger", "invalid"]
_GUARDS = [None, "attempt > 1", "records == 0 or rejected >= 2", "visit < 3"]


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    """Draw a machine of up to five acting states, with guards and limits anywhere."""
    names = draw(st.lists(st.sampled_from(_NAMES), min_size=1, max_size=5, unique=True))
    targets = st.sampled_from([*names, "done", "failed"])
    states = [draw(_states(name, targets)) for name in names]
    told = draw(st.sampled_from([(), ("oncall",), ("oncall", "team-2")]))
    return replace(pipeline(*states, initial=names[0], told=told), notify=told)


@st.composite
def _states(draw: st.DrawFn, name: str, targets: st.SearchStrategy[str]) -> State:
    task = draw(_tasks)
    by_others = isinstance(task, Graph | Child)
    possible = _EVENTS[:3] if by_others else _EVENTS
    limits = [{}, {"timeout": "20m"}] if by_others else [{}, {"timeout": "20m", "batch_size": 7}]
    retries = [None] if by_others else [None, "transient", {"max_attempts": 4}]
    return State(
        name=name,
        task=task,
        on=tuple(
            transition
            for event in draw(st.lists(st.sampled_from(possible), max_size=4, unique=True))
            for transition in draw(_choices(event, targets))
        ),
        retry=draw(st.sampled_from(retries)),
        settings=draw(st.sampled_from(limits)),
    )


_tasks: st.SearchStrategy[AnyTask] = st.sampled_from(
    [
        Graph(
            tasks=(
                GraphTask(name="end", function="m:f", on_error="skip", settings={"grace": "1s"}),
                GraphTask(name="b-1", function="m:g", effect="at_least_once", retry="transient"),
                GraphTask(
                    name="c_2",
                    function="m:h",
                    needs=("end", "b-1"),
                    foreach="results.end.files",
                    max_parallel=3,
                    when_skipped="run",
                ),
            )
        ),
        Child(machine="other", params={"day": "2013-02-04", "full": True, "of": [1, "x"]}),
        Run(function="m:f"),
        Run(function="m:f", drift={"added": "halt", "nulls": "quarantine"}),
        Run(function="m:f", drift="warn", effect="at_least_once"),
        Validate(contract="contracts/a b.json"),
        Validate(
            contract="contracts/order@3.json",
            accepts=(1, 2, 3),
            upcast={1: "orders:from_v1", 2: "orders:from_v2"},
        ),
        Load(to='sqlite:///"quoted".db', table="t", key=("id", "day")),
        Load(to="sqlite:///x.db", table="t"),
        Load(to="env:WAREHOUSE", table="s.t", mode="replace"),
        Load(to="https://h/x", key=("id",), effect="exactly_once", auth=("me", "env:WORD")),
        Load(to="https://h/x", body="lines", auth={"X-Key": "file:/run/key"}),
        Load(to="env:WAREHOUSE", table="s.t", contract="contracts/order@3.json", columns="add"),
    ]
)


@st.composite
def _choices(draw: st.DrawFn, event: str, targets: st.SearchStrategy[str]) -> list[Transition]:
    chosen = draw(st.lists(targets, min_size=1, max_size=3, unique=True))
    return [
        Transition(
            event=event,
            target=target,
            when=draw(st.sampled_from(_GUARDS)),
            max_visits=None if target == "failed" else draw(st.sampled_from([None, 1, 3])),
        )
        for target in chosen
    ]


def as_toml(machine: Machine) -> str:
    """Return `machine` as the text of a machine file, in the long form."""
    lines = [
        f"machine = {_toml(machine.name)}",
        f"version = {machine.version}",
        f"initial = {_toml(machine.initial)}",
        f"notify = {_toml(list(machine.notify))}",
    ]
    for state in machine.states:
        lines += ["", f"[states.{state.name}]"]
        if state.final is not None:
            lines.append(f"final = {_toml(state.final)}")
            lines += [f"notify = {_toml(list(state.notify))}"] if state.notify else []
        lines += [f"{key} = {_toml(value)}" for key, value in _keys(state.task).items()]
        if state.retry is not None:
            lines.append(f"retry = {_toml(state.retry)}")
        lines += [f"{key} = {_toml(value)}" for key, value in state.settings.items()]
        for event in dict.fromkeys(each.event for each in state.on):
            choices = [
                {
                    "to": each.target,
                    **({} if each.when is None else {"when": each.when}),
                    **({} if each.max_visits is None else {"max_visits": each.max_visits}),
                }
                for each in state.on_event(event)
            ]
            lines.append(f"on.{event} = {_toml(choices)}")
    return "\n".join(lines) + "\n"


def _rest_keys(task: Wait | Job) -> dict[str, Any]:
    if isinstance(task, Wait):
        return {"wait": {"event": list(task.events), "timeout": f"{task.ms}ms"}}
    times = {"every": f"{task.every_ms}ms", "timeout": f"{task.timeout_ms}ms"}
    return {"job": {**{key: reference_of(f) for key, f in task.functions.items()}, **times}}


def _keys(task: AnyTask | None) -> dict[str, Any]:
    """Return the keys of a state that say what its task is; none if it has none."""
    if task is None:
        return {}
    if isinstance(task, Wait | Job):
        return _rest_keys(task)
    if isinstance(task, Load):
        words = ("to", "table", "mode", "contract", "columns", "effect", "body")
        keys = {word: getattr(task, word) for word in words if getattr(task, word)}
        if task.auth is not None:
            keys["auth"] = list(task.auth) if isinstance(task.auth, tuple) else task.auth
        return {"load": {**keys, "key": list(task.key)}}
    if isinstance(task, Graph):
        return {"tasks": {each.name: _graph_task(each) for each in task.tasks}}
    if isinstance(task, Child):
        return {"machine": task.machine, "params": dict(task.params)}
    if isinstance(task, Run):
        said: dict[str, Any] = {"run": task.reference, "drift": task.drift}
        said["effect"] = task.effect or None
    else:
        said = {
            "contract": task.contract,
            "accepts": list(task.accepts) or None,
            "upcast": {str(version): name for version, name in task.upcast.items()} or None,
            "max_rejects": task.max_rejects,
        }
    return {key: value for key, value in said.items() if value is not None}


def _graph_task(task: GraphTask) -> dict[str, Any]:
    words = ("on_error", "when_skipped", "foreach", "max_parallel", "effect", "retry")
    said = {word: getattr(task, word) for word in words if getattr(task, word)}
    return {"run": task.function, "needs": list(task.needs), **said, **task.settings}


def _toml(value: Any) -> str:  # noqa: ANN401 - what a machine file may hold
    if isinstance(value, str | int):
        return json.dumps(value)
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return "{ " + ", ".join(f'"{key}" = {_toml(item)}' for key, item in value.items()) + " }"
