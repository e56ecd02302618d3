"""Partitions on the command line: run, start, ls, inspect, resume, cancel a group."""

import json
import signal
from contextlib import closing
from pathlib import Path

import pytest

from statepipe.store.file.opening import open_reader
from tests.cli.project import MACHINE, Project

PARTITION = '\n[partition]\nby = "int"\nwidth = 1\nparam = "count"\n'


@pytest.fixture
def project(project: Project) -> Project:
    """The project, its machine partitioned: partition n is of n numbers."""
    machine = project.root / "machines" / "numbers.toml"
    machine.write_text(MACHINE + PARTITION, encoding="utf-8")
    return project


def tolerating(project: Project, what: str) -> None:
    """Let the machine's groups tolerate some failures."""
    machine = project.root / "machines" / "numbers.toml"
    machine.write_text(f"{MACHINE}{PARTITION}tolerate = {what}\n", encoding="utf-8")


def test_a_range_is_run_as_a_group_and_its_end_is_the_exit_code(project: Project) -> None:
    """One sentence says how the whole ended, a line each which partition did."""
    said = project.call("run", "numbers", "--partition", "1..3", "--max-parallel", "2")

    lines = said.out.splitlines()
    assert said.code == 0
    assert [line.split()[3:6] for line in lines[:-1]] == [["loading", "->", "done"]] * 3
    assert lines[-1] == (
        "numbers-1..3 done: 3 of 3 partitions, 6 records loaded, 0 rejected"
        "   next: statepipe ls --group numbers-1..3"
    )


def test_a_groups_end_is_a_log_line(project: Project) -> None:
    """The last one of the command, behind those of its partitions."""
    said = project.call("run", "numbers", "--partition", "1..2", "--log-format", "json")

    line = json.loads(said.err.splitlines()[-1])
    assert (line["level"], line["kind"]) == ("info", "log")
    assert line["message"].startswith("group numbers-1..2 done: 2 of 2 partitions, 3 records")


def test_a_group_is_shown_with_a_summary(project: Project) -> None:
    """By partition, by group, and alone; failures first, with the command that leads on."""
    project.break_it()
    failed = project.call("run", "numbers", "--partition", "1..4", "--quiet")

    listed = project.call("ls", "--group", "numbers-1..4")
    bad = project.call("ls", "--group", "numbers-1..4", "--failed", "-o", "json").json
    groups = project.call("ls", "--groups")
    (fact,) = project.call("ls", "--groups", "-o", "json").json
    shown = project.call("inspect", "numbers-1..4")

    assert failed.code == 1
    assert "2 of 4 partitions, 2 failed, 3 records loaded, 1 rejected" in failed.out
    assert listed.out.splitlines()[0].startswith("numbers-1..4 failed: 2 of 4 partitions, 2 failed")
    assert [line.split()[:3] for line in listed.out.splitlines()[2:]] == [
        ["1", "done", "done"],
        ["2", "done", "done"],
        ["3", "failed", "failed"],
        ["4", "failed", "failed"],
    ]
    assert [(each["id"], each["group"], each["partition"]) for each in bad] == [
        ("numbers-1..4/3", "numbers-1..4", "3"),
        ("numbers-1..4/4", "numbers-1..4", "4"),
    ]
    assert groups.out.splitlines()[1].split()[:9] == [
        *("numbers-1..4", "numbers", "failed", "2", "of", "4", "2", "50.0%", "3"),
    ]
    assert (fact["completeness"], fact["standings"]) == (0.5, {"done": 2, "failed": 2})
    assert "  complete    50.0%; 0 of them may fail" in shown.out
    assert "  failed      3 in transforming: ConnectionError: the other side hung up" in shown.out
    assert project.call("ls", "--group", "nobody").code == 3
    assert "there is no instance 'nobody'" in project.call("inspect", "nobody").err


def test_a_tolerated_failure_is_done_and_a_resume_retries_it_alone(project: Project) -> None:
    """The exit code is 0, the completeness says what is missing."""
    tolerating(project, '"25%"')
    project.break_it()
    ran = project.call("run", "numbers", "--partition", "0..3", "-o", "json")
    would = project.call("resume", "--group", "numbers-0..3", "--dry-run", "-o", "json").json
    before = project.call("history", "numbers-0..3/1", "-o", "json").json
    project.mend_it()

    resumed = project.call("resume", "--group", "numbers-0..3", "--reason", "mended")

    assert (ran.code, ran.json["status"], ran.json["completeness"]) == (0, "done", 0.75)
    assert [each["id"] for each in would] == ["numbers-0..3/3"]
    assert resumed.code == 0
    assert "1 partition taken back to work" in resumed.err
    assert "numbers-0..3 done: 4 of 4 partitions, 6 records loaded" in resumed.out
    assert project.call("history", "numbers-0..3/1", "-o", "json").json == before
    again = project.call("resume", "--group", "numbers-0..3")
    assert again.code == 2
    assert "none of its partitions failed" in again.err


def test_the_same_group_again_is_a_conflict_or_as_one_says(project: Project) -> None:
    """As with the id of an instance."""
    project.call("run", "numbers", "--partition", "1..2", "--quiet")

    conflict = project.call("run", "numbers", "--partition", "1..2")
    skipped = project.call("run", "numbers", "--partition", "1..2", "--if-exists", "skip")
    attached = project.call("run", "numbers", "--partition", "1..2", "--if-exists", "attach")
    other = project.call("run", "numbers", "--partition", "1..2", "--group", "again", "-q")

    assert (conflict.code, skipped.code, attached.code, other.code) == (2, 0, 0, 0)
    assert "statepipe resume --group numbers-1..2" in conflict.err
    assert "exists; nothing was done" in skipped.err
    assert "numbers-1..2 done: 2 of 2" in attached.out
    assert [each["group"] for each in project.call("ls", "--groups", "-ojson").json] == [
        "again",
        "numbers-1..2",
    ]


def test_a_started_group_is_driven_by_a_worker(project: Project) -> None:
    """Or by a resume; its id is what is printed."""
    started = project.call("start", "numbers", "--partition", "1", "--partition", "2..3")
    group = started.out.strip()
    before = project.call("inspect", group, "-o", "json").json

    project.call("worker", "--until-idle")
    after = project.call("inspect", group, "-o", "json").json

    assert f"statepipe resume --group {group}" in started.err
    assert (before["status"], before["standings"]) == ("open", {"ready": 3})
    assert before["next"] == f"statepipe resume --group {group}"
    assert (after["status"], after["standings"]) == ("done", {"done": 3})
    assert project.call("start", "numbers", "--partition", "9", "-ojson").json == {
        "group": "numbers-9"
    }


def test_a_group_is_cancelled_after_a_yes_and_taken_back(project: Project) -> None:
    """All that has not ended, in one go."""
    project.call("start", "numbers", "--partition", "1..3")

    unsure = project.call("cancel", "--group", "numbers-1..3")
    tried = project.call("cancel", "--group", "numbers-1..3", "--dry-run")
    sure = project.call("cancel", "--group", "numbers-1..3", "--yes", "--reason", "wrong file")
    again = project.call("cancel", "--group", "numbers-1..3", "--yes")

    assert (unsure.code, tried.code, sure.code, again.code) == (2, 0, 0, 2)
    assert tried.out == "would cancel 3 partitions of numbers-1..3; nothing was changed\n"
    assert sure.out.startswith("3 partitions cancelled   next: ")
    assert "it is cancelled" in again.err
    assert project.call("history", "numbers-1..3/2", "-o", "json").json[-1]["note"] == "wrong file"
    would = project.call("resume", "--group", "numbers-1..3", "--dry-run")
    assert "3 partitions would be taken back, 0 more driven" in would.err
    machine = project.root / "machines" / "numbers.toml"
    text = machine.read_text(encoding="utf-8")
    machine.write_text(text.replace("version = 1", "version = 2"), encoding="utf-8")
    refused = project.call("resume", "--group", "numbers-1..3", "--dry-run")
    assert "version was 1 and is 2: a resume is refused" in refused.err
    assert "would be taken back" not in refused.err
    machine.write_text(text, encoding="utf-8")
    assert project.call("resume", "--group", "numbers-1..3").code == 0


def test_a_group_is_paused_after_a_yes_and_unpaused(project: Project) -> None:
    """It says what it leaves as it is, and why; a resume of the group leaves it all paused."""
    project.call("start", "numbers", "--partition", "1..3")
    project.call("resume", "numbers-1..3/1")
    group = ("--group", "numbers-1..3")

    unsure = project.call("pause", *group)
    tried = project.call("pause", *group, "--dry-run")
    sure = project.call("pause", *group, "--yes", "--reason", "it is down")
    again = project.call("pause", *group, "--yes")
    resumed = project.call("resume", *group)
    would = project.call("unpause", *group, "--dry-run")
    went_on = project.call("unpause", *group)
    fact = project.call("pause", *group, "--yes", "-o", "json").json
    back = project.call("unpause", *group, "-o", "json").json
    none = project.call("unpause", *group, "--dry-run")
    project.call("worker", "--until-idle")

    assert (unsure.code, tried.code, sure.code, again.code, none.code) == (2, 0, 0, 2, 2)
    assert "statepipe pause --group numbers-1..3 --yes" in unsure.err
    assert tried.out == "would pause 2 partitions of numbers-1..3; nothing was changed\n"
    leads = "next: statepipe unpause --group numbers-1..3"
    assert sure.out == f"2 partitions paused; left as they are: 1 done   {leads}\n"
    assert "each partition of group 'numbers-1..3' that has not ended is paused" in again.err
    assert leads in resumed.out
    assert would.out == "would unpause 2 partitions of numbers-1..3; nothing was changed\n"
    assert went_on.out.startswith("2 partitions ready   next: statepipe worker")
    assert fact == {
        "group": "numbers-1..3",
        "paused": 2,
        "asked": 0,
        "left": 1,
        "left_as": {"done": 1},
    }
    assert back == {"group": "numbers-1..3", "unpaused": 2, "about_to_pause": 0}
    assert project.call("inspect", "numbers-1..3", "-o", "json").json["standings"] == {"done": 3}
    assert "it is done" in project.call("pause", *group, "--yes").err


def test_a_group_is_cancelled_without_those_that_failed_and_it_says_so(project: Project) -> None:
    """They have ended: each is cancelled by its own id, and what leads there is said."""
    tolerating(project, "1")
    project.call("start", "numbers", "--partition", "1..3")
    project.break_it()
    project.call("resume", "numbers-1..3/3")
    leads = "statepipe ls --group numbers-1..3 --failed   # then: statepipe cancel ID"

    tried = project.call("cancel", "--group", "numbers-1..3", "--dry-run")
    sure = project.call("cancel", "--group", "numbers-1..3", "--yes")
    again = project.call("cancel", "--group", "numbers-1..3", "--yes")
    project.call("start", "numbers", "--partition", "4..6")
    project.call("resume", "numbers-4..6/6")
    fact = project.call("cancel", "--group", "numbers-4..6", "--yes", "-o", "json").json

    assert fact == {"group": "numbers-4..6", "cancelled": 2, "asked": 0, "left": 1}
    assert "would cancel 2 partitions of numbers-1..3, and leave 1 that failed" in tried.out
    assert sure.out == (
        f"2 partitions cancelled; 1 that failed before left as they are   next: {leads}\n"
    )
    assert "nothing was changed; 1 partition failed, each cancelled by its own id" in again.err
    assert leads in again.err
    assert project.call("inspect", "numbers-1..3/3", "-o", "json").json["status"] == "failed"
    assert project.call("cancel", "numbers-1..3/3", "--yes").code == 0


def test_one_at_a_time_is_one_at_a_time(project: Project) -> None:
    """In the journal each partition ends before the next one is claimed."""
    project.call("run", "numbers", "--partition", "1..4", "--max-parallel", "1", "--quiet")

    with closing(open_reader(Path("statepipe.db"))) as store:
        sql = "SELECT instance FROM journal WHERE kind <> 'create' ORDER BY n"
        order = [n for (n,) in store.execute(sql)]
    assert order == sorted(order)


def test_a_group_that_is_told_to_stop_is_left_resumable(project: Project) -> None:
    """Exit 143, as with one instance, and it is open; the next command goes on with it."""
    running = project.spawn("run", "numbers", "--partition", "1..2", "-p", "slow:=true")
    with running:
        project.begun()
        running.send_signal(signal.SIGTERM)
        out, _ = running.communicate(timeout=60)
    (project.root / "machines" / "go").touch()

    resumed = project.call("resume", "--group", "numbers-1..2", "--max-parallel", "2")

    assert running.returncode == 143
    assert "numbers-1..2 open: 0 of 2 partitions, 2 ready" in out
    assert resumed.code == 0


@pytest.mark.parametrize(
    "argv",
    [
        ["run", "numbers", "--partition", "1", "--id", "one"],
        ["run", "numbers", "--group", "one"],
        ["run", "numbers", "--max-parallel", "2"],
        ["run", "numbers", "--partition", "1", "-p", "count=3"],
        ["run", "numbers", "--partition", "3..1"],
        ["run", "numbers", "--partition", "1", "--group", "x" * 101],
        ["start", "numbers", "--group", "one"],
        ["resume", "one", "--group", "g"],
        ["resume", "--group", "g", "--all"],
        ["resume", "--all", "--max-parallel", "2", "--yes"],
        ["resume", "--group", "g", "--canary", "1"],
        ["ls", "--groups", "--failed"],
        ["cancel"],
        ["cancel", "one", "--group", "g"],
        ["pause"],
        ["pause", "one", "--group", "g"],
        ["unpause"],
    ],
)
def test_what_does_not_go_together_is_refused(project: Project, argv: list[str]) -> None:
    """Exit 2, and no group is there."""
    project.call("start", "numbers", "--id", "one")

    assert project.call(*argv).code == 2
    assert project.call("ls", "--groups", "-o", "json").json == []


def test_check_proves_that_the_keys_can_be_asked_for(project: Project) -> None:
    """The function that lists them is imported, and takes the parameters alone."""
    machine = project.root / "machines" / "numbers.toml"
    listed = '\n[partition]\nby = "list"\nparam = "count"\nsource = "numbers_:{}"\n'
    functions = project.root / "machines" / "numbers_.py"
    keys = "\n\ndef sizes(params):\n    return [1, 2]\n"
    functions.write_text(functions.read_text(encoding="utf-8") + keys, encoding="utf-8")

    said = {}
    for name in ("sizes", "sixes", "transform"):
        machine.write_text(MACHINE + listed.format(name), encoding="utf-8")
        said[name] = project.call("check", "numbers")

    assert said["sizes"].code == 0, said["sizes"].out
    assert 'has no function "sixes"; did you mean "sizes"?' in said["sixes"].out
    assert "numbers_:transform" in said["transform"].out
    assert said["sixes"].code == said["transform"].code == 6
    machine.write_text(MACHINE + listed.format("sizes"), encoding="utf-8")
    assert project.call("run", "numbers", "--partition", "..", "-q").code == 0


@pytest.mark.parametrize(
    "argv",
    [
        ["why", "G"],
        ["resume", "G"],
        ["cancel", "G", "--yes"],
        ["pause", "G"],
        ["rewind", "G", "--to", "loading", "--reason", "x", "--yes"],
        ["history", "G"],
        ["logs", "G"],
        ["wait", "G"],
        ["signal", "G", "approved"],
        ["restart", "G"],
    ],
)
def test_a_group_where_an_instance_is_wanted_is_called_a_group(
    project: Project, argv: list[str]
) -> None:
    """And the refusal names the commands that take it."""
    project.call("start", "numbers", "--partition", "1..2", "--group", "G")

    said = project.call(*argv)

    assert said.code == 3
    assert "'G' is a group of instances, and no instance" in said.err
    assert "next:    statepipe ls --group G" in said.err
    assert "resume --group G, cancel --group G" in said.err
