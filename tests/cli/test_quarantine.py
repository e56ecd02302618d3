"""quarantine replay and staged: a preview, a question, a file that a person has edited."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from statepipe.sqlite import sqlite3
from tests.cli.project import Project


@pytest.fixture
def lines(project: Project) -> list[str]:
    """Run an instance whose contract refuses 3; return its quarantine as lines of JSON."""
    project.call("run", "numbers", "--id", "one")
    shown = project.call("quarantine", "show", "one", "-o", "jsonl").out.splitlines()
    assert [json.loads(line)["record"] for line in shown] == [{"n": 3}]
    return shown


def replayed(project: Project, *more: str) -> tuple[int, str]:
    """Replay, and return the exit code and what was said."""
    said = project.call("quarantine", "replay", "one", "--reason", "mended", *more)
    return said.code, said.out + said.err


def test_a_replay_says_what_it_would_do_asks_and_does_it(
    project: Project, lines: list[str]
) -> None:
    """And the original says who has its records."""
    (project.root / "machines" / "contracts" / "number.json").write_text("{}")

    foreseen = project.call("quarantine", "replay", "one", "--dry-run", "-o", "json")
    unsaid = project.call("quarantine", "replay", "one", "--yes")
    unasked = replayed(project)
    code, said = replayed(project, "--yes", "--reason-is", "/n: not")
    again = replayed(project, "--yes")

    assert foreseen.json[0] | {"reasons": {}} == {
        "to": "validating",
        "records": 1,
        "edited": 0,
        "rejected_in": ["validating"],
        "reasons": {},
        "replaces": [],
    }
    assert (unsaid.code, unasked[0]) == (2, 2)
    assert "replay 1 record of one needs a yes" in unasked[1]
    assert code == 0
    assert "one-replay-1 done: 1 record loaded, 0 rejected" in said
    assert again[0] == 2
    assert "is replayed already, by 'one-replay-1'" in again[1]
    assert "replayed    1 record by one-replay-1, done" in project.call("inspect", "one").out
    assert "replays     1 record that one rejected" in project.call("inspect", "one-replay-1").out
    assert project.call("quarantine", "ls", "one").out.startswith("RECORDS  REPLAYED  REASON")
    assert "; replayed by one-replay-1)" in project.call("quarantine", "show", "one").out
    assert lines


def test_a_repaired_record_goes_in_the_place_of_its_reject(
    project: Project, lines: list[str], tmp_path: Path
) -> None:
    """Blank lines are nobody's mistake."""
    file = tmp_path / "repaired.jsonl"
    file.write_text(lines[0].replace('{"n": 3}', '{"n": 30}') + "\n\n", encoding="utf-8")

    foreseen = replayed(project, "--from", str(file), "--dry-run")
    code, _ = replayed(project, "--from", str(file), "--yes")

    assert "1 record (1 edited) rejected in validating to validating" in foreseen[1]
    assert code == 0
    with closing(sqlite3.connect(project.root / "warehouse.db")) as warehouse:
        assert warehouse.execute("SELECT max(n) FROM numbers").fetchone() == (30,)


def test_what_a_replay_rejects_again_is_led_to(project: Project, lines: list[str]) -> None:
    """REPLAYED 1 looks like success; the records are in the quarantine of the replay."""
    assert "one-replay-1" not in project.call("quarantine", "ls", "one").err

    replayed(project, "--yes")
    listed = project.call("quarantine", "ls", "one")
    led = project.call(*listed.err.splitlines()[-1].removeprefix("next: statepipe ").split())

    assert listed.err.splitlines() == [
        "1 record rejected once more in a replay: one-replay-1",
        "next: statepipe quarantine ls one-replay-1",
    ]
    assert led.out.startswith("RECORDS  REASON")
    assert lines


def test_as_json_all_rejects_are_shown_unless_fewer_are_asked_for(project: Project) -> None:
    """A file to be repaired must have them all; people are shown 20, and told so."""
    (project.root / "machines" / "contracts" / "number.json").write_text('{"not": {}}')
    project.call("run", "numbers", "--id", "many", "-p", "count=30")

    lines = project.call("quarantine", "show", "many", "-o", "jsonl")
    array = project.call("quarantine", "show", "many", "-o", "json")
    fewer = project.call("quarantine", "show", "many", "-o", "json", "--limit", "2")
    people = project.call("quarantine", "show", "many")

    shown = [json.loads(line) for line in lines.out.splitlines()]
    assert [each["record"]["n"] for each in shown] == list(range(30))
    assert array.json == shown
    assert array.out == json.dumps(shown, indent=2) + "\n"
    assert (lines.err, array.err) == ("", "")
    assert fewer.json == shown[:2]
    assert "the first 2 are shown" in fewer.err
    assert people.out.count("(validating") == 20
    assert "the first 20 are shown" in people.err


def test_nothing_in_quarantine_is_an_empty_answer(project: Project) -> None:
    """And for people a note beside it."""
    project.call("run", "numbers", "--id", "few", "-p", "count=3")

    assert project.call("quarantine", "show", "few", "-o", "json").json == []
    assert project.call("quarantine", "show", "few", "-o", "jsonl").out == ""
    assert project.call("quarantine", "show", "few").err == "nothing was rejected\n"


@pytest.mark.parametrize(
    ("terms", "code", "told", "other"),
    [
        ("ready_max = 1", 75, "ready_max = 1", "ready"),
        ('concurrency = { key = "k", behavior = "skip" }', 2, "taken by 'two'", "ready"),
        ('concurrency = { key = "k", behavior = "queue" }', 0, "one-replay-1 done", "ready"),
        ('concurrency = { key = "k", behavior = "cancel" }', 0, "one-replay-1 done", "cancelled"),
    ],
)
def test_a_replay_is_admitted_like_what_is_made_anew(  # noqa: PLR0917  (a case has four)
    project: Project, lines: list[str], terms: str, code: int, told: str, other: str
) -> None:
    """By the key of its parameters, and if there is room; a refusal leaves all as it was."""
    settings = project.root / "statepipe.toml"
    before = settings.read_text(encoding="utf-8")
    settings.write_text(f"{before}\n[machines.numbers]\n{terms}\n", encoding="utf-8")
    (project.root / "machines" / "contracts" / "number.json").write_text("{}")
    project.call("start", "numbers", "--id", "two")

    got, said = replayed(project, "--yes")

    assert (got, told in said) == (code, True), said
    assert project.call("inspect", "two", "-o", "json").json["status"] == other
    with closing(sqlite3.connect(project.root / "statepipe.db")) as store:
        sql = "SELECT concurrency_key FROM instance WHERE id = 'one-replay-1'"
        key = None if terms.startswith("ready_max") else "numbers:k"
        assert store.execute(sql).fetchall() == [(key,)] * (code == 0)
    assert lines


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda line: "[" + line, "line 1 of {file} cannot be read"),
        (lambda line: line.replace('"id"', '"ID"'), "line 1 of {file} has no id"),
        (lambda line: line.replace('"id": "', '"id": "9'), "is of no reject of this instance"),
        (lambda line: line + "\n" + line, "line 2 of {file}: the id"),
        (lambda line: line.replace('"position": 1', '"position": 0'), "position was edited"),
        (lambda line: line.replace('"validating"', '"loading"'), "state was edited"),
        (lambda line: line.replace('{"n": 3}', "3"), "has no record"),
        (lambda line: line.replace('"record"', '"n": 5, "record"'), "has 'n' beside its record"),
        (lambda line: line.replace('{"n": 3}', '{"n": NaN}'), "NaN is not JSON"),
        (lambda _: "", "repaired.jsonl has no record"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_its_line(
    project: Project, lines: list[str], tmp_path: Path, edit: object, message: str
) -> None:
    """Before anything is changed, whatever else the file has."""
    file = tmp_path / "repaired.jsonl"
    if callable(edit):
        file.write_text(edit(lines[0]), encoding="utf-8")

    code, said = replayed(project, "--from", str(file), "--yes")

    assert code == 2
    assert message.format(file=file) in said
    assert len(project.call("ls", "--all", "-o", "json").json) == 1
    assert "statepipe quarantine show one -o jsonl" in said


def keep_raw(project: Project) -> None:
    """Let the source of the machine keep what it has staged."""
    machine = project.root / "machines" / "numbers.toml"
    kept = '{ run = "numbers_:extract", raw = "keep" }'
    machine.write_text(machine.read_text().replace('"numbers_:extract"', kept))


def test_as_json_all_that_is_staged_is_shown_unless_less_is_asked_for(project: Project) -> None:
    """As of what was rejected; people are shown 20 records, and told so."""
    keep_raw(project)
    project.call("run", "numbers", "--id", "many", "-p", "count=25")
    show = ("staged", "show", "many", "--state", "extracting")

    lines = project.call(*show, "-o", "jsonl")
    array = project.call(*show, "-o", "json")
    fewer = project.call(*show, "-o", "jsonl", "--limit", "2")
    people = project.call(*show)

    shown = [json.loads(line) for line in lines.out.splitlines()]
    assert [each["record"]["n"] for each in shown] == list(range(25))
    assert array.json == shown
    assert "are shown" not in lines.err + array.err
    assert [json.loads(line) for line in fewer.out.splitlines()] == shown[:2]
    assert "the first 2 are shown" in fewer.err
    assert len(people.out.splitlines()) == 20
    assert "the first 20 are shown" in people.err


def test_what_lies_in_the_stage_is_counted_and_shown(project: Project) -> None:
    """Of an instance that is done nothing does, unless its source keeps it."""
    project.call("run", "numbers", "--id", "one")
    keep_raw(project)
    project.call("run", "numbers", "--id", "two")

    listed = project.call("staged", "ls").out.splitlines()
    shown = project.call("staged", "show", "two", "--state", "extracting", "--limit", "3")
    as_json = project.call("staged", "show", "two", "--state", "extracting", "-o", "jsonl")
    gone = project.call("staged", "show", "one", "--state", "extracting")
    foreseen = project.call("prune", "--older-than", "0s", "--raw", "--dry-run", "-o", "json")
    misused = project.call("prune", "--older-than", "0s", "--raw", "--status", "failed")
    pruned = project.call("prune", "--older-than", "0s", "--raw", "--yes")

    assert listed[1].split()[:6] == ["two", "done", "extracting", "1", "3", "5"]
    assert shown.out.splitlines() == ['{"n": 0}', '{"n": 1}', '{"n": 2}']
    assert [json.loads(line)["record"]["n"] for line in as_json.out.splitlines()] == [0, 1, 2, 3, 4]
    assert (gone.code, misused.code) == (3, 2)
    assert "given back when an instance is done" in gone.err
    assert (foreseen.json[0]["instances"], foreseen.json[0]["rejected"]) == (1, 0)
    assert pruned.out == "raw data of 1 instance deleted\n"
    assert project.call("staged", "ls").err == "nothing is staged\n"
    assert "raw " not in project.call("inspect", "two").out
