"""Tasks of a state on the command line: seen, listed, and retried one by one."""

import signal

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


def test_a_task_that_works_on_a_list_is_retried_by_element(project: Project) -> None:
    """Its bare name says no element; the refusal names one that there is, and how to see all."""
    machines = project.root / "machines"
    several = MACHINE.replace('"pair:bad", ', '"pair:bad", needs = "good", foreach = "result", ')
    (machines / "pair.toml").write_text(several, encoding="utf-8")
    (machines / "pair.py").write_text(
        FUNCTIONS.replace('log.write("x")', 'log.write("x")\n    return ["a"]'), encoding="utf-8"
    )
    assert project.call("run", "pair", "--id", "one two").code == 1

    said = project.call("retry", "one two", "--task", "bad")

    assert said.code == 3, said
    assert "task 'bad' of 'one two' works on a list" in said.err
    assert "next:    statepipe retry 'one two' --task 'bad[0]'" in said.err


def test_inspect_says_which_tasks_a_resume_skips(failed: Project) -> None:
    """What is done is not done again, and it is said before anybody resumes."""
    skips = "skips the tasks of work that are done\n"
    assert f"a resume    {skips}              runs work" in failed.call("inspect", "one").out
    assert skips in failed.call("resume", "one", "--dry-run").out

    assert failed.call("rewind", "one", "--to", "work", "--reason", "all of it", "--yes").code == 0

    said = failed.call("inspect", "one").out
    assert "a resume    skips nothing\n" in said
    assert "tasks of work, before it was rewound\n" in said
    retried = failed.call("retry", "one", "--task", "bad")
    assert retried.code == 2, retried
    assert "nobody waits for the task any more" in retried.err
    resumed = failed.call("resume", "one/work.bad")
    assert resumed.code == 2, resumed
    assert "nobody waits for it any more" in resumed.err
    rewound = failed.call("rewind", "one/work.bad", "--to", "bad", "--reason", "x", "--yes")
    assert "next:    statepipe rewind one --to work" in rewound.err


def test_why_names_the_task_that_failed(failed: Project) -> None:
    """The cause of the whole is the cause of its part."""
    said = failed.call("why", "one").out
    assert "bad is failed: the supplier is down" in said


def test_a_resume_whose_child_machine_has_had_its_time_is_refused_in_every_text(
    failed: Project,
) -> None:
    """They say which deadline to raise, and what begins another child; nothing is changed."""
    machines = failed.root / "machines"
    outer = 'machine = "outer"\ninitial = "part"\n[states.part]\nmachine = "pair"\non.ok = "done"\n'
    (machines / "outer.toml").write_text(f'{outer}[states.done]\nfinal = "success"\n')
    assert failed.call("run", "outer", "--id", "two").code == 1
    (machines / "pair.toml").write_text(f'deadline = "1ms"\n{MACHINE}', encoding="utf-8")

    said = failed.call("resume", "two")
    assert said.code == 2
    raises = "raise `deadline` of pair, which may change at any time; then statepipe resume two"
    assert raises in said.err
    shown = [failed.call(*each).out for each in (("why", "two"), ("inspect", "two"))]
    for told in (*shown, failed.call("resume", "two", "--dry-run").out):
        assert raises in told
        assert "statepipe rewind two --to part" in told

    (machines / "pair.toml").write_text(MACHINE, encoding="utf-8")
    (machines / "mended").touch()
    assert failed.call("resume", "two").code == 0


def test_tasks_whose_driver_died_are_seen_as_stalled(project: Project) -> None:
    """In the list of all that stalled, in that of their instance, in `why` and in `inspect`."""
    machines = project.root / "machines"
    in_turn = MACHINE.replace('"pair:bad", ', '"pair:bad", needs = "good", ')
    (machines / "pair.toml").write_text(in_turn, encoding="utf-8")
    killing = FUNCTIONS.replace(
        'raise RuntimeError("the supplier is down")', "os.kill(os.getpid(), signal.SIGKILL)"
    )
    (machines / "pair.py").write_text(f"import os\nimport signal\n{killing}", encoding="utf-8")
    process = project.spawn("run", "pair", "--id", "one")
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL

    stalled = project.call("ls", "--stalled", "-o", "json").json
    its = project.call("ls", "--parts-of", "one", "--stalled", "-o", "json").json

    assert [each["id"] for each in its] == ["one/work.bad"]
    assert its[0] in stalled
    assert its[0]["status"] == "stalled"
    assert "for bad (stalled)" in project.call("why", "one").out
    assert "bad   stalled" in project.call("inspect", "one").out
    in_bad = project.call("ls", "--parts-of", "one", "--state", "bad", "-o", "json")
    assert [each["id"] for each in in_bad.json] == ["one/work.bad"]


def test_what_an_instance_of_tasks_says_leads_to_them(failed: Project) -> None:
    """Its story, its logs, and the refusal to part one of them from it."""
    story = failed.call("why", "one").out
    assert "it began good, bad, and waits in work for that" in story
    assert "its part one/work.good is done" in story
    assert "next: statepipe ls --parts-of one" in failed.call("logs", "one").err
    assert "parts" not in failed.call("logs", "one/work.good").err
    forked = failed.call("fork", "one/work.bad", "--reason", "x")
    assert "next:    statepipe fork one --at work --reason …" in forked.err


PARENT = """\
machine = "whole"
initial = "work"
states.work = { machine = "part", on.ok = "done" }
states.done.final = "success"
"""
PART = """\
machine = "part"
initial = "asked"
states.asked = { wait = { event = "yes", timeout = "2d" }, on.yes = "done", on.timeout = "failed" }
states.done.final = "success"
"""


def test_a_preview_names_the_child_machine_that_changed(project: Project) -> None:
    """As the resume that refuses it does; one that has begun no child yet is resumed."""
    machines = project.root / "machines"
    (machines / "whole.toml").write_text(PARENT, encoding="utf-8")
    (machines / "part.toml").write_text(PART, encoding="utf-8")
    project.call("start", "whole", "--id", "one")
    project.call("worker", "--until-idle")
    project.call("start", "whole", "--id", "two")
    assert "a resume is refused" not in project.call("resume", "one", "--dry-run").out
    (machines / "part.toml").write_text(f"version = 2\n{PART}", encoding="utf-8")
    why = "machine 'part' changed since 'one/work' began (it does part of the work of 'one')"

    one = project.call("resume", "one", "--dry-run").out
    many = project.call("resume", "--all", "--dry-run")
    facts = project.call("resume", "--all", "--dry-run", "-o", "json").json
    project.call("pause", "one")
    refused = [project.call("unpause", "one", *dry) for dry in ((), ("--dry-run",))]

    assert f"{why}: version was 1 and is 2: a resume is refused" in one
    assert "statepipe resume one --definition latest" in one
    assert why in project.call("resume", "one").err
    assert f"would be left as they are, for example: {why}" in many.err, many
    assert "1 instance would be resumed; nothing was changed" in many.err
    assert [each["changed"] and why in each["changed"] for each in facts] == [True, None], facts
    assert [(each.code, why in each.err) for each in refused] == [(5, True)] * 2
