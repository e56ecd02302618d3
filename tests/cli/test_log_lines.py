"""Log lines: where they go, that they are nothing but JSON, that nothing is said twice."""

import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from statepipe import logsettings
from statepipe.cli.shared import session
from statepipe.observe import redact
from statepipe.observe.lines import schema
from tests.cli.project import Project, until

VALIDATOR = jsonschema_rs.validator_for(schema())


def lines(text: str) -> list[dict[str, Any]]:
    """Return log lines, after the schema has seen each of them."""
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        VALIDATOR.validate(line)
    return found


def logged(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file."""
    return lines(path.read_text(encoding="utf-8"))


def test_a_run_logs_json_on_standard_error_and_answers_on_standard_output(
    project: Project,
) -> None:
    """A supervisor reads the one, a script the other."""
    said = project.call("run", "numbers", "--id", "one", "--log-format", "json", "-o", "json")

    assert said.code == 0
    assert said.json[0]["status"] == "done"
    told = lines(said.err)
    assert [line["seq"] for line in told] == list(range(1, len(told) + 1))
    assert told[0]["kind"] == "create"
    assert (told[-1]["kind"], told[-1]["status"]) == ("move", "done")
    assert sum(line["records"] for line in told if line["event"] == "loaded") == 4


def test_without_json_the_answer_is_one_sentence(project: Project) -> None:
    """Progress would say again what the lines say."""
    said = project.call("run", "numbers", "--id", "one", "--log-format", "json")

    assert said.out.splitlines() == [
        "one done: 4 records loaded, 1 rejected   next: statepipe quarantine ls one"
    ]
    assert lines(said.err)


def test_by_default_there_are_no_lines(project: Project) -> None:
    """People see the progress of a command, as ever."""
    said = project.call("run", "numbers", "--id", "one")

    assert said.err == ""
    assert "extracting -> validating" in said.out


def test_a_file_gets_json_and_progress_stays(project: Project) -> None:
    """Every command appends; its folder is made."""
    project.call("run", "numbers", "--id", "one", "--log-file", "logs/statepipe.jsonl")
    said = project.call("run", "numbers", "--id", "two", "--log-file", "logs/statepipe.jsonl")

    assert "extracting -> validating" in said.out
    told = logged(project.root / "logs" / "statepipe.jsonl")
    assert {line["instance"] for line in told} == {"one", "two"}


def test_text_is_for_people_and_harmless_to_their_terminal(project: Project) -> None:
    """One line a fact; what an error message holds cannot take the terminal over."""
    project.break_it("\x1b[31mred\nand more")

    said = project.call("run", "numbers", "--id", "one", "--log-format", "text")

    assert said.code == 1
    last = said.err.splitlines()[-1]
    assert "  ERROR    one: transforming -> failed, error, " in last
    assert last.endswith(r"ConnectionError: \x1b[31mred\nand more")
    assert "batch" not in said.err


def test_the_level_leaves_the_less_important_out(project: Project) -> None:
    """An operator who wants only what needs somebody."""
    project.break_it()

    said = project.call(
        "run", "numbers", "--id", "one", "--log-format", "json", "--log-level", "error"
    )

    (line,) = lines(said.err)
    assert (line["kind"], line["event"], line["source"]) == ("move", "error", "transforming")
    assert (line["error_class"], line["error"]) == ("ConnectionError", "the other side hung up")
    assert line["traceback"].startswith("Traceback (most recent call last):\n  File ")
    assert "numbers_.py" in line["traceback"].splitlines()[1]


def test_a_refusal_is_a_line_too(project: Project) -> None:
    """Standard error has nothing but JSON, whatever happens; the exit code is the same."""
    project.call("run", "numbers", "--id", "one")

    said = project.call("run", "numbers", "--id", "one", "--log-format", "json")

    (line,) = lines(said.err)
    assert (said.code, said.out, line["exit_code"]) == (2, "", 2)
    assert (line["kind"], line["level"], line["error_class"]) == ("log", "error", "InstanceExists")
    assert line["message"] == "there is already an instance 'one' in this store"
    assert line["next_step"].startswith("statepipe resume one")
    said = project.call("run", "numbers", "--id", "one", "--log-file", "log.jsonl")
    assert said.err.startswith("statepipe: there is already an instance 'one'")
    assert logged(project.root / "log.jsonl")[0]["error_class"] == "InstanceExists"


def test_settings_come_from_the_file_and_the_environment_wins(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line wins over both; paths are relative to whoever names them."""
    with (project.root / "statepipe.toml").open("a", encoding="utf-8") as file:
        file.write(
            '[logging]\nfile = "a.jsonl"\nlevel = "error"\n[env.loud.logging]\nlevel = "info"\n'
        )

    project.call("run", "numbers", "--id", "one")
    assert logged(project.root / "a.jsonl") == []

    project.call("run", "numbers", "--id", "two", "--env", "loud")
    assert {line["level"] for line in logged(project.root / "a.jsonl")} == {"info"}

    monkeypatch.setenv("STATEPIPE_LOG_FILE", "b.jsonl")
    monkeypatch.setenv("STATEPIPE_LOG_LEVEL", "debug")
    project.call("run", "numbers", "--id", "three")
    assert "debug" in {line["level"] for line in logged(project.root / "b.jsonl")}

    said = project.call("run", "numbers", "--id", "four", "--log-format", "none")
    assert (said.code, said.err) == (0, "")
    assert "four" not in (project.root / "b.jsonl").read_text(encoding="utf-8")


def test_the_command_line_offers_what_the_file_does() -> None:
    """The choices are written down twice, so that --help is fast; they are the same."""
    assert session.LOG_FORMATS == logsettings.FORMATS
    assert session.LOG_LEVELS == logsettings.LEVELS


def test_interventions_are_logged_where_everything_is(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who paused it, who rewound it, and why, is asked of the same log."""
    monkeypatch.setenv("STATEPIPE_LOG_FILE", "log.jsonl")
    project.call("start", "numbers", "--id", "one")
    project.call("pause", "one", "--reason", "the source is down")
    project.call("cancel", "one", "--yes")
    project.call("rewind", "one", "--to", "extracting", "--yes")
    project.call("resume", "one", "--reason", "it is up")

    told = logged(project.root / "log.jsonl")
    assert [line["kind"] for line in told[:5]] == ["create", "pause", "cancel", "rewind", "resume"]
    assert [line.get("note") for line in told[:5]] == [
        None,
        "the source is down",
        None,
        None,
        "it is up",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('format = "jason"', "format is 'jason'; did you mean \"json\"?"),
        ('level = "loud"', "level is 'loud'"),
        ("file = 7", "file is 7, not a path"),
        ('hide = ["CRM_TOKEN"]', "hide is ['CRM_TOKEN'], not a list of references"),
        ('colour = "red"', 'unknown key "colour"'),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(
    project: Project, text: str, message: str
) -> None:
    """Before anything runs, with the place."""
    with (project.root / "statepipe.toml").open("a", encoding="utf-8") as file:
        file.write(f"[logging]\n{text}\n")

    said = project.call("run", "numbers")

    assert said.code == 2
    assert f"statepipe.toml: logging: {message}" in said.err


def test_an_environment_that_cannot_be_meant_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typing error in a unit file must not silence a worker."""
    monkeypatch.setenv("STATEPIPE_LOG_FORMAT", "jsonl")

    said = project.call("run", "numbers")

    assert said.code == 2
    assert "STATEPIPE_LOG_FORMAT: format is 'jsonl'" in said.err


def test_a_log_file_that_cannot_be_opened_is_refused(project: Project) -> None:
    """Before anything runs: nobody would see what happened."""
    said = project.call("run", "numbers", "--log-file", "machines")

    assert said.code == 2
    assert "machines cannot be opened: Is a directory" in said.err
    assert not (project.root / "statepipe.db").exists()


def test_a_log_file_that_fills_up_stops_nothing(project: Project) -> None:
    """It is said once, and the run goes on."""
    said = project.call("run", "numbers", "--id", "one", "--log-file", "/dev/full")

    assert said.code == 0
    assert said.err.count("cannot be written to /dev/full: No space left on device") == 1


def test_a_log_file_that_was_moved_away_is_made_anew(project: Project) -> None:
    """As logrotate does it, in the middle of a run."""
    log = project.root / "log.jsonl"
    process = project.spawn(
        "run", "numbers", "--id", "one", "-p", "slow:=true", "--log-file", str(log)
    )
    project.begun()
    log.rename(log.with_suffix(".1"))
    (project.root / "machines" / "go").touch()
    assert process.wait(timeout=20) == 0
    process.communicate()

    before, after = logged(log.with_suffix(".1")), logged(log)
    assert [line["seq"] for line in (*before, *after)] == list(
        range(1, len(before) + len(after) + 1)
    )
    assert before
    assert after


def test_a_worker_s_takeover_of_a_killed_run_is_a_warning(project: Project) -> None:
    """After kill -9 the next process says from whom it took over, and goes on from there."""
    log = project.root / "log.jsonl"
    slow = ("run", "numbers", "--id", "one", "-p", "slow:=true", "--log-file", str(log))
    process = project.spawn(*slow)
    project.begun()
    until(lambda: logged(log)[-1]["seq"] == 5)  # the task goes on a moment before the line is there
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (project.root / "machines" / "go").touch()

    said = project.call("worker", "--until-idle", "--log-format", "json")

    assert said.code == 0
    told = [*logged(log), *lines(said.err)]
    assert [line["seq"] for line in told] == list(range(1, len(told) + 1))
    (took,) = [line for line in told if line["event"] == "takeover"]
    assert (took["level"], took["epoch"]) == ("warning", 2)


def test_a_reader_that_goes_away_stops_no_run(project: Project) -> None:
    """Log lines into a closed pipe are lost, and nothing else is."""
    reading, writing = os.pipe()
    process = project.spawn("run", "numbers", "--id", "one", "--log-format", "json", stderr=writing)
    os.close(writing)
    os.close(reading)

    out, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert out.startswith("one done")


def test_what_is_hidden_is_in_no_byte_of_the_project(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R13: not in the store, the WAL, the log, or on the screen, whoever said it."""
    redact.forget()
    (project.root / "token").write_text("t0ken-of-the-warehouse\n", encoding="utf-8")
    with (project.root / "statepipe.toml").open("a", encoding="utf-8") as file:
        file.write(
            '[logging]\nfile = "log.jsonl"\nhide = ["env:CRM_KEY", "file:token", "env:NONE"]\n'
        )
    monkeypatch.setenv("CRM_KEY", "k3y-of-the-crm")
    functions = project.root / "machines" / "numbers_.py"
    text = functions.read_text(encoding="utf-8")
    functions.write_text(
        text.replace(
            '    """Square them."""\n',
            '    """Square them."""\n'
            "    import os\n"
            '    print("key", os.environ["CRM_KEY"])\n'
            '    task.log.info("token %s", (HERE.parent / "token").read_text())\n'
            "    raise ValueError(f\"{os.environ['CRM_KEY']} at pg://ann:topsecret@db\")\n",
        ),
        encoding="utf-8",
    )

    try:
        said = project.call("run", "numbers", "--id", "one")
        shown = project.call("logs", "one").out + project.call("inspect", "one").out
    finally:
        redact.forget()

    assert said.code == 1
    assert "key ***" in shown
    assert "token ***" in shown
    assert "ValueError: *** at pg://***@db" in shown
    found = said.out + said.err + shown
    for path in project.root.rglob("*"):
        if (
            path.is_file()
            and path.name not in ("token", "numbers_.py")
            and "pyc" not in path.suffix
        ):
            found += path.read_bytes().decode("latin-1")
    for secret in ("k3y-of-the-crm", "t0ken-of-the-warehouse", "topsecret"):
        assert secret not in found


def test_lines_of_many_instances_are_whole(project: Project) -> None:
    """Several processes append to one file; no line is torn."""
    log = project.root / "log.jsonl"
    processes = [
        project.spawn("run", "numbers", "--id", f"i{n}", "-p", "count:=40", "--log-file", str(log))
        for n in range(3)
    ]
    for process in processes:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said

    told = logged(log)

    for n in range(3):
        mine = [line["seq"] for line in told if line["instance"] == f"i{n}"]
        assert mine == list(range(1, len(mine) + 1))
        assert len(mine) > 60


def test_logging_is_as_it_was_after_a_command(project: Project) -> None:
    """A program that calls `main` is not left with our handlers."""
    logger = logging.getLogger("statepipe")
    before = (logger.level, list(logger.handlers))

    project.call("run", "numbers", "--log-file", "log.jsonl")
    project.call("run", "numbers", "--log-format", "json")

    assert (logger.level, logger.handlers) == before
