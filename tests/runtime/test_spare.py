"""A worker process that was started before its first call: used once, or ended."""

import os
import sys
from pathlib import Path

import pytest

from statepipe.runtime.executors.process import ProcessExecutor
from statepipe.runtime.executors.spare import TASKS, Spare
from statepipe.runtime.executors.worker import Worker


def where() -> tuple[int, bool]:
    """Return which process this is, and whether it has what an attempt needs."""
    return os.getpid(), TASKS in sys.modules


def test_the_first_call_finds_a_worker_that_has_imported_what_it_needs() -> None:
    """What takes long has happened; a second worker is started as ever."""
    spare = Spare()
    assert spare._worker is not None
    pid = spare._worker._pid
    executor = ProcessExecutor(1, spare=spare)

    assert executor.submit(where).result(timeout=30) == (pid, True)
    assert spare.take() is None
    executor.shutdown()


def test_a_spare_worker_that_nobody_took_is_gone_once_it_is_ended() -> None:
    """It is our own process; whoever was quicker keeps it."""
    spare = Spare()
    assert spare._worker is not None
    pid = spare._worker._pid

    spare.end()
    spare.end()

    assert not Path(f"/proc/{pid}").exists()
    assert spare.take() is None


def test_a_spare_worker_that_has_died_costs_nothing_but_time() -> None:
    """Nobody was served by it: the call finds another one."""
    spare = Spare()
    worker = spare._worker
    assert worker is not None
    worker._process.kill()
    os.waitid(os.P_PID, worker._pid, os.WEXITED | os.WNOWAIT)
    executor = ProcessExecutor(1, spare=spare)

    pid, _ = executor.submit(where).result(timeout=30)

    assert pid != worker._pid
    executor.shutdown()


def test_where_no_process_can_be_started_there_is_no_spare_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The call that needs one says so, with the reason."""

    def fails(**_: object) -> Worker:
        raise BlockingIOError("no processes left")

    monkeypatch.setattr(Worker, "start", fails)
    spare = Spare()

    assert spare.take() is None
    spare.end()
