"""No task can hang, break or outlive the process executor, whatever it does."""

import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from statepipe.clock import SystemClock
from statepipe.errors import TaskCrashed, TaskError, TaskTimeout, ValueRefused
from statepipe.runtime.executors.process import ProcessExecutor
from tests.runtime import hostile

RETURNING: list[tuple[Callable[..., Any], Any]] = [
    (hostile.print_100_mb, "printed"),
    (hostile.write_20_mb_to_stderr, "written"),
    (hostile.close_stdout, "closed"),
    (hostile.lower_the_descriptor_limit, "lowered"),
    (hostile.leave_a_child, "left"),
    (hostile.leave_an_escaped_child, "left"),
    (hostile.leave_a_nameless_child, "left"),
    (hostile.fork_ten, "forked"),
]

FAILING: list[tuple[Callable[..., Any], type[BaseException], str]] = [
    (hostile.exit_at_once, TaskCrashed, "status 7"),
    (hostile.segfault, TaskCrashed, r"SIGSEGV(.|\n)*in segfault"),
    (hostile.kill_itself, TaskCrashed, r"SIGKILL \(out of memory\?\)"),
    (hostile.abort, TaskCrashed, "SIGABRT"),
    (hostile.say_and_exit, TaskCrashed, r"status 9(.|\n)*the disk is on fire"),
    (hostile.close_all_descriptors, TaskCrashed, "worker"),
    (hostile.scribble_on_all_descriptors, TaskCrashed, "descriptors"),
    (hostile.crash_with_a_fork_left, TaskCrashed, "status 5"),
    (hostile.sys_exit_with_status, TaskCrashed, "status 3"),
    (hostile.sys_exit_with_text, TaskCrashed, r"status 1(.|\n)*enough"),
    (hostile.raise_unprintable, TaskError, "UnprintableError: .*cannot be printed"),
    (hostile.raise_unpicklable, TaskError, "UnpicklableError: three things"),
    (hostile.raise_bare, TaskError, "BareError: bare"),
    (hostile.raise_interrupt, KeyboardInterrupt, ""),
    (hostile.raise_surrogates, ValueError, r"half \\ud800 a pair"),
    (hostile.raise_10_mb, ValueError, "more characters"),
    (hostile.recurse, RecursionError, "maximum recursion depth"),
    (hostile.return_20_mb, ValueRefused, "20,000,0"),
    (hostile.return_a_lambda, ValueRefused, "function"),
]

ENDLESS = [
    hostile.sleep_for_ever,
    hostile.ignore_sigterm,
    hostile.spin,
    hostile.hold_the_gil_in_c,
    hostile.stop_itself,
    hostile.stall_in_a_frame,
    hostile.hang_with_children,
    hostile.swallow_everything,
    hostile.print_for_ever,
    hostile.die_while_asked,
]


def name_of(value: object) -> str:
    """Name parametrized tests after their callables."""
    return getattr(value, "__name__", "")


def until(predicate: Callable[[], bool], *, ms: int = 10_000) -> bool:
    """Poll `predicate` until it is true, for at most `ms` milliseconds."""
    clock = SystemClock()
    end_ms = clock.boot_ms() + ms
    pause = threading.Event()
    while not predicate():
        if clock.boot_ms() > end_ms:
            return False
        pause.wait(0.005)
    return True


def descendants(root: int) -> set[int]:
    """Return every process, zombies included, that descends from `root`."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            parents[int(folder.name)] = int(text[text.rindex(")") + 2 :].split()[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {root}


def is_dead(pid: int) -> bool:
    """True if the process is gone, or a zombie that somebody has yet to reap."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return True
    return stat[stat.rindex(")") + 2] == "Z"


#: What other files' tests have started in this process: zombies, and servers that go on.
_OTHERS: set[int] = set()


def ours() -> set[int]:
    """Return our descendants, without those that other files' tests brought, and theirs."""
    others = _OTHERS.union(*map(descendants, _OTHERS))
    return descendants(os.getpid()) - others


def living() -> set[int]:
    """Return those of `ours` that live."""
    return {pid for pid in ours() if not is_dead(pid)}


def told_of(root: int) -> list[str]:
    """Return what /proc says of the descendants of `root`, for a failing assertion."""
    found = []
    for pid in descendants(root):
        with contextlib.suppress(OSError):
            found.append(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")[:60])
    return found


@pytest.fixture(scope="module")
def shared() -> Iterator[ProcessExecutor]:
    """One pool for the whole file: each test must leave it fit for the next."""
    _OTHERS.clear()
    _OTHERS.update(descendants(os.getpid()))
    executor = ProcessExecutor(2)
    yield executor
    executor.shutdown()
    assert until(lambda: not living())


@pytest.fixture
def executor(shared: ProcessExecutor) -> Iterator[ProcessExecutor]:
    """Check after each test that the pool works and only idle workers are left."""
    before = ours()
    yield shared
    assert shared.submit(hostile.add, 1, 2).result(timeout=10) == 3
    # At most the two slots' workers are new; what a task has started would be more.
    assert until(lambda: len(ours() - before) <= 2), told_of(os.getpid())


def begun(told: "SimpleQueue[object]") -> None:
    """Wait until the task says that it began."""
    assert told.get(timeout=10) == "began"


def submit_endless(
    executor: ProcessExecutor, fn: Callable[..., Any], *args: object
) -> "tuple[Future[Any], SimpleQueue[object]]":
    """Submit a task that tells, and wait until it has begun."""
    told: SimpleQueue[object] = SimpleQueue()
    future = executor.submit(fn, told.put, *args)
    begun(told)
    return future, told


@pytest.mark.parametrize(("fn", "value"), RETURNING, ids=name_of)
def test_a_task_that_returns_is_believed_and_cleaned_up_after(
    executor: ProcessExecutor, fn: Callable[..., Any], value: object
) -> None:
    """The result arrives, and what the call left running is gone by then."""
    assert executor.submit(fn).result(timeout=20) == value

    assert len(living()) <= 2


@pytest.mark.parametrize(("fn", "kind", "text"), FAILING, ids=name_of)
def test_a_task_that_fails_says_how_and_fails_alone(
    executor: ProcessExecutor, fn: Callable[..., Any], kind: type[BaseException], text: str
) -> None:
    """The error is of a known class with a text people can read; a neighbour is untouched."""
    neighbour, told = submit_endless(executor, hostile.sleep_for_ever)

    error = executor.submit(fn).exception(timeout=20)

    assert isinstance(error, kind)
    assert re.search(text, str(error)), str(error)[-500:]
    assert not neighbour.done()
    executor.kill(neighbour, TaskTimeout("over"), grace_ms=0)
    assert isinstance(neighbour.exception(timeout=10), TaskTimeout)
    assert told.empty()


@pytest.mark.parametrize("fn", ENDLESS, ids=name_of)
def test_a_task_that_never_ends_is_killed_with_all_it_started(
    executor: ProcessExecutor, fn: Callable[..., Any]
) -> None:
    """However it resists, it is gone soon after the grace, and the error is the caller's."""
    future, _told = submit_endless(executor, fn)
    error = TaskTimeout("took longer than 1s")
    clock = SystemClock()
    began_ms = clock.boot_ms()

    executor.kill(future, error, grace_ms=50)

    assert future.exception(timeout=10) is error
    assert clock.boot_ms() - began_ms < 3_000
    assert len(living()) <= 2


def test_a_task_that_stops_within_its_grace_is_not_killed_but_its_result_does_not_count(
    executor: ProcessExecutor, tmp_path: Path
) -> None:
    """It may clean up; but half the work must not pass for all of it."""
    future, _told = submit_endless(executor, hostile.stop_when_asked, str(tmp_path / "done"))

    executor.kill(future, TaskTimeout("over"), grace_ms=60_000)

    assert isinstance(future.exception(timeout=10), TaskTimeout)
    assert (tmp_path / "done").read_text(encoding="utf-8") == "cleaned up"


def test_a_task_that_was_told_to_stop_can_ask_for_nothing_more(executor: ProcessExecutor) -> None:
    """No commit of an attempt lands after it was given up."""
    future, told = submit_endless(executor, hostile.ask_after_the_stop)

    executor.kill(future, TaskTimeout("over"), grace_ms=60_000)

    assert isinstance(future.exception(timeout=10), TaskTimeout)
    assert told.empty()


def test_a_task_is_killed_while_its_question_is_being_answered(executor: ProcessExecutor) -> None:
    """The process dies at its deadline; the future ends once the answer is out of the way."""
    asked, answer = threading.Event(), threading.Event()

    def slow(_request: object) -> None:
        asked.set()
        answer.wait(10)

    future = executor.submit(hostile.sleep_for_ever, slow)
    assert asked.wait(10)

    executor.kill(future, TaskTimeout("over"), grace_ms=0)
    executor.kill(future, TaskTimeout("the second error is not taken"), grace_ms=0)
    answer.set()

    assert str(future.exception(timeout=10)) == "over"


def test_a_second_kill_shortens_the_grace(executor: ProcessExecutor) -> None:
    """A person who asks twice need not wait for what they asked for first."""
    future, _told = submit_endless(executor, hostile.ignore_sigterm)

    executor.kill(future, TaskTimeout("first"), grace_ms=60_000)
    executor.kill(future, TaskTimeout("second"), grace_ms=0)

    assert str(future.exception(timeout=10)) == "first"


def test_a_call_does_not_inherit_what_the_one_before_it_changed(executor: ProcessExecutor) -> None:
    """Directory, umask, signal handlers and streams are as they were."""
    executor.submit(hostile.rearrange_the_process).result(timeout=10)
    here = str(Path.cwd())
    umask = os.umask(0o022)
    os.umask(umask)

    assert [executor.submit(hostile.look_around).result(timeout=10) for _ in range(4)] == [
        [here, umask, False, False]
    ] * 4


def test_an_alarm_does_not_go_off_in_the_next_call(executor: ProcessExecutor) -> None:
    """Timers end with the call that set them."""
    assert executor.submit(hostile.leave_an_alarm).result(timeout=10) == "armed"

    calls = [executor.submit(hostile.outlast_an_alarm) for _ in range(2)]

    assert [call.result(timeout=10) for call in calls] == ["survived"] * 2


def test_a_thread_that_a_call_left_cannot_ask_in_the_name_of_the_next(
    executor: ProcessExecutor,
) -> None:
    """Its questions are refused once its own call is over."""
    told: SimpleQueue[object] = SimpleQueue()

    assert executor.submit(hostile.leave_threads, told.put).result(timeout=10) == "left"
    assert [executor.submit(hostile.add, n, 1).result(timeout=10) for n in range(20)] == list(
        range(1, 21)
    )


def test_a_fork_that_comes_back_from_the_task_is_not_heard(executor: ProcessExecutor) -> None:
    """Both sides return; one result counts, and the next call gets its own."""
    first = executor.submit(hostile.come_back_twice).result(timeout=10)

    assert isinstance(first, int)
    assert executor.submit(hostile.add, 20, 3).result(timeout=10) == 23


def test_a_worker_that_dies_idle_fails_nobody(executor: ProcessExecutor) -> None:
    """The next call finds a fresh one."""
    workers = {executor.submit(hostile.pid).result(timeout=10) for _ in range(8)}
    for worker in workers & descendants(os.getpid()):
        os.kill(worker, signal.SIGKILL)
        assert until(functools.partial(is_dead, worker))

    assert executor.submit(hostile.add, 2, 2).result(timeout=10) == 4


DRIVER = """
import sys, threading
from statepipe.runtime.executors.process import ProcessExecutor
from tests.runtime import hostile
executor = ProcessExecutor(1)
print(executor.submit(hostile.pid).result(), flush=True)
executor.submit(getattr(hostile, sys.argv[1]), lambda word: print(word, flush=True))
threading.Event().wait()
"""


@pytest.mark.parametrize(
    "task", ["hold_the_gil_in_c", "ignore_sigterm", "stop_itself", "spin"], ids=str
)
def test_workers_die_with_their_driver(task: str) -> None:
    """Kill -9 of the driver leaves nobody at work, whatever the task was doing."""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, task], stdout=subprocess.PIPE, cwd=root, text=True
    ) as driver:
        assert driver.stdout is not None
        worker = int(driver.stdout.readline())
        assert driver.stdout.readline() == "began\n"
        driver.kill()
        driver.wait()

    assert until(functools.partial(is_dead, worker), ms=3_000)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(worker, os.WNOHANG)  # an orphan that came to us: this process adopts them
