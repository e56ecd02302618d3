"""The three executors are one: what the loop may rely on, whichever a policy names."""

import operator
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, as_completed, wait
from queue import SimpleQueue
from typing import Any

import pyarrow as pa
import pytest

from statepipe.errors import TaskCancelled, TaskTimeout, Throttled, ValueRefused
from statepipe.runtime.executors import cancellation, wire
from statepipe.runtime.executors.inline import InlineExecutor
from statepipe.runtime.executors.process import ProcessExecutor
from statepipe.runtime.executors.thread import ThreadExecutor

Pool = InlineExecutor | ThreadExecutor | ProcessExecutor

MAKERS: dict[str, Callable[[], Pool]] = {
    "inline": InlineExecutor,
    "thread": lambda: ThreadExecutor(2),
    "process": lambda: ProcessExecutor(2),
}


@pytest.fixture(params=MAKERS)
def executor(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """Each of the three in turn."""
    made = MAKERS[request.param]()
    yield made
    made.shutdown()


def ask_twice(ask: Callable[[int], Any]) -> Any:  # noqa: ANN401 whatever it is told
    """Call a callable of the caller."""
    return ask(1) + ask(2)


def ask_by_name(*, ask: Callable[..., int]) -> int:
    """Call a callable given by name, by name."""
    return ask(by=3)


def throttle() -> None:
    """Raise one of our errors."""
    raise Throttled("slow down", retry_after=2)


def survive_a_refusal(ask: Callable[[int], object]) -> str:
    """Catch what a callable raises."""
    try:
        ask(0)
    except TaskCancelled as error:
        return f"cancelled: {error}"
    return "not cancelled"


def flag_is_down() -> bool:
    """Say whether the call was asked to stop."""
    return not cancellation.current().raised


def arrow_pool() -> str:
    """Return where the process has Arrow's memory from."""
    name: str = pa.default_memory_pool().backend_name
    return name


@pytest.mark.parametrize(("named", "used"), [(None, "system"), ("mimalloc", "mimalloc")])
def test_a_worker_process_has_one_memory_for_all_unless_it_is_told_another(
    monkeypatch: pytest.MonkeyPatch, named: str | None, used: str
) -> None:
    """What one batch has freed is the next one's, whether Arrow or Python asks for it."""
    monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
    if named is not None:
        monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", named)
    executor = ProcessExecutor(1)

    assert executor.submit(arrow_pool).result() == used
    executor.shutdown()


def test_every_executor_is_a_standard_one(executor: Pool) -> None:
    """`wait`, `as_completed`, callbacks and results work as with any other."""
    assert isinstance(executor, Executor)
    futures = [executor.submit(operator.add, n, n) for n in range(10)]
    called: SimpleQueue[Any] = SimpleQueue()
    for future in futures:
        future.add_done_callback(called.put)

    assert wait(futures, timeout=10).not_done == set()
    assert sorted(future.result() for future in as_completed(futures, timeout=10)) == [
        2 * n for n in range(10)
    ]
    assert {called.get(timeout=10) for _ in futures} == set(futures)
    assert not futures[0].cancel()
    assert futures[0].done()
    assert futures[0].exception() is None


def test_arguments_and_results_arrive_as_they_are(executor: Pool) -> None:
    """Plain data crosses any border unchanged."""
    value = [None, True, 1 << 70, 0.1, "ü", b"\0", {"a": (1, {2})}]

    assert executor.submit(operator.getitem, [value], 0).result(timeout=10) == value


def test_a_callable_is_called_where_it_came_from(executor: Pool) -> None:
    """The task asks, the caller's side answers, positions and names alike."""
    asked: list[int] = []

    def answer(by: int) -> int:
        asked.append(by)
        return by * 10

    assert executor.submit(ask_twice, answer).result(timeout=10) == 30
    assert executor.submit(ask_by_name, ask=answer).result(timeout=10) == 30
    assert asked == [1, 2, 3]


def test_what_a_callable_raises_is_raised_in_the_task(executor: Pool) -> None:
    """TaskCancelled is TaskCancelled there."""

    def refuse(_request: object) -> None:
        raise TaskCancelled("stop, please")

    future = executor.submit(survive_a_refusal, refuse)

    assert future.result(timeout=10) == "cancelled: stop, please"


@pytest.mark.parametrize(
    ("fn", "args", "kind", "text"),
    [
        (operator.truediv, (1, 0), ZeroDivisionError, "division by zero"),
        (int, ("x",), ValueError, "invalid literal"),
        (throttle, (), Throttled, "slow down"),
    ],
)
def test_an_error_keeps_its_class_and_its_text(
    executor: Pool,
    fn: Callable[..., Any],
    args: tuple[object, ...],
    kind: type[Exception],
    text: str,
) -> None:
    """Builtins and our own are rebuilt from their name; nothing is pickled."""
    error = executor.submit(fn, *args).exception(timeout=10)

    assert type(error) is kind
    assert text in str(error)


def test_a_call_that_nobody_killed_sees_no_flag(executor: Pool) -> None:
    """Flags belong to calls, not to threads."""
    assert executor.submit(flag_is_down).result(timeout=10)


def test_a_kill_after_the_end_changes_nothing(executor: Pool) -> None:
    """The loop may be late."""
    future = executor.submit(operator.add, 1, 1)
    assert future.result(timeout=10) == 2

    executor.kill(future, TaskTimeout("late"), grace_ms=0)

    assert future.result() == 2


def test_nothing_is_accepted_after_shutdown(executor: Pool) -> None:
    """And shutting down twice is fine."""
    executor.submit(operator.add, 1, 1)
    executor.shutdown()
    executor.shutdown()

    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(operator.add, 1, 1)


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_queued_call_can_be_killed_and_cancelled(kind: str) -> None:
    """Neither ever begins; what runs is not disturbed."""
    executor = MAKERS[kind]()
    go, begun = threading.Event(), threading.Semaphore(0)
    called: list[int] = []

    def hold(_number: int) -> int:
        begun.release()
        go.wait(10)
        return 0

    busy = [executor.submit(ask_twice, hold) for _ in range(2)]
    for _ in busy:
        assert begun.acquire(timeout=10)
    killed, cancelled, kept = (executor.submit(ask_twice, called.append) for _ in range(3))
    executor.kill(killed, TaskTimeout("queued too long"), grace_ms=0)

    assert isinstance(killed.exception(timeout=1), TaskTimeout)
    assert cancelled.cancel()
    assert cancelled.cancelled()
    go.set()
    assert [future.result(timeout=10) for future in busy] == [0, 0]
    assert isinstance(kept.exception(timeout=10), TypeError)  # None + None: it did run
    assert called == [1, 2]
    executor.shutdown()


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_shutdown_can_drop_what_is_queued(kind: str) -> None:
    """Calls under way end; waiting ones are cancelled."""
    executor = MAKERS[kind]()
    go, begun = threading.Event(), threading.Semaphore(0)

    def hold(_number: int) -> int:
        begun.release()
        go.wait(10)
        return 0

    busy = [executor.submit(ask_twice, hold) for _ in range(2)]
    for _ in busy:
        assert begun.acquire(timeout=10)
    queued = [executor.submit(operator.add, 1, 1) for _ in range(5)]
    executor.shutdown(wait=False, cancel_futures=True)
    go.set()
    executor.shutdown(wait=True)

    assert all(future.cancelled() for future in queued)
    assert [future.result() for future in busy] == [0, 0]


def test_an_abandoned_thread_loses_its_slot_and_its_voice() -> None:
    """The future ends at once, the pool keeps its size, the task's questions are refused."""
    executor = ThreadExecutor(1)
    go, begun = threading.Event(), threading.Event()
    heard: SimpleQueue[object] = SimpleQueue()

    def stuck(ask: Callable[[object], object]) -> None:
        begun.set()
        go.wait(10)
        try:
            ask("must not arrive")
        except TaskCancelled as error:
            heard.put(error)

    def fail(_request: object) -> None:
        heard.put("it did")

    future = executor.submit(stuck, fail)
    assert begun.wait(10)
    executor.kill(future, TaskTimeout("over"), grace_ms=60_000)

    assert isinstance(future.exception(timeout=0), TaskTimeout)
    assert executor.submit(operator.add, 1, 2).result(timeout=10) == 3
    go.set()
    assert isinstance(heard.get(timeout=10), TaskCancelled)
    assert isinstance(future.exception(), TaskTimeout)
    executor.shutdown()


def test_a_broken_callback_does_not_break_the_pool(
    executor: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, as the standard library does."""

    def broken(_future: object) -> None:
        raise ZeroDivisionError

    executor.submit(operator.add, 1, 1).add_done_callback(broken)

    assert executor.submit(operator.add, 1, 2).result(timeout=10) == 3
    executor.shutdown()
    assert "callback" in caplog.text


@pytest.mark.parametrize("fn", [lambda: None, threading.Event().wait, object()])
def test_a_function_that_has_no_name_elsewhere_is_refused_at_once(
    fn: Callable[..., object],
) -> None:
    """Code does not travel; names do."""
    executor = ProcessExecutor(1)

    with pytest.raises(ValueError, match="cannot be imported by name"):
        executor.submit(fn)


def test_arguments_that_are_no_plain_data_fail_the_call(executor: Pool) -> None:
    """Only a border refuses them, and says which."""
    future = executor.submit(operator.is_, object(), None)

    if isinstance(executor, ProcessExecutor):
        assert isinstance(future.exception(timeout=10), ValueRefused)
    else:
        assert future.result(timeout=10) is False


def test_every_cut_and_every_flipped_bit_of_a_frame_is_noticed() -> None:
    """Half a message is no message; a changed one is an error."""
    frame = wire.pack(["result", {"a": 1}, False])

    for cut in range(len(frame)):
        inbox = wire.Inbox()
        inbox.feed(frame[:cut])
        assert inbox.take() is None
        inbox.feed(frame[cut:])
        assert inbox.take() == ["result", {"a": 1}, False]
    for bit in range(len(frame) * 8):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << bit % 8
        inbox = wire.Inbox()
        inbox.feed(bytes(flipped))
        try:
            assert inbox.take() is None  # a longer length: it waits for more
        except wire.WireDamaged:
            continue
