"""Waits for another machine's data, and what starts after machines and files, on a terminal."""

from pathlib import Path

import pytest

from tests.cli.project import Project

HOURLY = """\
machine   = "hourly"
initial   = "working"
partition = { by = "date", step = "hour" }

[params]
hour = "datetime"

[states.working]
run   = "work_:work"
on.ok = "done"

[states.done]
final = "success"
"""
DAILY = """\
machine = "daily"
initial = "waiting"

[params]
day = { type = "date", default = "2026-07-01" }

[states.waiting]
wait  = { dataset = { machine = "hourly", partition = "{params.day}T05" }, timeout = "6h" }
on.ok = "done"

[states.done]
final = "success"

[triggers.each]
after = { machine = "hourly", partition = "each" }

[triggers.drop]
file   = "inbox/*.csv"
marker = ".done"
params = { day = "{file.stem}" }
"""


@pytest.fixture
def pair(project: Project) -> Project:
    """A project with a machine that depends on another one and on files, and no store yet."""
    folder = project.root / "machines"
    (folder / "numbers.toml").unlink()
    for name, text in (("hourly", HOURLY), ("daily", DAILY)):
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    work = '"""Work."""\n\n\ndef work(task):\n    """Do nothing."""\n'
    (folder / "work_.py").write_text(work, encoding="utf-8")
    return project


def put(folder: Path, name: str) -> None:
    """Put a file into the inbox, with its marker."""
    (folder / "inbox").mkdir(exist_ok=True)
    for each in (name, f"{name}.done"):
        (folder / "inbox" / each).write_text("x", encoding="utf-8")


def test_a_wait_for_a_dataset_says_what_for(pair: Project) -> None:
    """And that nobody can send it; once it is there, it is woken."""
    pair.call("start", "daily", "--id", "d")
    pair.call("worker", "--machine", "daily", "--until-idle")

    assert "for partition:hourly; ends in" in pair.call("ls").out
    assert "for partition 2026-07-01T05 of hourly; its time is up" in pair.call("inspect", "d").out
    why = pair.call("why", "d").out
    assert "it waits in waiting for partition 2026-07-01T05 of hourly to be there; at most" in why
    assert "statepipe emit" not in why
    assert "statepipe signal" not in why
    facts = pair.call("inspect", "d", "-o", "json").json
    assert (facts["awaits"], facts["key"]) == (["partition:hourly"], "2026-07-01T05")
    assert pair.call("signal", "d", "partition:hourly").code == 2, "it is no name of an event"

    pair.call("run", "hourly", "-p", "hour=2026-07-01T05:00:00Z")
    pair.call("worker", "--machine", "daily", "--until-idle")
    assert pair.call("inspect", "d", "-o", "json").json["status"] == "done"
    assert "partition 2026-07-01T05 of hourly is there" in pair.call("history", "d").out


def test_what_starts_after_machines_and_files_is_listed(pair: Project) -> None:
    """With what is due, what was started, and why it could not look."""
    assert pair.call("worker", "--until-idle").code == 0
    drop = {each["name"]: each for each in pair.call("triggers", "ls", "-o", "json").json}["drop"]
    assert drop["error"] == f"{pair.root}/inbox/ cannot be looked into: No such file or directory"
    assert "cannot look: " in pair.call("triggers", "ls").out
    test = pair.call("triggers", "test", "daily.drop")
    assert (test.code, "cannot be looked into" in test.err) == (2, True)

    put(pair.root, "2026-07-02.csv")
    put(pair.root, "notes.csv")
    pair.call("run", "hourly", "-p", "hour=2026-07-01T05:00:00Z")
    shown = {each["key"].split()[0]: each for each in pair.call(
        "triggers", "test", "daily.drop", "-o", "json").json}  # fmt: skip
    assert shown["inbox/2026-07-02.csv"]["params"] == {"day": "2026-07-02"}
    assert "'notes'" in shown["inbox/notes.csv"]["refusal"]
    assert pair.call("worker", "--until-idle").code == 0

    rows = {each["name"]: each for each in pair.call("triggers", "ls", "-o", "json").json}
    assert rows["each"]["last"]["key"] == "2026-07-01T05"
    assert rows["drop"]["error"] is None
    assert len(pair.call("ls", "--machine", "daily", "--all", "-o", "json").json) == 2


def test_check_finds_machines_that_wait_for_each_other(pair: Project) -> None:
    """And prints the circle, of each of them; exit 6."""
    assert pair.call("check").code == 0
    path = pair.root / "machines" / "hourly.toml"
    circle = '\n[triggers.t]\nafter = { machine = "daily" }\nparams.hour = "2026-07-01T05:00:00Z"\n'
    path.write_text(HOURLY + circle, encoding="utf-8")

    said = pair.call("check")

    assert said.code == 6
    assert said.out.count("begin: daily -> hourly -> daily") == 2


def test_check_finds_a_machine_that_is_not_there(pair: Project) -> None:
    """At its place, with what there is."""
    path = pair.root / "machines" / "daily.toml"
    path.write_text(DAILY.replace('"hourly"', '"houry"'), encoding="utf-8")

    found = pair.call("check", "daily", "-o", "json").json

    assert [each["message"] for each in found] == [
        "wait.dataset: there is no machine 'houry'; did you mean \"hourly\"?",
        "triggers.each.after: there is no machine 'houry'; did you mean \"hourly\"?",
    ]
    assert found[0]["state"] == "waiting"
