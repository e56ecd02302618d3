"""`statepipe logs`: what tasks said, chosen, followed, and harmless to a terminal."""

import json
import signal

import jsonschema_rs
import pytest

from tests.cli.project import Project

SPEAKING = '''\
"""A machine that talks."""

import sys
from pathlib import Path
from threading import Event

from statepipe import Task

HERE = Path(__file__).parent


def first(task: Task) -> None:
    """Speak in every way."""
    print("hello", task.instance)
    print("oh \\x1b[31mno", file=sys.stderr)
    task.log.debug("thinking")
    task.log.warning("look out")


def second(task: Task) -> None:
    """Fail once, or wait."""
    print("attempt", task.attempt)
    if (HERE / "slow").exists():
        (HERE / "begun").touch()
        while not (task.cancelled or (HERE / "go").exists()):
            Event().wait(0.005)
        print("and on")
    if task.attempt == 1:
        raise ConnectionError("hung up")
'''

MACHINE = """\
machine = "talk"
version = 1
initial = "one"

[states.one]
run = "talk:first"
on.ok = "two"

[states.two]
run = "talk:second"
retry = { max_attempts = 2, interval = "1ms" }
on.ok = "done"

[states.done]
final = "success"
[states.failed]
final = "failure"
"""


@pytest.fixture
def talk(project: Project) -> Project:
    """Add the machine that talks."""
    (project.root / "machines" / "talk.py").write_text(SPEAKING, encoding="utf-8")
    (project.root / "machines" / "talk.toml").write_text(MACHINE, encoding="utf-8")
    return project


def texts(out: str) -> list[str]:
    """Return lines without their moments."""
    return [line.partition("Z  ")[2] for line in out.splitlines() if "Z  " in line]


@pytest.mark.parametrize("executor", ["thread", "process", "inline"])
def test_everything_is_shown_in_its_order_with_its_attempt(talk: Project, executor: str) -> None:
    """A line says when, which state and attempt, how it was said, and what."""
    config = talk.root / "statepipe.toml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace('"thread"', f'"{executor}"'), encoding="utf-8")
    assert talk.call("run", "talk", "--id", "one").code == 0

    said = talk.call("logs", "one")

    shown = texts(said.out)
    assert sorted(shown[:4]) == [
        "one#1  debug     thinking",
        "one#1  stderr    oh \\x1b[31mno",
        "one#1  stdout    hello one",
        "one#1  warning   look out",
    ]
    assert shown[4:] == [
        "two#1  stdout    attempt 1",
        "two#1  error     Traceback (most recent call last):",
        "two#2  stdout    attempt 2",
    ]
    assert "\n    ConnectionError: hung up\n" in said.out
    assert said.err == ""


def test_one_asks_for_a_state_an_attempt_a_level_or_the_end(talk: Project) -> None:
    """Each option leaves something out."""
    talk.call("run", "talk", "--id", "one")

    def shown(*options: str) -> list[str]:
        return texts(talk.call("logs", "one", *options).out)

    assert shown("--state", "two", "--attempt", "2") == ["two#2  stdout    attempt 2"]
    assert shown("--level", "warning") == [
        "one#1  warning   look out",
        "two#1  error     Traceback (most recent call last):",
    ]
    assert shown("--limit", "1") == ["two#2  stdout    attempt 2"]
    assert shown("--limit", "2", "--state", "one", "--level", "debug") == [
        "one#1  debug     thinking",
        "one#1  warning   look out",
    ]


def test_json_has_every_column(talk: Project) -> None:
    """As an array, or line by line."""
    talk.call("run", "talk", "--id", "one")

    rows = talk.call("logs", "one", "-o", "json").json
    lines = talk.call("logs", "one", "-o", "jsonl").out.splitlines()

    assert [json.loads(line) for line in lines] == rows
    (last,) = [row for row in rows if row["attempt"] == 2]
    assert last["at"].endswith("Z")
    assert {key: last[key] for key in last if key not in ("n", "at", "at_ms")} == {
        "generation": 1,
        "state": "two",
        "attempt": 2,
        "epoch": 2,
        "source": "stdout",
        "level": "",
        "text": "attempt 2",
    }


def test_silence_is_said_beside_the_answer(project: Project) -> None:
    """An empty answer is an answer; a script sees an empty array."""
    project.call("run", "numbers", "--id", "one")

    people, script = project.call("logs", "one"), project.call("logs", "one", "-o", "json")

    assert (people.code, people.out) == (0, "")
    assert people.err == "one: nothing was said\n"
    assert (script.code, script.json) == (0, [])


def test_an_instance_that_is_not_there_is_refused(project: Project) -> None:
    """As by every command that looks at one."""
    project.call("run", "numbers", "--id", "one")

    assert project.call("logs", "two").code == 3
    assert "missing argument 'ID'" in project.call("logs").err


def test_a_running_attempt_is_followed_to_the_end_of_its_instance(talk: Project) -> None:
    """What it says appears while it runs; the command ends with the instance."""
    (talk.root / "machines" / "slow").touch()
    running = talk.spawn("run", "talk", "--id", "one")
    talk.begun()
    following = talk.spawn("logs", "one", "--follow")
    assert following.stdout is not None

    seen = [following.stdout.readline() for _ in range(5)]
    (talk.root / "machines" / "go").touch()
    rest, err = following.communicate(timeout=30)
    running.communicate(timeout=30)

    assert texts(seen[-1]) == ["two#1  stdout    attempt 1"]
    assert (following.returncode, err) == (0, "")
    assert texts(rest)[-2:] == ["two#2  stdout    attempt 2", "two#2  stdout    and on"]


def test_what_was_stored_outlives_a_kill(talk: Project) -> None:
    """After kill -9 of the driver everything but about the last second is there."""
    (talk.root / "machines" / "slow").touch()
    running = talk.spawn("run", "talk", "--id", "one")
    following = None
    try:
        talk.begun()
        following = talk.spawn("logs", "one", "--follow", "--state", "two")
        assert following.stdout is not None
        assert texts(following.stdout.readline()) == ["two#1  stdout    attempt 1"]
    finally:
        running.send_signal(signal.SIGKILL)
        running.communicate()
        if following is not None:
            following.kill()
            following.communicate()

    assert texts(talk.call("logs", "one", "--state", "two").out) == ["two#1  stdout    attempt 1"]


def test_inspect_of_a_failed_instance_points_to_what_it_said(talk: Project) -> None:
    """The traceback is one command away; nothing is promised that is not there."""
    config = (talk.root / "machines" / "talk.toml").read_text(encoding="utf-8")
    (talk.root / "machines" / "talk.toml").write_text(
        config.replace("max_attempts = 2", "max_attempts = 1"), encoding="utf-8"
    )
    talk.call("run", "talk", "--id", "one")

    said = talk.call("inspect", "one")

    (line,) = [line for line in said.out.splitlines() if line.startswith("  logs ")]
    command = line.split("statepipe ")[1]
    assert command == "logs one --state two --attempt 1"
    assert "ConnectionError: hung up" in talk.call(*command.split()).out
    assert talk.call("inspect", "one", "-o", "json").json["has_output"] is True


def test_the_schema_of_log_lines_is_printed_for_other_validators(project: Project) -> None:
    """It belongs to the release that writes the lines."""
    schema = project.call("logs", "--schema").json

    jsonschema_rs.meta.validate(schema)
    assert schema["$id"] == "urn:statepipe:log:1"
    assert project.call("logs", "--schema", "-o", "json").json == schema
    (line,) = project.call("logs", "--schema", "-o", "jsonl").out.splitlines()
    assert json.loads(line) == schema
