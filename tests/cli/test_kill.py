"""`kill`, and `cancel` of a machine that cleans up: with the processes that drive the instance."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from statepipe.testing import violations
from tests.cli.project import Project, until

MACHINE = """\
machine = "stubborn"
version = 1
initial = "working"
on_cancel = { run = "stubborn_:cleanup", timeout = "1m" }

[states.working]
run = "stubborn_:work"
executor = "process"
grace = "1h"
on = { ok = "done" }

[states.done]
final = "success"
"""

FUNCTIONS = '''\
"""Work that does not let itself be ended, and what is left to do when it was."""

import os
import signal
from pathlib import Path
from threading import Event

HERE = Path(__file__).parent


def work(task):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (HERE / "pid").write_text(str(os.getpid()))
    while not (HERE / "go").exists():
        Event().wait(0.01)


def cleanup(task):
    if (HERE / "broken").exists():
        raise ConnectionError("the other side hung up")
    (HERE / "cleaned").write_text(f"{task.instance} in {task.state}")
'''


@pytest.fixture
def stubborn(project: Project) -> Project:
    """Add the machine."""
    machines = project.root / "machines"
    (machines / "stubborn.toml").write_text(MACHINE, encoding="utf-8")
    (machines / "stubborn_.py").write_text(FUNCTIONS, encoding="utf-8")
    return project


@contextmanager
def worker(project: Project) -> Iterator[Popen[str]]:
    """Run a worker until it has been asked to stop."""
    process = project.spawn("worker", "-m", "stubborn")
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        try:
            process.communicate(timeout=30)
        finally:
            process.kill()


def begun(project: Project) -> int:
    """Wait until the work is under way; return its process."""
    pid = project.root / "machines" / "pid"
    until(lambda: pid.exists() and pid.read_text() != "")
    return int(pid.read_text())


def status(project: Project) -> str:
    """Return what the instance is doing."""
    said: str = project.call("inspect", "one", "-o", "json").json["status"]
    return said


def alive(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_kill_ends_an_attempt_that_nothing_else_ends(stubborn: Project) -> None:
    """A cancel grants the grace of the state; a kill after it grants none, and cleans nothing."""
    stubborn.call("start", "stubborn", "--id", "one")
    with worker(stubborn):
        pid = begun(stubborn)
        asked = stubborn.call("cancel", "one", "--yes")
        assert "its driver was asked to cancel it" in asked.out
        assert stubborn.call("inspect", "one", "-o", "json").json["request"] == "cancel"

        said = stubborn.call("kill", "one", "--yes", "--reason", "it hangs")

        assert (said.code, said.err) == (0, "")
        assert "its driver was asked to kill it" in said.out
        until(lambda: status(stubborn) == "cancelled")
        assert not alive(pid)
    last = stubborn.call("history", "one", "-o", "json").json[-1]
    assert (last["kind"], last["event"], last["source"]) == ("cancel", "kill", "working")
    assert "somebody killed it in working: it hangs" in stubborn.call("why", "one").out
    assert not (stubborn.root / "machines" / "cleaned").exists()
    assert violations(stubborn.root / "statepipe.db") == []


def test_a_kill_of_an_instance_whose_driver_died_is_done_at_once(stubborn: Project) -> None:
    """The dead can do nothing; the epoch keeps it so."""
    stubborn.call("start", "stubborn", "--id", "one")
    with worker(stubborn) as process:
        begun(stubborn)
        process.kill()
        process.wait()
        said = stubborn.call("kill", "one", "--yes")
    assert said.out.startswith("one killed in working")
    assert status(stubborn) == "cancelled"
    assert violations(stubborn.root / "statepipe.db") == []


def test_a_kill_says_first_what_it_would_do(stubborn: Project) -> None:
    """And is refused without a yes, and of what has ended."""
    stubborn.call("start", "stubborn", "--id", "one")

    tried = stubborn.call("kill", "one", "--dry-run")
    unsure = stubborn.call("kill", "one")
    assert status(stubborn) == "ready"
    sure = stubborn.call("kill", "one", "--yes")
    again = stubborn.call("kill", "one", "--yes")

    assert tried.out == "would kill one in working without its on_cancel; nothing was changed\n"
    assert (unsure.code, sure.code, again.code) == (2, 0, 2)
    assert "statepipe kill one --yes" in unsure.err
    assert "already cancelled" in again.err


def test_a_cancel_where_no_worker_runs_cleans_up_itself(stubborn: Project) -> None:
    """The command drives what is left to do, and says how that ended."""
    stubborn.call("start", "stubborn", "--id", "one")

    tried = stubborn.call("cancel", "one", "--dry-run")
    done = stubborn.call("cancel", "one", "--yes")

    assert "would cancel one in working, and run stubborn_:cleanup" in tried.out
    assert done.out.splitlines()[-1] == "one cancelled in working   next: statepipe resume one"
    cleaned = stubborn.root / "machines" / "cleaned"
    assert cleaned.read_text() == "one in working"


def test_a_cleanup_that_fails_is_said(stubborn: Project) -> None:
    """By the command, and by `why` and `inspect` ever after; the instance is cancelled."""
    stubborn.call("start", "stubborn", "--id", "one")
    (stubborn.root / "machines" / "broken").touch()

    done = stubborn.call("cancel", "one", "--yes", "--reason", "wrong day")

    assert done.code == 0
    assert "and its on_cancel failed: ConnectionError: the other side hung up" in done.out
    assert status(stubborn) == "cancelled"
    why = stubborn.call("why", "one").out
    assert "somebody cancelled it in working: wrong day" in why
    assert "its on_cancel failed: ConnectionError: the other side hung up" in why


def test_a_changed_machine_leaves_its_cleanup_to_be_decided(stubborn: Project) -> None:
    """Nothing runs that the instance did not begin with; a kill leaves it out."""
    stubborn.call("start", "stubborn", "--id", "one")
    path = stubborn.root / "machines" / "stubborn.toml"
    path.write_text(MACHINE.replace("version = 1", "version = 2"), encoding="utf-8")

    said = stubborn.call("cancel", "one", "--yes")

    assert said.code == 5
    assert "one is being cancelled; its on_cancel has not run" in said.err
    assert stubborn.call("inspect", "one", "-o", "json").json["state"] == "cancelling"
    assert stubborn.call("kill", "one", "--yes").code == 0
    assert status(stubborn) == "cancelled"
