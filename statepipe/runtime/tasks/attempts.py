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

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from statepipe.batch import Batch
from statepipe.errors import Fatal, Reject, SchemaDrift
from statepipe.io.arrow import as_table
from statepipe.io.marks import highest, start_of
from statepipe.io.rejects import RejectEntry, rejected
from statepipe.io.rows import is_table
from statepipe.io.streams import read_stream
from statepipe.model import OK, Outcome, Record, Task
from statepipe.runtime import failure
from statepipe.runtime.executors import cancellation
from statepipe.runtime.tasks import asynchronous, builtin, jobs
from statepipe.runtime.tasks.acquiring import acquire
from statepipe.runtime.tasks.functions import kind_of, resolve
from statepipe.runtime.tasks.given import ALONE, read_given
from statepipe.runtime.tasks.staging import Ask, Input, Staging, beat
from statepipe.runtime.tasks.watching import watched
from statepipe.store.codec import encode

#: The cursor of a last batch that only carries rejects: the source had already ended.
_ENDED: Final = {"statepipe": "the source has ended"}
#: Position of a rejected record that is not one of the input batch.
_NOWHERE: Final = -1

_NOTHING: Final = {"event": OK, "value": None, "produced": False, "records": 0, "rejected": 0}

_functions: dict[tuple[Any, str], tuple[Callable[..., Any], str]] = {}
_logs: dict[tuple[str, str], logging.Logger] = {}


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
    function, kind = _function(call["function"], call["machines_dir"])
    task = _task(call, ask)
    if kind == "map":
        return _map(function, task, call, ask)
    if kind == "source" and call["cursor"] == _ENDED:
        return _produced(Staging(call, ask))
    try:
        got = function(task)
        if got is None and kind == "call" and not task._rejects:  # noqa: SLF001 the runtime made it
            return dict(_NOTHING)
        got = _awaited(got)
    except Reject as error:
        raise _reject_refused(error) from error
    if hasattr(got, "__arrow_c_stream__"):
        got, kind = read_stream(task, got), "source"
    if kind == "source" or hasattr(got, "__next__") or hasattr(got, "__anext__"):
        return _source(got, task, call, ask)
    if task._rejects:  # noqa: SLF001 the runtime made it
        raise Fatal("task.reject was called by a task without batches; reject in a source or a map")
    event, value = (got.event, got.value) if isinstance(got, Outcome) else (OK, got)
    return {**_NOTHING, "event": event, "value": None if value is None else encode(value)}


def _clean(call: Mapping[str, Any], ask: Ask) -> dict[str, Any]:
    """Call what a machine has for `on_cancel`; what it returns is nobody's input."""
    function, kind = _function(call["function"], call["machines_dir"])
    got = _awaited(function(_task(call, ask))) if kind == "call" else iter(())
    if hasattr(got, "__next__") or hasattr(got, "__anext__"):
        raise Fatal("on_cancel is a function of the task alone, and makes no batches")
    return dict(_NOTHING)


def _job(call: Mapping[str, Any], ask: Ask) -> dict[str, Any]:
    """Submit work that is done elsewhere, or ask how it stands."""
    function, _ = _function(call["function"], call["machines_dir"])
    return jobs.brought(call, _awaited(function(*jobs.arguments(call, _task(call, ask)))))


_WORK: Final[Mapping[str, Callable[[Mapping[str, Any], Ask], dict[str, Any]]]] = {
    "run": _run,
    "validate": builtin.validate,
    "load": builtin.load,
    "job": _job,
    "cancel": _clean,
}


# ---- sources --------------------------------------------------------------------------


def _source(got: Any, task: Task, call: Mapping[str, Any], ask: Ask) -> dict[str, Any]:  # noqa: ANN401 what an author returned
    if call["replays"]:
        raise Fatal(
            "a replay does not read its source again: it was made of rejected records, and all"
            " else is loaded. What it rejected once more is in its own quarantine"
        )
    number = call["next"]
    if number and call["cursor"] is None:
        raise Fatal(
            f"the source cannot go on after batch {number - 1}: it was committed without a cursor."
            " Yield Batch(records, cursor=…) and start at task.cursor;"
            " this instance can be rewound to begin the state again"
        )
    staging = Staging(call, ask)
    if number and call["cursor"] == _ENDED:
        return _produced(staging)
    cursor, mark = call["cursor"], call["mark"]
    steps = _steps(got)
    try:
        for item in steps:
            batch = _batch_of(item)
            cursor = batch.cursor
            given = watched(batch.untouched, call["drift"], partial(ask, {"ask": "shape"}))
            mark = _mark(given.records, mark, call)
            staging.commit(
                number,
                given.records,
                cursor=None if cursor is None else encode(cursor),
                rejects=[*_taken(task), *given.rejects],
                mark=mark,
                seen=given.seen,
            )
            number += 1
            task.idempotency_key = _key(call, number)
            task.batch_size = staging.batch_size
    except Reject as error:
        raise _reject_refused(error) from error
    finally:
        close = getattr(steps, "close", None)
        if close is not None:
            close()
    if task._rejects:  # noqa: SLF001 the runtime made it
        # Rejected after the last batch. The mark keeps a resume from rejecting them twice.
        staging.commit(number, [], cursor=encode(_ENDED), rejects=_taken(task))
    return _produced(staging)


def _mark(records: Any, mark: list[Any] | None, call: Mapping[str, Any]) -> list[Any] | None:  # noqa: ANN401 dicts, or a table
    """Return how far a source with a watermark has come with a batch; see `Mark`."""
    if mark is None:
        return None
    since, start, reached = mark
    return [since, start, highest(records, call["incremental"]["column"], above=reached)]


def _steps(got: Any) -> Iterator[Any]:  # noqa: ANN401 what an author returned
    if hasattr(got, "__aiter__"):
        return asynchronous.iterate(got.__aiter__())
    if isinstance(got, Iterable) and not isinstance(got, str | bytes | Mapping):
        return iter(got)
    raise Fatal(f"the source returned {_kind(got)}; yield Batch(records, cursor=…) instead")


def _batch_of(item: Any) -> Batch:  # noqa: ANN401 what an author yielded
    batch = item if isinstance(item, Batch) else Batch(item)
    if is_table(batch.untouched):  # it may be a stream, which can be read once
        return Batch(as_table(batch.records), cursor=batch.cursor)
    if batch is item or isinstance(item, list):
        return batch
    raise Fatal(
        f"the task made {_kind(item)} where a batch is due;"
        " make Batch(records, cursor=…), a list of dicts, or a table"
    )


# ---- maps -----------------------------------------------------------------------------


def _map(
    function: Callable[..., Any], task: Task, call: Mapping[str, Any], ask: Ask
) -> dict[str, Any]:
    if call.get("given") and call["given"]["is_torn"]:
        raise Fatal(
            "the task maps batches, and several that it needs have made some:"
            f" {', '.join(call['given']['batches'])}. Write it as a source, def name(task), and"
            " take them with task.batches(name)"
        )
    staging = Staging(call, ask)
    staging.share()
    for given in staging.inputs():
        task.idempotency_key = _key(call, given.number)
        made, rejects = _map_batch(function, task, given)
        staging.commit(given.number, made, rejects=rejects, of=given, read=given.staged.records)
    staging.join()
    return _produced(staging)


def _map_batch(
    function: Callable[..., Any], task: Task, given: Input
) -> tuple[Any, list[RejectEntry]]:
    """
    Call `function` until it takes the batch; return what it made, and what was rejected.

    Each `Reject` costs one record and another call. The records are decoded anew for it,
    because the call that raised may have changed them.
    """
    skipped: dict[int, str] = {}
    while True:
        records = given.records()
        places: Sequence[int] = range(len(records))
        if skipped:
            places = [place for place in places if place not in skipped]
            records = [records[place] for place in places]
        if len(records) == 0:  # of a table, too
            return [], _entries(given, skipped)
        task._rejects.clear()  # noqa: SLF001 the runtime made it
        handed = list(records) if isinstance(records, list) else records
        try:
            made = _awaited(function(task, Batch(records)))
        except Reject as error:
            at = _find(error.record, handed)
            if at == _NOWHERE:
                raise Fatal(
                    f"Reject({failure.message_of(error)!r}) names a record that is not in the"
                    " batch; raise it with the record as it was given, or use task.reject"
                ) from error
            skipped[places[at]] = error.reason
            continue
        rejects = list(task._rejects)  # noqa: SLF001  (the runtime made it)
        task._rejects.clear()  # noqa: SLF001  (the runtime made it)
        found = [(_find(record, handed), record, reason) for record, reason in rejects]
        placed = [
            (places[at] if at != _NOWHERE else at, record, reason) for at, record, reason in found
        ]
        return ([] if made is None else _batch_of(made).records), _entries(given, skipped, placed)


def _find(record: Any, handed: Any) -> int:  # noqa: ANN401 an author's record; dicts, or a table
    """Return where in the batch `record` is: that very dict, else an equal one."""
    if not isinstance(handed, list):
        return _NOWHERE
    for at, each in enumerate(handed):
        if each is record:
            return at
    return handed.index(record) if record in handed else _NOWHERE


def _entries(
    given: Input,
    skipped: Mapping[int, str],
    others: Sequence[tuple[int, Record, str]] = (),
) -> list[RejectEntry]:
    """Return the entries of all rejects of one input batch, each record as it was read."""
    if not skipped and not others:
        return []
    originals = given.records()
    listed = [(place, originals[place], reason) for place, reason in skipped.items()]
    for place, record, reason in others:
        listed.append((place, record if place == _NOWHERE else originals[place], reason))
    return [_entry(*each) for each in sorted(listed, key=lambda each: each[0])]


# ---- what every task gets and gives ---------------------------------------------------


def _task(call: Mapping[str, Any], ask: Ask) -> Task:
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
        idempotency_key=_key(call, call["next"]),
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


def _key(call: Mapping[str, Any], number: int) -> str:
    # A second visit is another occasion: its effects must not be taken for the first one's.
    state = call["state"] if call["visit"] == 1 else f"{call['state']}@{call['visit']}"
    return f"{call['instance']}:{call['generation']}:{state}:{call['task']}:{number}"


def _function(ref: Any, machines_dir: str) -> tuple[Callable[..., Any], str]:  # noqa: ANN401 text, or a callable of a machine built in Python
    known = _functions.get((ref, machines_dir))
    if known is None:
        function = ref if callable(ref) else resolve(ref, Path(machines_dir))
        known = _functions[ref, machines_dir] = (function, kind_of(function))
    return known


def _awaited(got: Any) -> Any:  # noqa: ANN401 what an author returned
    return asynchronous.run(got) if hasattr(got, "__await__") else got


def _produced(staging: Staging) -> dict[str, Any]:
    return {
        "event": OK,
        "value": None,
        "produced": True,
        "records": staging.records,
        "rejected": staging.rejected,
    }


def _taken(task: Task) -> list[RejectEntry]:
    """Return the entries of what the task has rejected so far, and forget it."""
    entries = [_entry(_NOWHERE, *each) for each in task._rejects]  # noqa: SLF001 the runtime made it
    task._rejects.clear()  # noqa: SLF001  (the runtime made it)
    return entries


def _entry(position: int, record: object, reason: object) -> RejectEntry:
    message = failure.clean(str(reason), chars_max=failure.MESSAGE_CHARS_MAX)
    return rejected(record, position=position, rule="rejected", path="", message=message)


def _reject_refused(error: Reject) -> Fatal:
    return Fatal(
        f"Reject({failure.message_of(error)!r}) ends a source or a call, which cannot go on"
        " without the record; use task.reject(record, reason) there"
    )


def _kind(value: object) -> str:
    return f"a value of type {type(value).__name__}"
