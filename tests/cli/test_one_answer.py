"""With `-o json` standard output is one JSON document, of one shape for each command."""

import json
from pathlib import Path

import pytest

from tests.cli.project import Project


def test_a_canary_and_the_rest_are_one_answer(project: Project) -> None:
    """Also what is said of each move goes on after the canary."""
    project.break_it()
    for name in ("one", "two", "three"):
        project.call("run", "numbers", "--id", name)
    project.mend_it()

    said = project.call("resume", "--failed", "--canary", "1", "--yes", "-o", "json")

    assert [(each["id"], each["status"]) for each in said.json] == [
        ("one", "done"), ("two", "done"), ("three", "done")
    ]  # fmt: skip
    assert all(f"{name}  loading -> done" in said.err for name in ("one", "two", "three"))


def test_a_canary_that_fails_is_one_answer(project: Project) -> None:
    """Of the canary alone; the others were not reached."""
    project.break_it()
    for name in ("one", "two"):
        project.call("run", "numbers", "--id", name)

    said = project.call("resume", "--failed", "--canary", "1", "--yes", "-o", "json")

    assert (said.code, [each["id"] for each in said.json]) == (1, ["one"])
    assert "the canary did not end well; 1 is left as it is" in said.err


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_nothing_to_do_is_an_answer_too(project: Project, form: str) -> None:
    """A program need not tell an empty answer from none."""
    project.call("start", "numbers", "--id", "one")
    empty: object = [] if form == "json" else None

    assert _read(project, form, "worker", "--until-idle") == {
        "done": 1, "failed": 0, "cancelled": 0
    }  # fmt: skip
    assert _read(project, form, "resume", "--failed", "--yes") == empty
    assert _read(project, form, "run", "numbers", "--id", "one", "--if-exists", "skip") == empty
    assert _read(project, form, "start", "numbers", "--id", "one", "--if-exists", "skip") == {
        "id": None
    }
    assert _read(project, form, "prune", "--older-than", "1d", "--yes") == {"deleted": 0}
    assert _read(project, form, "prune", "--older-than", "1d", "--dry-run") == empty
    assert _read(project, form, "prune", "--older-than", "0s", "--yes") == {"deleted": 1}


@pytest.mark.parametrize("command", ["run", "start"])
def test_a_group_that_is_there_is_none_that_was_made(project: Project, command: str) -> None:
    """As an object, which is what the command prints of a group."""
    machine = Path("machines/numbers.toml")
    text = machine.read_text(encoding="utf-8")
    machine.write_text(
        f'{text}\n[partition]\nby = "int"\nwidth = 1\nparam = "count"\n', encoding="utf-8"
    )
    asked = (command, "numbers", "--partition", "1..2", "--group", "g")

    made = project.call(*asked, "-o", "json").json
    again = project.call(*asked, "--if-exists", "skip", "-o", "json").json

    assert (made["group"], again) == ("g", {"group": None})


def test_a_watermark_that_was_put_is_told(project: Project) -> None:
    """Where it stands now, as `watermark show` says it."""
    machine = Path("machines/numbers.toml")
    text = machine.read_text(encoding="utf-8")
    machine.write_text(
        text.replace(
            'extract   = "numbers_:extract"',
            'extract   = { run = "numbers_:extract", watermark = { column = "n" } }',
        ),
        encoding="utf-8",
    )
    project.call("start", "numbers")

    put = ("watermark", "set", "numbers", "3", "--type", "int", "--reason", "again", "--yes")
    back = ("watermark", "rewind", "numbers", "--to", "1", "--reason", "again", "--yes")
    stands = {"machine": "numbers", "state": "extracting", "value": 3, "type": "int"}
    assert project.call(*put, "-o", "json").json == stands
    assert project.call(*back, "-o", "json").json == stands


def _read(project: Project, form: str, *argv: str) -> object:
    """Return what a command said: a value, or None if there was not even a line of `jsonl`."""
    out = project.call(*argv, "-o", form).out
    if form == "json":
        return json.loads(out)
    (line,) = out.splitlines() or ["null"]
    return json.loads(line)
