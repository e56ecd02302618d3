"""
Is it still the machine an instance began with; and if not, what changed, in plain sentences.

    canonical           what counts: graph, tasks, contracts, parameters, version, on_cancel
    digest              64 hex digits over it
    describe_changes    two of them compared

Policies (retry, timeout, executor, batch size), the deadline, what starts instances (`triggers`),
who is told (`notify`), what is used (`uses`), what a task's failure means for the others, how many
of a list are worked on at once, how many rejects may be, what to do about drift, whether raw data
is kept, what an effect is declared to be, credentials, `why`, comments and the order of keys do
not count: they may change between a crash and a resume. Nor does the source of the functions:
whoever changes what a task means raises `version`.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.events import rules_form
from statepipe.machine.names import reference_of
from statepipe.machine.states.jobs import Job
from statepipe.machine.states.judging import Validate
from statepipe.machine.states.taskgraph import Child, Graph, GraphTask
from statepipe.machine.states.tasks import AnyTask, Run
from statepipe.machine.states.waits import Wait

#: The shape of the canonical form itself; rises if what counts is written down otherwise.
_FORM = 1


def canonical(machine: Machine, *, contract_digests: Mapping[str, str]) -> dict[str, Any]:
    """
    Return what counts of `machine` as plain JSON data.

    Args:
        machine: The definition.
        contract_digests: The digest of each contract file, by its path in the machine.

    Raises:
        KeyError: If a contract of the machine has no digest.
    """
    return {
        "form": _FORM,
        "machine": machine.name,
        "version": machine.version,
        "initial": machine.initial,
        "params": {
            param.name: {
                "type": param.type,
                "default": _plain(param.default),
                "required": param.required,
            }
            for param in machine.params
        },
        "states": {state.name: _state(state, contract_digests) for state in machine.states},
        **_on_cancel(machine),
        **rules_form(machine.events),
    }


def digest(form: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a canonical form, 64 hex digits; the order of keys is nothing to it."""
    text = json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def describe_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what changed from one canonical form to another, a sentence each; [] if nothing."""
    said = [
        f"{key} was {old.get(key)!r} and is {new.get(key)!r}"
        for key in ("machine", "version", "initial", "on_cancel")
        if old.get(key) != new.get(key)
    ]
    said += _compared("parameter", old["params"], new["params"], _param_changes)
    said += _compared("state", old["states"], new["states"], _state_changes)
    said += _compared(
        "schema of event", old.get("events", {}), new.get("events", {}), _rule_changes
    )
    if not said and digest(old) != digest(new):
        said.append("the definition is written down in another form")
    return said


def _rule_changes(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [f'the schema of event "{name}" was {old["schema"]!r} and is {new["schema"]!r}']


def _plain(value: object) -> Any:  # noqa: ANN401 - any JSON value
    return value.isoformat() if isinstance(value, dt.date) else value


def _on_cancel(machine: Machine) -> dict[str, Any]:
    """What runs on a cancel; not said of machines without, which keep the digest they had."""
    task = machine.on_cancel and machine.on_cancel.task
    return {"on_cancel": task.reference} if isinstance(task, Run) else {}


def _state(state: State, contract_digests: Mapping[str, str]) -> dict[str, Any]:
    if state.task is None:
        return {"final": state.final}
    events: dict[str, list[dict[str, Any]]] = {}
    for each in state.on:
        events.setdefault(each.event, []).append(_transition(each))
    return {"task": _task(state.task, contract_digests), "on": events}


def _task(task: AnyTask, contract_digests: Mapping[str, str]) -> dict[str, Any]:
    if isinstance(task, Run):
        # The lookback is policy: it may change between a crash and a resume.
        mark = {} if task.watermark is None else {"watermark": task.watermark.column}
        return {"run": task.reference, **mark}
    if isinstance(task, Validate):
        return _judge(task, contract_digests)
    if isinstance(task, Job | Wait):
        return _rest(task)
    if isinstance(task, Graph):
        return {"tasks": {each.name: _graph_task(each) for each in task.tasks}}
    if isinstance(task, Child):
        given = {name: _plain(value) for name, value in task.params.items()}
        return {"machine": task.machine, "params": given}
    said: dict[str, Any] = {"load": task.to, "table": task.table, "key": list(task.key)}
    # The others follow from the key, and digests from before there were modes lack it.
    said |= {"mode": task.mode} if task.mode == "replace" else {}
    # Another body cuts a batch into other requests, under other keys.
    said |= {"body": task.body} if task.body not in {"", "array"} else {}
    if task.contract is not None:  # what is done about a column that lacks is policy
        sha256 = contract_digests[task.contract]
        said["made_from"] = {"contract": task.contract, "sha256": sha256}
    return said


def _rest(task: Job | Wait) -> dict[str, Any]:
    # How long, how often and how it is stopped is policy: it may change before a resume.
    if isinstance(task, Job):
        return {"job": reference_of(task.submit), "poll": reference_of(task.poll)}
    of = {"dataset": task.dataset.name} if task.dataset else {}
    return {"wait": list(task.events)} | ({"key": task.key} if task.key else {}) | of


def _graph_task(task: GraphTask) -> dict[str, Any]:
    # What a failure means for the others is policy, and so is how many work at once.
    each = {} if task.foreach is None else {"foreach": task.foreach}
    return {"run": reference_of(task.function), "needs": sorted(task.needs), **each}


def _judge(task: Validate, contract_digests: Mapping[str, str]) -> dict[str, Any]:
    said: dict[str, Any] = {"contract": task.contract, "sha256": contract_digests[task.contract]}
    if task.older:  # only then, so that machines without versions keep the digest they had
        said["older"] = {
            str(each.version): {
                "sha256": contract_digests[each.contract],
                "upcast": task.upcast[each.version],
            }
            for each in task.older
        }
    return said


def _transition(transition: Transition) -> dict[str, Any]:
    said = {
        "to": transition.target,
        "when": transition.when,
        "max_visits": transition.max_visits,
    }
    return {key: value for key, value in said.items() if value is not None}


def _compared(
    what: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    changes: Callable[[str, Any, Any], list[str]],
) -> list[str]:
    said = [f'{what} "{name}" was removed' for name in old if name not in new]
    said += [f'{what} "{name}" was added' for name in new if name not in old]
    for name in old:
        if name in new and old[name] != new[name]:
            said += changes(name, old[name], new[name])
    return said


def _param_changes(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [
        f'{key} of parameter "{name}" was {old[key]!r} and is {new[key]!r}'
        for key in old
        if old[key] != new.get(key)
    ]


def _state_changes(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    if ("final" in old) != ("final" in new):
        return [f'state "{name}" ' + ("became final" if "final" in new else "is no longer final")]
    if "final" in old:
        return [f'final state "{name}" was of kind {old["final"]} and is of kind {new["final"]}']
    return [
        *_task_changes(name, old["task"], new["task"]),
        *_compared_events(name, old["on"], new["on"]),
    ]


def _task_changes(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    if old == new:
        return []
    if "contract" in old and "contract" in new:
        return _judge_changes(name, old, new)
    if "tasks" in old and "tasks" in new:
        was, now = (_of_state(name, each["tasks"]) for each in (old, new))
        return _compared("task", was, now, _within)
    said = _made_from_changes(name, old, new)
    old, new = _complete(old), _complete(new)
    if old.keys() == new.keys():
        return [
            *said,
            *(
                f'{_TASK_WORDS[key]} of "{name}" was {old[key]!r} and is {new[key]!r}'
                for key in _TASK_WORDS
                if key in old and old[key] != new[key]
            ),
        ]
    return [f'the task of "{name}" was {_task_said(old)} and is {_task_said(new)}']


def _of_state(state: str, tasks: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{state}.{name}": task for name, task in tasks.items()}


def _within(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed of one task of several."""
    return [
        f'{word} of task "{name}" was {old.get(key)!r} and is {new.get(key)!r}'
        for key, word in (("run", "the function"), ("needs", "needs"), ("foreach", "foreach"))
        if old.get(key) != new.get(key)
    ]


def _complete(task: Mapping[str, Any]) -> Mapping[str, Any]:
    if "wait" in task:
        return {"key": "", "dataset": "", **task}
    if "load" not in task:
        return task
    plain = {key: value for key, value in task.items() if key != "made_from"}
    return {"mode": "upsert" if task["key"] else "append", "body": "array", **plain}


def _made_from_changes(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What the table of a load is made from."""
    if "load" not in old or "load" not in new:
        return []
    old, new = old.get("made_from", {}), new.get("made_from", {})
    was, now = old.get("contract"), new.get("contract")
    if was != now:
        return [f'the contract of the table of "{name}" was {was!r} and is {now!r}']
    return [] if old == new else [f'contract "{now}" of the table of "{name}" has another content']


def _judge_changes(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    said = []
    if old["contract"] != new["contract"]:
        said.append(f'the contract of "{name}" was {old["contract"]!r} and is {new["contract"]!r}')
    elif old["sha256"] != new["sha256"]:
        said.append(f'contract "{new["contract"]}" of "{name}" has another content')
    before, after = old.get("older", {}), new.get("older", {})
    for version in sorted({*before, *after}, key=int):
        of = f'version {version} of the contract of "{name}"'
        if version not in after:
            said.append(f"{of} is no longer accepted")
        elif version not in before:
            said.append(f"{of} is accepted now")
        else:
            was, now = before[version], after[version]
            if was["sha256"] != now["sha256"]:
                said.append(f"{of} has another content")
            if was["upcast"] != now["upcast"]:
                said.append(f"the upcaster of {of} was {was['upcast']!r} and is {now['upcast']!r}")
    return said


def _task_said(task: Mapping[str, Any]) -> str:
    if "tasks" in task:
        return f"the tasks {', '.join(task['tasks'])}"
    words = ("run", "contract", "load", "wait", "job", "machine")
    said = next(f"{key} {task[key]!r}" for key in words if key in task)
    return f"{said} with watermark {task['watermark']!r}" if "watermark" in task else said


def _compared_events(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    said = [f'transition "{event}" of "{name}" was removed' for event in old if event not in new]
    said += [
        f'transition "{event}" of "{name}" was added, to {_choices_said(new[event])}'
        for event in new
        if event not in old
    ]
    said += [
        f'transition "{event}" of "{name}" went to {_choices_said(old[event])}'
        f" and now goes to {_choices_said(new[event])}"
        for event in old
        if event in new and old[event] != new[event]
    ]
    return said


def _choices_said(choices: list[Mapping[str, Any]]) -> str:
    return ", else ".join(
        f'"{choice["to"]}"'
        + (f" when {choice['when']}" if "when" in choice else "")
        + (f" at most {choice['max_visits']} times" if "max_visits" in choice else "")
        for choice in choices
    )


_TASK_WORDS = {
    "run": "the function",
    "watermark": "the watermark's column",
    "load": "the destination",
    "wait": "the wait",
    "machine": "the child machine",
    "params": "what is given to the child machine",
    "dataset": "the dataset",
    "job": "the function that submits",
    "poll": "the function that polls",
    "table": "the table",
    "key": "the key",
    "mode": "the mode",
    "body": "the body",
}
