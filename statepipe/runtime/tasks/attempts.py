"""
The worker's side of an attempt: run one task, ask for each commit, report how it ended.

    perform     a call (plain data) and a way to ask -> the outcome (plain data)

    def extract(task)           yields batches: each is staged and committed before the next;
                                or returns one Arrow stream, which is cut into batches
    def transform(task, batch)  called once per input batch; what it returns is committed
    def approve(task)           called once; what it returns is its result

`perform` runs in a worker process, a thread, or the loop's own thread, and knows nothing
of which. What it gets and gives:

    call    work (one of `_WORK`), who and where it is, `next`: the first batch that is not
            committed, `cursor`: where the last committed one ended,
            `records` and `rejected`: how many this stay has committed
    ask     {"ask": "next" | "input" | "plan" | "shape", …} -> the answer; "batch" | "loaded":
            to commit; "share" | "turn" | "join": with others at the same input; "permit": of a
            resource; "beat". Raises TaskCancelled when the attempt must stop
    result  {"event", "value", "produced", "records", "rejected"}, perhaps a "note" on why, or
            {"failed": {"names", "message", "traceback", "retry_after_ms"}}, perhaps "drifts"

Work redone after a crash is what was not committed: at most the one batch in the making,
of each worker if several share the input.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from statepipe.errors import Fatal, Reject, SchemaDrift
from statepipe.io.streams import read_stream
from statepipe.model import OK, Outcome
from statepipe.runtime import failure
from statepipe.runtime.executors import cancellation
from statepipe.runtime.tasks import builtin, jobs
from statepipe.runtime.tasks.calling import awaited, function_of, task_of
from statepipe.runtime.tasks.making import produced, reject_refused
from statepipe.runtime.tasks.maps import map_batches
from statepipe.runtime.tasks.sources import ENDED, commit_batches
from statepipe.runtime.tasks.staging import Ask, Staging
from statepipe.store.codec import encode

_NOTHING: Final = {"event": OK, "value": None, "produced": False, "records": 0, "rejected": 0}


def perform(call: Mapping[str, Any], ask: Ask) -> dict[str, Any]:
    """
    Run the task of one attempt.

    Never raises for what the author's code does; only SystemExit passes, and only where
    the attempt has a process to itself.
    """
    try:
        return _WORK[call["work"]](call, ask)
    except SchemaDrift as error:
        return {"failed": failure.describe(error), "drifts": [list(each) for each in error.drifts]}
    except SystemExit as error:
        if cancellation.current().own_process:
            raise
        return {"failed": failure.describe(error)}
    except BaseException as error:  # noqa: BLE001 whatever the author's code raises is reported
        return {"failed": failure.describe(error)}


def _run(call: Mapping[str, Any], ask: Ask) -> dict[str, Any]:
    function, kind = function_of(call["function"], call["machines_dir"])
    task = task_of(call, ask)
    if kind == "map":
        return map_batches(function, task, call, ask)
    if kind == "source" and call["cursor"] == ENDED:
        return produced(Staging(call, ask))
    try:
        got = function(task)
        if got is None and kind == "call" and not task._rejects:  # noqa: SLF001 the runtime made it
            return dict(_NOTHING)
        got = awaited(got)
    except Reject as error:
        raise reject_refused(error) from error
    if hasattr(got, "__arrow_c_stream__"):
        got, kind = read_stream(task, got), "source"
    if kind == "source" or hasattr(got, "__next__") or hasattr(got, "__anext__"):
        return commit_batches(got, task, call, ask)
    if task._rejects:  # noqa: SLF001 the runtime made it
        raise Fatal("task.reject was called by a task without batches; reject in a source or a map")
    event, value = (got.event, got.value) if isinstance(got, Outcome) else (OK, got)
    return {**_NOTHING, "event": event, "value": None if value is None else encode(value)}


def _clean(call: Mapping[str, Any], ask: Ask) -> dict[str, Any]:
    """Call what a machine has for `on_cancel`; what it returns is nobody's input."""
    function, kind = function_of(call["function"], call["machines_dir"])
    got = awaited(function(task_of(call, ask))) if kind == "call" else iter(())
    if hasattr(got, "__next__") or hasattr(got, "__anext__"):
        raise Fatal("on_cancel is a function of the task alone, and makes no batches")
    return dict(_NOTHING)


def _job(call: Mapping[str, Any], ask: Ask) -> dict[str, Any]:
    """Submit work that is done elsewhere, or ask how it stands."""
    function, _ = function_of(call["function"], call["machines_dir"])
    return jobs.brought(call, awaited(function(*jobs.arguments(call, task_of(call, ask)))))


_WORK: Final[Mapping[str, Callable[[Mapping[str, Any], Ask], dict[str, Any]]]] = {
    "run": _run,
    "validate": builtin.validate,
    "load": builtin.load,
    "job": _job,
    "cancel": _clean,
}
