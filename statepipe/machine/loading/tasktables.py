"""
What a state's table says of its task, as a value: Run, Validate, Load, Job, Wait, Graph or Child.

    TASKS       the keys that say what runs; a state has one of them
    task_of     the table, to the task
"""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from statepipe.machine.loading.graphtables import graph_of
from statepipe.machine.reading import at, duration_of, needed, table_of, text_of
from statepipe.machine.states.datasets import dataset_of
from statepipe.machine.states.jobs import JOB_KEYS, Job
from statepipe.machine.states.judging import Validate
from statepipe.machine.states.taskgraph import Child, Graph
from statepipe.machine.states.tasks import AnyTask, Load, Run
from statepipe.machine.states.until import Until
from statepipe.machine.states.waits import CALLBACK, Wait
from statepipe.machine.states.watermark import Incremental
from statepipe.tables import known, refusal

#: What a load says.
LOAD: Final = ("to", "table", "key", "mode", "contract", "columns", "effect", "body", "auth")
#: What a state with a contract may say besides.
VALIDATE: Final = ("accepts", "upcast", "max_rejects")
#: What a state that runs a function may say besides, the first three of a source.
SOURCE: Final = ("watermark", "drift", "raw", "effect")
#: What a state with a child machine may say besides.
CHILD: Final = ("params",)


def task_of(table: Mapping[str, Any]) -> AnyTask | None:
    """
    Return the task that the table of a state describes; None if it describes none.

    Raises:
        DefinitionError: If a key is unknown or missing, or a value makes no sense.
    """
    return next((read(table) for key, read in _READERS.items() if key in table), None)


def _run(table: Mapping[str, Any]) -> Run:
    with at("watermark"):
        incremental = _incremental(table.get("watermark"))
    with at("run"):
        run = Run(function=text_of(None, table["run"]), watermark=incremental)
    effect = text_of("effect", table.get("effect", ""))
    return replace(run, drift=table.get("drift"), raw=table.get("raw"), effect=effect)


def _validate(table: Mapping[str, Any]) -> Validate:
    return Validate(
        contract=text_of("contract", table["contract"]),
        **{key: table[key] for key in VALIDATE if key in table},
    )


def _waits(table: Mapping[str, Any]) -> Wait:
    with at("wait"):
        return _wait(table_of(None, table["wait"]))


def _job_of(table: Mapping[str, Any]) -> Job:
    with at("job"):
        return _job(table_of(None, table["job"]))


def _tasks(table: Mapping[str, Any]) -> Graph:
    return graph_of(table["tasks"])


def _child(table: Mapping[str, Any]) -> Child:
    params = table_of("params", table.get("params", {}))
    return Child(machine=text_of("machine", table["machine"]), params=params)


def _load(table: Mapping[str, Any]) -> Load:
    with at("load"):
        load = table_of(None, table["load"])
        known(load, LOAD)
        needed(load, ("to",))
        key = load.get("key", [])
        columns = [key] if isinstance(key, str) else key
        if not isinstance(columns, list):
            raise refusal(f"key is {key!r}, not a list of columns", next_step='key = ["id"]')
        contract = load.get("contract")
        return Load(
            to=text_of("to", load["to"]),
            table=text_of("table", load.get("table", "")),
            key=tuple(columns),
            contract=None if contract is None else text_of("contract", contract),
            auth=tuple(auth) if isinstance(auth := load.get("auth"), list) else auth,
            **{
                word: text_of(word, load.get(word, ""))
                for word in ("mode", "columns", "effect", "body")
            },
        )


def _job(table: Mapping[str, Any]) -> Job:
    known(table, JOB_KEYS)
    needed(table, ("submit", "poll"))
    cancel, times = table.get("cancel"), {}
    for key in ("every", "timeout"):
        if key in table:
            times[f"{key}_ms"] = duration_of(key, table[key]) or 0
    return Job(
        submit=text_of("submit", table["submit"]),
        poll=text_of("poll", table["poll"]),
        cancel=None if cancel is None else text_of("cancel", cancel),
        **times,
    )


def _wait(table: Mapping[str, Any]) -> Wait:
    known(table, ("event", "key", "dataset", "callback", "timeout", "for", "until", "tz"))
    table = _called_back(table)
    asks = [key for key in ("event", "dataset", "for") if key in table]
    if (len(asks) != 1 and (asks or "until" not in table)) or ("for" in asks and "until" in table):
        raise refusal(
            "must have one of event, dataset, until and for, or until with one of the first two",
            next_step='{ event = "approved", timeout = "2d" }, { until = "06:00" }'
            ' or { for = "10m" }',
        )
    until = _until(table)
    if asks in ([], ["for"]):
        if extra := [key for key in ("timeout", "key") if key in table]:
            key = "for" if asks else "until"
            raise refusal(f"{key} is its own end", next_step=f"remove {extra[0]}")
        return Wait(ms=duration_of("for", table.get("for")) or 0, until=until)
    if until is None and "timeout" not in table:
        raise refusal(
            "has no timeout: it could wait for ever",
            next_step='{ event = …, timeout = "2d" }, or { event = …, until = "18:00" }',
        )
    ms = duration_of("timeout", table.get("timeout")) or 0
    if "dataset" in table:
        if "key" in table:
            raise refusal("key belongs to an event", next_step="remove key")
        dataset, key = dataset_of(table["dataset"])
        return Wait(dataset=dataset, key=key, ms=ms, until=until)
    named = table["event"]
    events = [named] if isinstance(named, str) else named
    if not isinstance(events, list) or not events:
        raise refusal(
            f"event is {named!r}, neither a name nor a list of names",
            next_step='event = "approved"',
        )
    key = text_of("key", table.get("key", ""))
    return Wait(events=tuple(events), ms=ms, until=until, key=key)


def _called_back(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the table of a wait for a callback as one for events: for that of its own name."""
    if "callback" not in table:
        return table
    if table["callback"] is not True or "key" in table:
        raise refusal(
            "callback is true, and what calls back knows its instance: there is no key",
            next_step='{ callback = true, timeout = "2d" }',
        )
    return {"event": CALLBACK, **{key: table[key] for key in table if key != "callback"}}


def _until(table: Mapping[str, Any]) -> Until | None:
    if "until" not in table:
        if "tz" in table:
            raise refusal("tz is of a moment, and there is none", next_step='until = "06:00"')
        return None
    value = table["until"]
    if isinstance(value, dt.date | dt.time):  # TOML has moments of its own
        value = value.isoformat()
    return Until(text=text_of("until", value), tz=text_of("tz", table.get("tz", "UTC")))


def _incremental(value: object) -> Incremental | None:
    if value is None:
        return None
    table: Mapping[str, Any] = (
        {"column": value} if isinstance(value, str) else table_of(None, value)
    )
    known(table, ("column", "lookback"))
    needed(table, ("column",))
    column, lookback = text_of("column", table["column"]), table.get("lookback")
    if not isinstance(lookback, str):
        return Incremental(column=column, lookback=lookback)
    return Incremental(column=column, lookback_ms=duration_of("lookback", lookback))


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], AnyTask]]] = {
    "run": _run,
    "contract": _validate,
    "load": _load,
    "wait": _waits,
    "job": _job_of,
    "tasks": _tasks,
    "machine": _child,
}
TASKS: Final = tuple(_READERS)
