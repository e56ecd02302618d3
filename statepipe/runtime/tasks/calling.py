"""
What a task is called with: the author's function, and a Task made of the call.

    function_of     the function, and what kind of task it is
    task_of         the Task
    key_of          its idempotency key for one batch
    awaited         what an `async def` function comes to
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from statepipe.io.marks import start_of
from statepipe.model import Task
from statepipe.runtime.executors import cancellation
from statepipe.runtime.tasks import asynchronous
from statepipe.runtime.tasks.acquiring import acquire
from statepipe.runtime.tasks.functions import kind_of, resolve
from statepipe.runtime.tasks.given import ALONE, read_given
from statepipe.runtime.tasks.staging import Ask, beat

_functions: dict[tuple[Any, str], tuple[Callable[..., Any], str]] = {}
_logs: dict[tuple[str, str], logging.Logger] = {}


def function_of(ref: Any, machines_dir: str) -> tuple[Callable[..., Any], str]:  # noqa: ANN401 text, or a callable of a machine built in Python
    """Return the function of a call, found once, and its kind: "source", "map" or "call"."""
    known = _functions.get((ref, machines_dir))
    if known is None:
        function = ref if callable(ref) else resolve(ref, Path(machines_dir))
        known = _functions[ref, machines_dir] = (function, kind_of(function))
    return known


def task_of(call: Mapping[str, Any], ask: Ask) -> Task:
    """Return the Task that stands for a call."""
    machine, state = call["machine"], call["state"]
    log = _logs.get((machine, state))
    if log is None:
        log = _logs[machine, state] = logging.getLogger(f"statepipe.task.{machine}.{state}")
    flag = cancellation.current()
    given = call.get("given") or ALONE
    return Task(
        instance=call["instance"],
        machine=machine,
        state=state,
        name=call["task"],
        attempt=call["attempt"],
        params=call["params"],
        cursor=call["cursor"],
        watermark=_start(call),
        results=call["results"],
        batch_size=call["batch_size"],
        log=log,
        idempotency_key=key_of(call, call["next"]),
        callback_token=call.get("callback_token"),
        item=given["item"],
        skipped=tuple(given["skipped"]),
        _read=partial(read_given, call, ask, given),
        _beat=partial(beat, ask, flag),
        _is_cancelled=partial(getattr, flag, "raised"),
        _acquire=partial(acquire, ask, flag),
    )


def _start(call: Mapping[str, Any]) -> Any:  # noqa: ANN401 a column's value
    if call["mark"] is None:
        return None
    incremental, (_, start, _) = call["incremental"], call["mark"]
    lookback_ms, lookback = incremental["lookback_ms"], incremental["lookback"]
    return start_of(start, lookback_ms=lookback_ms, lookback=lookback)


def key_of(call: Mapping[str, Any], number: int) -> str:
    """Return the idempotency key of batch `number`."""
    # A second visit is another occasion: its effects must not be taken for the first one's.
    state = call["state"] if call["visit"] == 1 else f"{call['state']}@{call['visit']}"
    return f"{call['instance']}:{call['generation']}:{state}:{call['task']}:{number}"


def awaited(got: Any) -> Any:  # noqa: ANN401 what an author returned
    """Return `got`, or what it comes to if it is a coroutine."""
    return asynchronous.run(got) if hasattr(got, "__await__") else got
