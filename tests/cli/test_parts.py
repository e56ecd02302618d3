"""Tasks of a state on the command line: seen, listed, and retried one by one."""

import pytest

from tests.cli.project import Project

MACHINE = """\
machine = "pair"
initial = "work"

[states.work]
tasks.good = { run = "pair:good", executor = "inline" }
tasks.bad  = { run = "pair:bad", executor = "inline", retry = { max_attempts = 1 } }
on.ok = "done"

[states.done]
final = "success"
"""

FUNCTIONS = """\
from pathlib import Path

HERE = Path(__file__).parent

def good(task):
    with (HERE / "good.log").open("a") as log:
        log.write("x")

def bad(task):
    if not (HERE / "mended").exists():
        raise RuntimeError("the supplier is down")
"""


@pytest.fixture
def failed(project: Project) -> Project:
    """Run an instance of which one task failed."""
    machines = project.root / "machines"
    (machines / "pair.toml").write_text(MACHINE, encoding="utf-8")
    (machines / "pair.py").write_text(FUNCTIONS, encoding="utf-8")
    assert project.call("run", "pair", "--id", "one").code == 1
    return project


def test_inspect_shows_the_tasks_and_ls_lists_them(failed: Project) -> None:
    """Each with its status and its error; alone they are in no list of instances."""
    shown = failed.call("inspect", "one")
    said = shown.out
    assert "tasks of work" in said, shown
    assert "bad   failed     RuntimeError: the supplier is down" in said

    parts = failed.call("ls", "--parts-of", "one", "-o", "json").json
    assert [(each["id"], each["status"]) for each in parts] == [
        ("one/work.good", "done"),
        ("one/work.bad", "failed"),
    ]
    listed = failed.call("ls", "--all", "-o", "json").json
    assert [each["id"] for each in listed] == ["one"]
    assert "part of     one" in failed.call("inspect", "one/work.bad").out


def test_a_task_is_retried_alone_and_its_instance_goes_on(failed: Project) -> None:
    """The other one is not called again."""
    (failed.root / "machines" / "mended").touch()

    said = failed.call("retry", "one", "--task", "bad", "--reason", "it is up again")

    assert said.code == 0, said
    assert "one done" in said.out
    assert (failed.root / "machines" / "good.log").read_text(encoding="utf-8") == "x"
    notes = failed.call("history", "one/work.bad", "-o", "json").json
    assert "it is up again" in [each["note"] for each in notes]


def test_what_cannot_be_retried_is_refused(failed: Project) -> None:
    """A task that is not there, one that is done, and one that nobody waits for any more."""
    unknown = failed.call("retry", "one", "--task", "bat")
    assert unknown.code == 3
    assert 'did you mean "bad"?' in unknown.err
    done = failed.call("retry", "one", "--task", "good")
    assert done.code == 2
    assert "is done" in done.err


def test_why_names_the_task_that_failed(failed: Project) -> None:
    """The cause of the whole is the cause of its part."""
    said = failed.call("why", "one").out
    assert "bad is failed: the supplier is down" in said
