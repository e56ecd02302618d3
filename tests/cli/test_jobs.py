"""Jobs elsewhere from the command line: real processes, and a folder that is the elsewhere."""

import pytest

from tests.cli.project import Project, until

MACHINE = """\
machine = "far"
version = 1
initial = "running"

[states.running]
job = { submit = "far_:submit", poll = "far_:poll", cancel = "far_:stop", every = "50ms" }
on  = { ok = "done" }

[states.done]
final = "success"
"""

FIRST = "one_1_running_running_0"

FUNCTIONS = '''
"""A folder that jobs are files in: one a key, and beside it what became of it."""

import os
import signal
from pathlib import Path

from statepipe import Task

JOBS = Path(__file__).parent / "jobs"


def submit(task: Task) -> str:
    """Begin a job; the first time the driver dies before it hears of it."""
    JOBS.mkdir(exist_ok=True)
    name = task.idempotency_key.replace(":", "_")
    (JOBS / name).touch()
    if not (JOBS / "died").exists() and (JOBS.parent / "fragile").exists():
        (JOBS / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)  # a thread of the driver
    return name


def poll(task: Task, handle: str) -> str | None:
    """Say what its file says, once it says something."""
    return (JOBS / handle).read_text() or None


def stop(task: Task, handle: str) -> None:
    """End it."""
    (JOBS / handle).write_text("stopped")
'''


@pytest.fixture
def far(project: Project) -> Project:
    """A project with a machine whose work is done elsewhere."""
    folder = project.root / "machines"
    (folder / "far.toml").write_text(MACHINE, encoding="utf-8")
    (folder / "far_.py").write_text(FUNCTIONS, encoding="utf-8")
    return project


def seen(far: Project) -> dict[str, str]:
    """Return what the folder has of jobs."""
    files = (far.root / "machines" / "jobs").glob("one_*")
    return {file.name: file.read_text(encoding="utf-8") for file in files}


def test_a_driver_that_dies_after_the_submission_makes_no_second_job(far: Project) -> None:
    """Its successor submits under the same key, and polls what it is given."""
    (far.root / "machines" / "fragile").touch()
    died = far.spawn("run", "far", "--id", "one")
    died.communicate(timeout=60)
    assert died.returncode == -9
    assert list(seen(far)) == [FIRST]

    resumed = far.spawn("resume", "one")
    until(lambda: (far.call("inspect", "one", "-o", "json").json["job"] or {}).get("polls", 0) > 1)
    until(lambda: f"its job {FIRST} goes on elsewhere" in far.call("why", "one").out)
    (far.root / "machines" / "jobs" / FIRST).write_text("rows: 7")
    out, err = resumed.communicate(timeout=60)

    assert resumed.returncode == 0, err
    assert "job submitted in running" in out
    assert seen(far) == {FIRST: "rows: 7"}
    assert "over" in far.call("inspect", "one").out
    assert far.call("metrics", "verify").code == 0


def test_a_worker_stops_the_job_of_an_instance_that_somebody_cancels(far: Project) -> None:
    """Though nobody drives the instance any more."""
    far.call("start", "far", "--id", "one")
    worker = far.spawn("worker")
    until(lambda: seen(far) != {})
    until(lambda: far.call("inspect", "one", "-o", "json").json["job"] is not None)

    assert far.call("cancel", "one", "--yes").code == 0
    until(lambda: list(seen(far).values()) == ["stopped"])
    until(lambda: far.call("inspect", "one", "-o", "json").json["job"]["standing"] == "over")
    worker.terminate()
    _, err = worker.communicate(timeout=60)

    assert worker.returncode in (0, 143), err
    assert "-> cancelled" in far.call("history", "one").out


def test_check_says_what_a_job_must_have(far: Project) -> None:
    """Functions that can be imported, and that take what they are given."""
    file = far.root / "machines" / "far.toml"
    text = file.read_text(encoding="utf-8")
    assert far.call("check", "far").code == 0
    file.write_text(text.replace("far_:stop", "far_:submit"), encoding="utf-8")

    refused = far.call("check", "far")

    assert refused.code == 6
    assert "cancel = far_:submit does not take task and handle" in refused.out + refused.err
    assert "def submit(task, handle)" in refused.out + refused.err
    assert "a job elsewhere, at most 1d 0h" in far.call("graph", "far").out
