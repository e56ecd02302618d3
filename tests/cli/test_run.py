"""run, start, worker: what they print, what they return, what they leave."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests.cli.project import Project

MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"


def test_run_says_each_move_and_ends_with_what_was_loaded(project: Project) -> None:
    """Without a terminal: a line a move, then what happened and what to type next."""
    said = project.call("run", "numbers", "--id", "one")

    lines = said.out.splitlines()
    assert said.code == 0
    assert [line.split("  ")[2] for line in lines[:-1]] == [
        "extracting -> validating",
        "validating -> transforming",
        "transforming -> loading",
        "loading -> done",
    ]
    assert lines[-1] == (
        "one done: 4 records loaded, 1 rejected   next: statepipe quarantine ls one"
    )


def test_run_loads_what_is_sound_and_nothing_else(project: Project) -> None:
    """The rows are there once the command returned."""
    project.call("run", "numbers")

    warehouse = sqlite3.connect(project.root / "warehouse.db")
    rows = warehouse.execute("SELECT n, square FROM numbers ORDER BY n").fetchall()
    warehouse.close()
    assert rows == [(0, 0), (1, 1), (2, 4), (4, 16)]


def test_a_failed_run_exits_1_and_says_why(project: Project) -> None:
    """The last line names the error and the command that explains it."""
    project.break_it()

    said = project.call("run", "numbers", "--id", "one", "--quiet")

    assert said.code == 1
    assert said.out == (
        "one failed in transforming: ConnectionError: the other side hung up;"
        " 0 records loaded, 1 rejected   next: statepipe inspect one\n"
    )


def test_run_with_json_prints_only_json_to_standard_output(project: Project) -> None:
    """Progress goes beside it."""
    said = project.call("run", "numbers", "--id", "one", "-o", "json")

    [result] = said.json
    assert result["status"] == "done"
    assert (result["loaded"], result["rejected"]) == (4, 1)
    assert "loading -> done" in said.err


def test_an_id_that_is_taken_is_a_conflict_unless_said_otherwise(project: Project) -> None:
    """`attach` goes on with it, `skip` leaves it alone."""
    project.call("start", "numbers", "--id", "one")

    conflict = project.call("run", "numbers", "--id", "one")
    skipped = project.call("run", "numbers", "--id", "one", "--if-exists", "skip")
    attached = project.call("run", "numbers", "--id", "one", "--if-exists", "attach")

    assert conflict.code == 2
    assert conflict.err.startswith("statepipe: there is already an instance 'one'")
    assert skipped.code == 0
    assert attached.code == 0
    assert "one done" in attached.out


def test_start_prints_the_id_and_runs_nothing(project: Project) -> None:
    """A script takes the id from standard output."""
    said = project.call("start", "numbers", "--reason", "by hand")

    name = said.out.strip()
    assert said.code == 0
    assert project.call("inspect", name, "-o", "json").json["status"] == "ready"
    assert project.call("history", name, "-o", "json").json[0]["note"] == "by hand"


def test_a_worker_drives_everything_that_is_ready(project: Project) -> None:
    """And returns once nothing is, if asked to."""
    for name in ("one", "two"):
        project.call("start", "numbers", "--id", name)

    said = project.call("worker", "--until-idle", "--concurrency", "1")

    assert said.code == 0
    assert said.out.splitlines()[-1] == "2 instances done, 0 failed"
    assert {each["status"] for each in project.call("ls", "--all", "-o", "json").json} == {"done"}


def test_a_worker_says_what_it_leaves_alone(project: Project) -> None:
    """An instance of a machine that was edited since is not passed over in silence."""
    project.call("start", "numbers", "--id", "old")
    machine = Path("machines/numbers.toml")
    text = machine.read_text(encoding="utf-8")
    machine.write_text(text.replace("version = 1", "version = 2"), encoding="utf-8")
    project.call("start", "numbers", "--id", "new")

    said = project.call("worker", "--until-idle")

    assert said.code == 0
    assert "1 instance of numbers left alone" in said.err
    assert "1 instance done" in said.out


@pytest.mark.parametrize("named", [False, True], ids=["all", "the other"])
@pytest.mark.parametrize("wrong", ["no TOML", "a key", "a contract", "twice"])
def test_one_broken_machine_stops_no_worker(project: Project, wrong: str, named: bool) -> None:  # noqa: FBT001  (a parameter)
    """It is left out and named; whoever asks for it by name is refused."""
    project.call("start", "numbers", "--id", "one")
    sound = Path("machines/numbers.toml").read_text(encoding="utf-8")
    bad = sound.replace('"numbers"', '"crooked"', 1)
    if wrong == "twice":
        Path("machines/crooked").mkdir()
        Path("machines/crooked/crooked.toml").touch()
        Path("machines/crooked.template.toml").write_text(bad, encoding="utf-8")
    bad = {
        "no TOML": "machine = ",
        "a key": bad + "[nothing]",
        "a contract": bad.replace("contracts/number.json", "contracts/none.json"),
    }.get(wrong, bad)
    Path("machines/crooked.toml").write_text(bad, encoding="utf-8")

    asked = ("-m", "numbers") if named else ()
    said = project.call("worker", "--until-idle", *asked, "--log-file", "log.jsonl")
    refused = project.call("worker", "--until-idle", "-m", "crooked")

    assert (said.code, said.out.splitlines()[-1]) == (0, "1 instance done, 0 failed")
    assert ("crooked is left out: " in said.err) is not named
    lines = Path("log.jsonl").read_text(encoding="utf-8")
    assert ("crooked is left out: " in lines) is not named
    assert refused.code == 2


def test_a_worker_with_no_machine_to_drive_refuses(project: Project) -> None:
    """Or it would wait for ever, and whoever started it would think that all is well."""
    project.call("start", "numbers")
    Path("machines/numbers.toml").write_text("machine = ", encoding="utf-8")

    said = project.call("worker", "--until-idle")

    assert said.code == 2
    assert "numbers.toml: is not TOML" in said.err


def test_detailed_says_every_batch(project: Project) -> None:
    """For those who want to see the commits go by."""
    said = project.call("run", "numbers", "--detailed")

    assert "batch extracting  batch 0, 2 records" in said.out
    assert "batch loading  batch 2, 1 record" in said.out


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_the_journal_can_be_read_as_json(project: Project, form: str) -> None:
    """One array, or a line each; seq without gaps."""
    project.call("run", "numbers", "--id", "one")

    out = project.call("history", "one", "-o", form).out
    rows = json.loads(out) if form == "json" else [json.loads(line) for line in out.splitlines()]

    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert (rows[0]["kind"], rows[-1]["target"]) == ("create", "done")


def test_history_shows_the_newest_first_if_asked(project: Project) -> None:
    """With a limit it is the tail of the journal."""
    project.call("run", "numbers", "--id", "one")

    lines = project.call("history", "one", "--reverse", "--limit", "2", "--detailed").out

    assert "move       loading -> done" in lines.splitlines()[0]
    assert "generation 1" in lines


def test_history_follows_an_instance_to_its_end(project: Project) -> None:
    """It returns by itself once the instance has ended."""
    project.call("run", "numbers", "--id", "one")

    said = project.call("history", "one", "--follow")

    assert said.code == 0
    assert said.out.splitlines()[-1].split()[-5:-3] != []
    assert "loading -> done" in said.out
