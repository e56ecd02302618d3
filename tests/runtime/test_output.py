"""What tasks print and log reaches the capture of their attempt, whole, and of no other."""

import io
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from statepipe.errors import TaskCrashed, TaskTimeout
from statepipe.observe import redact
from statepipe.runtime.executors.inline import InlineExecutor
from statepipe.runtime.executors.process import ProcessExecutor
from statepipe.runtime.executors.thread import ThreadExecutor
from statepipe.runtime.output import streams
from statepipe.runtime.output.capture import Outbox
from statepipe.runtime.output.streams import Captured, nobody
from statepipe.said import Line
from statepipe.testing import ManualClock
from tests.runtime import hostile, talking

Pool = InlineExecutor | ThreadExecutor | ProcessExecutor

MAKERS: dict[str, Callable[[], Pool]] = {
    "inline": InlineExecutor,
    "thread": lambda: ThreadExecutor(2),
    "process": lambda: ProcessExecutor(2),
}


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Let no test hide anything from another."""
    redact.forget()
    yield
    redact.forget()


@pytest.fixture(params=MAKERS)
def executor(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """Each of the three in turn."""
    made = MAKERS[request.param]()
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessExecutor]:
    """One pool for the whole file."""
    made = ProcessExecutor(2)
    yield made
    made.shutdown()


class Attempt:
    """A call whose output is caught."""

    def __init__(self, executor: Pool, function: Callable[..., Any], *args: object) -> None:
        # Here and not in a fixture: pytest gives each phase of a test its own streams.
        streams.install()
        self._outbox = Outbox(ManualClock())
        self.capture = Captured(self._outbox, (1, 1, 1, "talking", 1), function)
        self.future = executor.submit(self.capture, *args)

    def lines(self) -> list[Line]:
        """Wait for its end and return what it said."""
        self.future.exception(timeout=20)
        streams.uninstall()
        return self.so_far(ends=True)

    def error(self) -> str:
        """Wait for its end and return the message it failed with."""
        self.lines()
        return str(self.future.exception())

    def so_far(self, *, ends: bool = False) -> list[Line]:
        """Return what it has said until now."""
        if ends:
            self.capture.end()
        return [line for _, parcel in self._outbox.take() for line in (*parcel.first, *parcel.last)]


def of(lines: list[Line], source: str) -> list[str]:
    """Return what came out of one source, in its order."""
    return [line.text for line in lines if line.source == source]


def test_whatever_a_task_prints_or_logs_is_its_attempt_s(executor: Pool) -> None:
    """Both streams, bytes, `task.log`, other loggers with their tracebacks."""
    lines = Attempt(executor, talking.talk, "Ann").lines()

    assert of(lines, "stdout") == [
        "Ann prints",
        "Ann in bytes",
        "Ann writes lines",
        "Ann without an end",
    ]
    assert of(lines, "stderr") == ["Ann complains"]
    logged = [(line.level, line.text) for line in lines if line.source == "log"]
    assert logged[:2] == [("debug", "Ann thinks"), ("info", "Ann tells")]
    assert logged[2][0] == "error"
    assert logged[2][1].startswith("somebody.else: Ann fails\nTraceback (most recent call last):")
    assert logged[2][1].endswith("ZeroDivisionError: division by zero")
    assert len(logged) == 3


def test_attempts_at_the_same_time_are_not_mixed(executor: Pool) -> None:
    """Not even when they print a line in turns, piece by piece."""
    if isinstance(executor, InlineExecutor):
        return  # there is one at a time
    barrier = threading.Barrier(2, timeout=20)

    attempts = [
        Attempt(executor, talking.take_turns, name, barrier.wait) for name in ("Ann", "Bob")
    ]

    assert [of(each.lines(), "stdout") for each in attempts] == [
        ["Ann one Ann two Ann three"],
        ["Bob one Bob two Bob three"],
    ]


def test_coroutines_on_the_shared_event_loop_are_not_mixed() -> None:
    """All async tasks of a process share one loop and its threads."""
    executor = ThreadExecutor(2)
    barrier = threading.Barrier(2, timeout=20)

    attempts = [
        Attempt(executor, talking.talk_from_coroutines, name, barrier.wait)
        for name in ("Ann", "Bob")
    ]

    for name, attempt in zip(("Ann", "Bob"), attempts, strict=True):
        lines = attempt.lines()
        assert of(lines, "stdout") == [f"{name} awaits", f"{name} in a thread"]
        assert of(lines, "log") == [f"{name} awaited"]
    executor.shutdown()


def test_a_thread_that_a_task_starts_in_our_process_is_nobody_s(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It cannot be told from any other, so its output goes where it always went."""
    executor = ThreadExecutor(1)

    lines = Attempt(executor, talking.talk_from_a_thread).lines()

    assert lines == []
    assert capsys.readouterr().out == "from a thread\n"
    executor.shutdown()


def test_in_a_process_threads_children_and_c_belong_to_the_attempt(
    processes: ProcessExecutor,
) -> None:
    """A process serves one attempt at a time, so whatever it writes is that one's."""
    assert of(Attempt(processes, talking.talk_from_a_thread).lines(), "stdout") == ["from a thread"]

    lines = Attempt(processes, talking.talk_through_a_child).lines()

    assert of(lines, "stdout") == ["a child speaks", "past Python"]
    assert of(lines, "stderr") == ["it complains"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_what_a_process_said_before_it_died_is_kept(
    processes: ProcessExecutor, number: int
) -> None:
    """That is when it matters most; the half line included."""
    attempt = Attempt(processes, talking.talk_and_die, int(number))

    lines = attempt.lines()

    assert isinstance(attempt.future.exception(), TaskCrashed)
    assert of(lines, "stdout") == ["first", "and the"]
    assert of(lines, "log") == ["it gets dark"]
    if number == signal.SIGSEGV:
        assert "Fatal Python error: Segmentation fault" in of(lines, "stderr")


def test_what_an_attempt_says_is_there_while_it_runs_and_after_it_was_killed(
    processes: ProcessExecutor,
) -> None:
    """A hanging task is followed live, and its timeout does not take its words away."""
    told: SimpleQueue[object] = SimpleQueue()
    attempt = Attempt(processes, talking.talk_and_hang, told.put)
    assert told.get(timeout=20) == "began"

    lines = attempt.so_far()

    processes.kill(attempt.future, TaskTimeout("too long"), grace_ms=0)
    lines += attempt.lines()
    assert of(lines, "stdout") == ["still here"]
    assert of(lines, "log") == ["and waiting"]


def test_an_abandoned_thread_speaks_to_nobody() -> None:
    """A thread cannot be killed; what it prints later must not reach another attempt."""
    executor = ThreadExecutor(1)
    goes_on, told = threading.Event(), SimpleQueue[object]()

    def linger() -> None:
        print("before")  # noqa: T201  (a task that prints is what is tested)
        told.put("began")
        goes_on.wait(20)
        print("after")  # noqa: T201  (a task that prints is what is tested)
        told.put("ended")

    attempt = Attempt(executor, linger)
    assert told.get(timeout=20) == "began"
    executor.kill(attempt.future, TaskTimeout("too long"), grace_ms=0)
    lines = attempt.lines()
    successor = Attempt(executor, talking.take_turns, "Bob", lambda: None)
    goes_on.set()
    assert told.get(timeout=20) == "ended"

    assert of(lines, "stdout") == ["before"]
    assert attempt.so_far() == []
    assert of(successor.lines(), "stdout") == ["Bob one Bob two Bob three"]
    executor.shutdown()


def test_a_secret_that_a_worker_learns_is_replaced_in_all_it_prints(
    processes: ProcessExecutor,
) -> None:
    """The driver stores what the worker prints, so it is told before."""
    lines = Attempt(processes, talking.find_a_secret, "s3cr3t-of-the-day").lines()

    assert sorted(line.text for line in lines) == ["it is ***", "it is ***, really", "logged ***"]


def test_a_secret_of_the_driver_is_replaced_in_what_a_worker_reports(
    processes: ProcessExecutor,
) -> None:
    """Messages are cut where they are made, so the worker must know it, too."""
    redact.hide("s3cr3t-of-the-driver")
    attempt = Attempt(processes, hostile.raise_text, "x" * 3_990 + "s3cr3t-of-the-driver")

    error = attempt.error()

    assert error.startswith("x" * 3_990 + "***")
    assert "s3cr" not in error


def test_last_words_hide_secrets(processes: ProcessExecutor) -> None:
    """They end up in the message of the error, and that in the journal."""
    redact.hide("the disk is on")
    attempt = Attempt(processes, hostile.say_and_exit)

    assert "its last words:\n*** fire" in attempt.error()


def test_logging_works_again_after_a_task_has_rearranged_it() -> None:
    """One attempt's configuration must not silence the next one."""
    one = ProcessExecutor(1)
    Attempt(one, talking.take_the_handlers_away).lines()

    lines = Attempt(one, talking.talk, "Ann").lines()

    assert "Ann tells" in of(lines, "log")
    one.shutdown()


def test_a_record_that_cannot_be_formatted_says_so(processes: ProcessExecutor) -> None:
    """The author's mistake is in a log line, and stays there."""
    attempt = Attempt(processes, talking.log_what_cannot_be_formatted)

    (line,) = attempt.lines()

    assert line.text == "(a log record that cannot be formatted: TypeError)"
    assert attempt.future.exception() is None


def test_what_is_scribbled_into_the_log_pipe_harms_nobody(processes: ProcessExecutor) -> None:
    """Descriptors are no secret; what is no record is shown as it is."""
    lines = Attempt(processes, talking.write_through_the_log_pipe).lines()

    assert [(line.level, line.text) for line in lines] == [
        (None, "\\xff no record"),
        (None, '[1, "loud", "x"]'),
        (None, "[1]"),
        (None, "null"),
        (None, '[99999999999999999999, "info", "x"]'),
        ("info", "\\ud800"),
        (None, '[1, {}, "x"]'),
        ("info", "after it"),
    ]


def test_a_flood_stays_small_and_keeps_its_end(processes: ProcessExecutor) -> None:
    """50 MB become some hundred lines, and the task is not slowed down for it."""
    attempt = Attempt(processes, talking.print_a_flood)

    lines = attempt.lines()

    assert attempt.future.exception() is None
    assert len(lines) <= 1_000
    assert sum(len(line.text) for line in lines) < 300_000
    assert lines[-1].text == "the end"


def test_what_the_loop_does_for_an_inline_task_is_not_the_task_s(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It commits, and tells observers, in the middle of the task's own call."""

    def ask() -> None:
        with nobody():
            print("the loop speaks")  # noqa: T201  (a task that prints is what is tested)

    lines = Attempt(InlineExecutor(), talking.take_turns, "Ann", ask).lines()

    assert of(lines, "stdout") == ["Ann one Ann two Ann three"]
    assert capsys.readouterr().out == "the loop speaks\n" * 3


def test_everything_is_as_it_was_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    """An engine is a guest in its process."""
    root, tasks = logging.getLogger(), logging.getLogger("statepipe.task")
    root_level, tasks_level, handlers = root.level, tasks.level, list(root.handlers)
    out = sys.stdout

    streams.install()
    streams.install()
    assert sys.stdout is not out
    assert sys.stdout.encoding == out.encoding
    sys.stdout.write("for everybody\n")
    streams.uninstall()
    assert sys.stdout is not out
    streams.uninstall()

    assert sys.stdout is out
    assert (root.level, tasks.level) == (root_level, tasks_level)
    assert root.handlers == handlers
    assert capsys.readouterr().out == "for everybody\n"


def test_warnings_of_others_are_still_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any handler Python shows warnings; with ours alone it must do so as well."""
    shown = io.StringIO()
    last = logging.StreamHandler(shown)
    last.setLevel(logging.WARNING)
    monkeypatch.setattr(logging, "lastResort", last)
    streams.install()
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [each for each in root.handlers if _is_ours(each)])

    logging.getLogger("embedding").warning("careful")
    logging.getLogger("embedding").info("by the way")

    assert shown.getvalue() == "careful\n"
    monkeypatch.undo()
    streams.uninstall()


def _is_ours(handler: logging.Handler) -> bool:
    return type(handler).__module__ == streams.__name__
