"""One attempt: what a task's function does becomes batches, results and plain failures."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from statepipe.batch import Batch
from statepipe.errors import Fatal, Reject, Throttled
from statepipe.model import Outcome, Task
from statepipe.runtime.tasks.attempts import perform
from statepipe.store.codec import decode
from tests.runtime.memory_loop import Loop, call_of, failed, given


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    """Answer as the loop would."""
    (tmp_path / "stage").mkdir()
    return Loop(tmp_path / "stage")


# ---- sources --------------------------------------------------------------------------


def numbers(task: Task) -> Iterator[Batch]:
    """Yield three batches of one record."""
    for n in range(task.cursor or 0, 3):
        yield Batch([{"n": n}], cursor=n + 1)


async def numbers_async(task: Task) -> AsyncIterator[Batch]:
    """Yield the same, asynchronously."""
    for n in range(task.cursor or 0, 3):
        yield Batch([{"n": n}], cursor=n + 1)


def numbers_returned(task: Task) -> Iterator[Batch]:
    """Return an iterator instead of being a generator."""
    return iter(list(numbers(task)))


@pytest.mark.parametrize("source", [numbers, numbers_async, numbers_returned])
@pytest.mark.parametrize("stop_at", range(4))
def test_a_source_goes_on_after_its_last_committed_batch(
    loop: Loop, source: Callable[..., Any], stop_at: int
) -> None:
    """Stopped at any question and called again, it has made each batch once."""
    loop.stop_at = stop_at
    first = perform(call_of(loop, source), loop)
    loop.stop_at = None
    second = perform(call_of(loop, source), loop)

    assert "failed" not in first or failed(first) == ("TaskCancelled", "stop")
    assert second["event"] == "ok"
    assert second["produced"]
    assert loop.records() == [[{"n": 0}], [{"n": 1}], [{"n": 2}]]


def stream_returned(_task: Task) -> pa.Table:
    """Return a table, which is an Arrow stream."""
    return pa.table({"n": range(5)})


async def stream_awaited(_task: Task) -> Any:  # noqa: ANN401 a stream, not said so
    """Return a stream that ends when it is read."""
    table = pa.table({"n": range(5)})
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(2))


@pytest.mark.parametrize("source", [stream_returned, stream_awaited])
@pytest.mark.parametrize("stop_at", range(4))
def test_a_stream_that_is_returned_is_committed_in_batches(
    loop: Loop, source: Callable[..., Any], stop_at: int
) -> None:
    """Stopped at any question and asked for again, each row is in one batch."""
    loop.stop_at = stop_at
    perform({**call_of(loop, source), "batch_size": 2}, loop)
    loop.stop_at = None
    second = perform({**call_of(loop, source), "batch_size": 2}, loop)

    assert second["produced"]
    rows = [table.to_pylist() for table in loop.records()]
    assert rows == [[{"n": 0}, {"n": 1}], [{"n": 2}, {"n": 3}], [{"n": 4}]]


def test_a_source_does_not_go_on_before_its_batch_is_committed(loop: Loop) -> None:
    """The generator stands still at its yield while the question is open."""
    seen: list[int] = []

    def source(_task: Task) -> Iterator[Batch]:
        for n in range(3):
            seen.append(len(loop.batches))
            yield Batch([{"n": n}], cursor=n)

    perform(call_of(loop, source), loop)

    assert seen == [0, 1, 2]


def test_a_stopped_source_is_closed(loop: Loop) -> None:
    """Its `finally` runs, so it can let go of what it holds."""
    closed: list[bool] = []

    def source(_task: Task) -> Iterator[Batch]:
        try:
            yield Batch([{"n": 0}])
        finally:
            closed.append(True)

    loop.stop_at = 0
    perform(call_of(loop, source), loop)

    assert closed == [True]


def test_a_source_without_cursors_is_not_resumed_silently(loop: Loop) -> None:
    """What it would yield now need not be what it yielded then."""

    def source(_task: Task) -> Iterator[Any]:
        yield [{"n": 0}]
        yield [{"n": 1}]

    loop.stop_at = 1
    perform(call_of(loop, source), loop)
    loop.stop_at = None

    kind, message = failed(perform(call_of(loop, source), loop))
    assert kind == "Fatal"
    assert "cursor" in message


@pytest.mark.parametrize("item", [17, "text", {"n": 1}, None, (1, 2)], ids=str)
def test_only_batches_can_be_yielded(loop: Loop, item: object) -> None:
    """Anything else is named, and not retried."""

    def source(_task: Task) -> Iterator[Any]:
        yield item

    kind, message = failed(perform(call_of(loop, source), loop))

    assert kind == "Fatal"
    assert type(item).__name__ in message
    assert loop.batches == []


def test_a_table_is_staged_as_a_table(loop: Loop) -> None:
    """The columnar path makes no dicts; an empty table keeps its columns."""
    table = pa.table({"n": [1, 2]})

    def source(_task: Task) -> Iterator[Any]:
        yield Batch(table, cursor=1)
        yield Batch(table.slice(2), cursor=2)

    result = perform(call_of(loop, source), loop)

    assert (result["records"], [each.format for each in loop.batches]) == (2, ["arrow"] * 2)
    assert [records.column_names for records in loop.records()] == [["n"], ["n"]]


@pytest.mark.parametrize("stop_at", [0, 1, 2, None])
def test_what_a_source_rejects_is_in_quarantine_once(loop: Loop, stop_at: int | None) -> None:
    """With a batch or after the last one, and however often it is called again."""

    def source(task: Task) -> Iterator[Batch]:
        if not task.cursor:
            task.reject({"n": -1}, "negative")
            yield Batch([{"n": 1}], cursor=1)
        task.reject({"n": -2}, "negative, too")

    loop.stop_at = stop_at
    perform(call_of(loop, source), loop)
    loop.stop_at = None
    perform(call_of(loop, source), loop)
    perform(call_of(loop, source), loop)

    assert loop.rejected() == [({"n": -1}, "negative", -1), ({"n": -2}, "negative, too", -1)]
    assert [(each.records, each.read) for each in loop.batches] == [(1, 2), (0, 1)]


def test_a_rejected_record_that_cannot_be_kept_is_shown(loop: Loop) -> None:
    """The reason for the reject must not prevent it."""

    def source(task: Task) -> Iterator[Batch]:
        task.reject({"thing": object}, "not \ud800 data")
        yield Batch([])

    assert perform(call_of(loop, source), loop)["rejected"] == 1
    ((record, message, _position),) = loop.rejected()
    assert "class 'object'" in record["not plain data"]
    assert message == "not \\ud800 data"


# ---- maps -----------------------------------------------------------------------------


def test_each_input_batch_gives_one_output_batch(loop: Loop) -> None:
    """None and an empty list are batches, too; what is committed is not made again."""
    given(loop, [{"n": 1}, {"n": 2}], [{"n": 3}], [], [{"n": 4}])
    keys: list[str] = []

    def double(task: Task, batch: Batch) -> Batch | None:
        keys.append(task.idempotency_key)
        if batch.records[0]["n"] == 3:
            return None
        return Batch([{"n": 2 * each["n"]} for each in batch.records])

    loop.stop_at = 3
    perform(call_of(loop, double), loop)
    loop.stop_at = None
    result = perform(call_of(loop, double), loop)

    assert loop.records() == [[{"n": 2}, {"n": 4}], [], [], [{"n": 8}]]
    assert (loop.batches[1].file, loop.batches[1].body, loop.batches[1].read) == (None, None, 1)
    assert result["records"] == 3, "of the whole stay"
    assert keys == [f"orders-7:1:extracting:extracting:{n}" for n in (0, 1, 1, 3)]


def test_a_rejected_record_costs_itself_only(loop: Loop) -> None:
    """The function is called again without it, on records nobody has touched."""
    given(loop, [{"n": n} for n in range(6)])

    def strict(_task: Task, batch: Batch) -> list[dict[str, Any]]:
        for record in batch.records:
            record["seen"] = record.get("seen", 0) + 1
            if record["n"] in {1, 4}:
                raise Reject(record, f"{record['n']} will not do")
        return list(batch.records)

    result = perform(call_of(loop, strict), loop)

    assert loop.records() == [[{"n": n, "seen": 1} for n in (0, 2, 3, 5)]]
    assert loop.rejected() == [({"n": 1}, "1 will not do", 1), ({"n": 4}, "4 will not do", 4)]
    assert (result["records"], result["rejected"]) == (4, 2)
    assert loop.batches[0].read == 6


def test_a_map_may_reject_several_and_all(loop: Loop) -> None:
    """`task.reject` needs no second call; a batch may end empty."""
    given(loop, [{"n": 0}, {"n": 1}], [{"n": 2}])

    async def none(task: Task, batch: Batch) -> list[dict[str, Any]]:
        if len(batch.records) == 1:
            raise Reject(dict(batch.records[0]), "alone")
        for record in batch.records:
            task.reject(record, "unwanted")
        return []

    perform(call_of(loop, none), loop)

    assert loop.records() == [[], []]
    assert loop.rejected() == [
        ({"n": 0}, "unwanted", 0),
        ({"n": 1}, "unwanted", 1),
        ({"n": 2}, "alone", 0),
    ]
    assert loop.rejects[0].reasons == {"unwanted": 2}


def test_a_reject_of_a_foreign_record_is_an_error(loop: Loop) -> None:
    """Going on would call the function for ever."""
    given(loop, [{"n": 0}])

    def confused(_task: Task, _batch: Batch) -> Batch:
        raise Reject({"n": 17}, "who?")

    assert failed(perform(call_of(loop, confused), loop))[0] == "Fatal"


def test_a_damaged_input_is_named_and_not_used(loop: Loop) -> None:
    """The digest of the committed batch decides."""
    given(loop, [{"n": 0}])
    loop.inputs[0] = loop.inputs[0]._replace(sha256=bytes(32))

    def keep(_task: Task, batch: Batch) -> Batch:
        return batch

    assert failed(perform(call_of(loop, keep), loop))[0] == "StagedDataDamaged"


# ---- calls ----------------------------------------------------------------------------


async def greet(task: Task) -> str:
    """Return a value, asynchronously."""
    return f"hello {task.instance}"


@pytest.mark.parametrize(
    ("function", "event", "value"),
    [
        (lambda _task: None, "ok", None),
        (lambda _task: {"rows": (1, 2)}, "ok", {"rows": (1, 2)}),
        (lambda _task: Outcome("invalid", {"bad": 17}), "invalid", {"bad": 17}),
        (lambda task: task.params["day"], "ok", "2013-02-09"),
        (greet, "ok", "hello orders-7"),
    ],
)
def test_what_a_call_returns_is_its_outcome(
    loop: Loop, function: Callable[..., Any], event: str, value: object
) -> None:
    """An Outcome names the event; anything else is ok with that value."""
    result = perform(call_of(loop, function), loop)

    assert (result["event"], result["produced"]) == (event, False)
    assert (None if result["value"] is None else decode(result["value"])) == value


def raise_it(error: BaseException) -> Callable[..., Any]:
    """Return a task that raises `error`."""

    def task(_task: Task) -> None:
        raise error

    return task


def raise_exit_async() -> Callable[..., Any]:
    """Return a task that ends the event loop, or would."""

    async def task(_task: Task) -> None:
        raise SystemExit(3)

    return task


@pytest.mark.parametrize(
    ("function", "names", "message"),
    [
        (raise_it(KeyError("k")), ["KeyError", "LookupError", "Exception"], "'k'"),
        (raise_it(Fatal("never")), ["Fatal", "TaskError", "Exception"], "never"),
        (raise_it(SystemExit(3)), ["SystemExit"], "3"),
        (raise_exit_async(), ["SystemExit"], "3"),
        (raise_it(KeyboardInterrupt()), ["KeyboardInterrupt"], ""),
        (raise_it(BaseException("bare")), ["BaseException"], "bare"),
    ],
)
def test_whatever_a_task_raises_is_reported(
    loop: Loop, function: Callable[..., Any], names: list[str], message: str
) -> None:
    """By class names, most derived first, for policies to match."""
    result = perform(call_of(loop, function), loop)["failed"]

    assert (result["names"], result["message"]) == (names, message)
    assert result["traceback"].startswith("Traceback")
    assert result["retry_after_ms"] is None


@pytest.mark.parametrize(
    ("seconds", "ms"),
    [(2, 2_000), (0.5, 500), (0, 0), (None, None), (-1, None), (float("nan"), None)],
)
def test_a_throttled_task_says_for_how_long(
    loop: Loop, seconds: float | None, ms: int | None
) -> None:
    """Nonsense is as good as nothing."""
    function = raise_it(Throttled(retry_after=seconds))

    assert perform(call_of(loop, function), loop)["failed"]["retry_after_ms"] == ms


@pytest.mark.parametrize(
    ("value", "path"), [({"rows": [lambda: 0]}, "$.rows[0]"), (b"x" * (2 << 20), "$")]
)
def test_a_result_that_cannot_be_kept_is_refused_with_its_path(
    loop: Loop, value: object, path: str
) -> None:
    """Before anything is committed."""
    kind, message = failed(perform(call_of(loop, lambda _task: value), loop))

    assert kind == "ValueRefused"
    assert path in message


def test_an_unknown_function_is_a_failure_with_a_hint(loop: Loop) -> None:
    """The machine may have changed since it was checked."""
    kind, _message = failed(perform(call_of(loop, "nowhere:at_all"), loop))

    assert kind == "DefinitionError"


def test_a_heartbeat_reaches_the_loop_and_brings_the_stop_back(loop: Loop) -> None:
    """It is the cheapest question."""

    def patient(task: Task) -> None:
        task.heartbeat()
        task.heartbeat()

    loop.stop_at = 1
    result = perform(call_of(loop, patient), loop)

    assert failed(result)[0] == "TaskCancelled"
    assert loop.asked == ["beat"]
