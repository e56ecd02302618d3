"""An instance that is being cancelled, as the commands show it; and a group that is."""

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.testing import violations
from tests.cli.project import Project

CLEANUP = '''

def tidy(task):
    """Say whose mess it was."""
    with (HERE / "tidied").open("a") as log:
        log.write(task.instance + "\\n")
'''


@pytest.fixture
def tidy(project: Project) -> Project:
    """Let the machine clean up, and be partitioned."""
    machines = project.root / "machines"
    text = (machines / "numbers.toml").read_text(encoding="utf-8")
    text = text.replace("version = 1", 'version = 1\non_cancel = "numbers_:tidy"')
    text += '\n[partition]\nby = "int"\nwidth = 1\nparam = "count"\n'
    (machines / "numbers.toml").write_text(text, encoding="utf-8")
    functions = (machines / "numbers_.py").read_text(encoding="utf-8")
    functions += CLEANUP
    (machines / "numbers_.py").write_text(functions, encoding="utf-8")
    return project


def test_what_is_being_cancelled_says_so(tidy: Project) -> None:
    """Where it was, what is due, and that a resume does no more than that."""
    tidy.call("start", "numbers", "--id", "one")
    with Engine(load_config(start=tidy.root, environ={})) as engine:
        engine.cancel("one", reason="wrong day")

    assert "being cancelled in extracting" in tidy.call("ls").out
    shown = tidy.call("inspect", "one").out
    assert "ready and being cancelled in extracting" in shown
    assert "runs on_cancel (numbers_:tidy), and it is cancelled" in shown
    facts = tidy.call("inspect", "one", "-o", "json").json
    assert (facts["state"], facts["failed_state"]) == ("cancelling", "extracting")
    assert facts["resume"]["runs"] == "cancelling"
    why = tidy.call("why", "one").out
    assert "it is being cancelled in extracting, and its on_cancel has not ended yet: wrong" in why
    assert "nobody has begun its on_cancel" in why
    again = tidy.call("cancel", "one", "--yes")
    assert (again.code, "is being cancelled" in again.err) == (2, True)

    assert tidy.call("worker", "--until-idle").code == 0

    assert tidy.call("inspect", "one", "-o", "json").json["status"] == "cancelled"
    assert (tidy.root / "machines" / "tidied").read_text() == "one\n"
    assert violations(tidy.root / "statepipe.db") == []


def test_a_group_cleans_up_after_each_of_its_partitions(tidy: Project) -> None:
    """The command drives them all, and those that are done are left alone."""
    tidy.break_it()
    tidy.call("run", "numbers", "--partition", "1..4")
    tidy.mend_it()
    with Engine(load_config(start=tidy.root, environ={})) as engine:
        engine.groups.create("numbers", ["7..9"], group_id="more")

    said = tidy.call("cancel", "--group", "more", "--yes", "-o", "json")

    assert said.json == {"group": "more", "cancelled": 3, "asked": 0, "left": 0}
    tidied = (tidy.root / "machines" / "tidied").read_text().splitlines()
    assert sorted(tidied) == ["more/7", "more/8", "more/9"]
    assert tidy.call("inspect", "more", "-o", "json").json["status"] == "cancelled"
    assert violations(tidy.root / "statepipe.db") == []


def test_what_has_failed_is_cancelled_and_not_resumed_with_the_failed(tidy: Project) -> None:
    """The command runs its on_cancel, says where it failed, and it is no failure any more."""
    tidy.break_it()
    assert tidy.call("run", "numbers", "--id", "one").code == 1

    would = tidy.call("cancel", "one", "--dry-run").out
    assert "cancel one in transforming, and run numbers_:tidy" in would
    assert "already failed" in tidy.call("pause", "one").err
    said = tidy.call("cancel", "one", "--yes", "--reason", "no such day")

    assert said.code == 0
    assert "one cancelled in transforming   next: statepipe resume one" in said.out
    assert (tidy.root / "machines" / "tidied").read_text() == "one\n"
    assert tidy.call("ls", "--failed", "-o", "json").json == []
    assert "nothing" in tidy.call("resume", "--failed").out + tidy.call("resume", "--failed").err
    assert "somebody cancelled it in transforming: no such day" in tidy.call("why", "one").out
    assert tidy.call("metrics", "verify").code == 0
    tidy.mend_it()
    assert tidy.call("resume", "one").code == 0
    assert violations(tidy.root / "statepipe.db") == []


def test_a_failed_partition_is_cancelled_by_its_id(tidy: Project) -> None:
    """Its group is cancelled then, no more failed; `--group` leaves what has ended alone."""
    tidy.break_it()
    tidy.call("run", "numbers", "--partition", "3..4", "--group", "g")
    ids = [each["id"] for each in tidy.call("ls", "--failed", "-o", "json").json]
    assert ids
    assert tidy.call("cancel", "--group", "g", "--yes").code == 2
    for each in ids:
        assert tidy.call("cancel", each, "--yes").code == 0
    assert tidy.call("inspect", "g", "-o", "json").json["status"] == "cancelled"
    assert violations(tidy.root / "statepipe.db") == []
