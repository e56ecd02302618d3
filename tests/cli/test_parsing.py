"""What is typed: options, parameters, ids, and what a wrong one gets."""

import subprocess
import sys
from pathlib import Path

import pytest

from statepipe.cli import COMMANDS
from tests.cli.imports import HEAVY, called
from tests.cli.project import Project


def test_the_common_options_are_accepted_before_and_after_the_command(project: Project) -> None:
    """Nobody remembers which options are global."""
    project.call("start", "numbers", "--id", "one")

    before = project.call("-o", "json", "ls")
    after = project.call("ls", "-o", "json")

    assert before.json == after.json
    assert [each["id"] for each in after.json] == ["one"]


def test_an_option_after_the_command_wins(project: Project) -> None:
    """What is said last is meant."""
    said = project.call("--store", "nope.db", "start", "numbers", "--store", "other.db")

    assert said.code == 0
    assert (project.root / "other.db").exists()
    assert not (project.root / "nope.db").exists()


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ('box:="5"', "5"),
        ('box:="env:X"', "env:X"),
        ('box="5"', "5"),
        ("box=5", 5),
        ('box={"a": 1}', {"a": 1}),
        ("box:=[1]", [1]),
    ],
)
def test_a_json_parameter_is_decoded_once(project: Project, typed: str, value: object) -> None:
    """Text after `:=` is the value; a copy and a resume keep it."""
    machine = project.root / "machines" / "numbers.toml"
    machine.write_text(f'{machine.read_text()}box = {{ type = "json", default = "1" }}\n')

    project.call("start", "numbers", "--id", "one", "-p", typed)
    project.call("start", "numbers", "--id", "two")
    project.call("restart", "two", "--set", typed, "--id", "three", "--reason", "again")

    found = {
        id_: project.call("inspect", id_, "-o", "json").json for id_ in ("one", "two", "three")
    }
    assert found["one"]["params"]["box"] == value
    assert found["two"]["params"]["box"] == "1"
    assert found["three"]["params"]["box"] == value


@pytest.mark.parametrize(
    "argv",
    [
        ["-e", "", "ls"],
        ["--store", "", "ls"],
        ["--config", "", "ls"],
        ["ls", "--env", ""],
        ["prune", "--older-than", "0s", "--machine", "", "--yes"],
        ["resume", "--failed", "--state", "", "--yes"],
        ["metrics", "serve", "--listen", "127.0.0.1:0", "--auth-file", ""],
        ["metrics", "dump", "--store", "numbers=statepipe.db", "--store", ""],
        ["worker", "--until-idle", "-m", ""],
    ],
    ids=" ".join,
)
def test_an_empty_option_is_refused(project: Project, argv: list[str]) -> None:
    """`-e "$ENV"` with no such variable must not work on another store, or on all machines."""
    project.call("run", "numbers", "--id", "one")

    said = project.call(*argv)

    assert said.code == 2
    assert "it is empty" in said.err
    assert project.call("inspect", "one").code == 0


def test_the_environment_names_the_store(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """STATEPIPE_STORE stands between the file and the command line."""
    monkeypatch.setenv("STATEPIPE_STORE", "elsewhere.db")

    project.call("start", "numbers")

    assert (project.root / "elsewhere.db").exists()


def test_parameters_are_text_or_json(project: Project) -> None:
    """`=` gives text, which the declared type converts; `:=` gives a JSON value."""
    project.call("start", "numbers", "--id", "one", "-p", "count=7", "-p", "slow:=true")

    assert project.call("inspect", "one", "-o", "json").json["params"] == {"count": 7, "slow": True}


@pytest.mark.parametrize(
    "wrong",
    [
        ("nope=1",),
        ("count=many",),
        ("count",),
        ("count:=[",),
        ("=1",),
        ("count=1", "-p", "count=2"),
    ],
)
def test_a_wrong_parameter_is_refused_and_nothing_created(
    project: Project, wrong: tuple[str, ...]
) -> None:
    """Unknown, of another type, without a value, no JSON, without a name, or twice."""
    said = project.call("start", "numbers", "-p", *wrong)

    assert said.code == 2
    assert "meaning: " in said.err
    assert project.call("ls", "-o", "json").out in ("[]\n", "")


@pytest.mark.parametrize("bad", ["", "a\nb", "a\x1b[2Jb", "x" * 201, "--", "-x"])
def test_what_is_no_id_is_refused(project: Project, bad: str) -> None:
    """An id is printed on terminals and typed into shells."""
    assert project.call("start", "numbers", f"--id={bad}").code == 2


def test_an_unknown_command_gets_the_nearest_one_offered(project: Project) -> None:
    """A slip of the finger costs one line."""
    said = project.call("resum", "one")

    assert said.code == 2
    assert 'did you mean "resume"?' in said.err


@pytest.mark.parametrize(
    ("typed", "message", "next_step"),
    [
        ("-o xml ls", "invalid value for '-o' / '--output': 'xml'", "statepipe --help"),
        ("ls --limit 0", "invalid value for '--limit': 0", "statepipe ls --help"),
        ("rewind one", "missing option '--to'", "statepipe rewind --help"),
        ("policy explain", "missing argument 'MACHINE.STATE[", "statepipe policy explain --help"),
        ("resume --all --failed", "name instances, or give one of", "statepipe resume --help"),
        ("resum one", "there is no command 'resum'", "statepipe --help"),
    ],
)
def test_what_cannot_be_parsed_is_refused_in_the_house_form(
    project: Project, typed: str, message: str, next_step: str
) -> None:
    """What happened, what it means, what to type: in the parser's refusals, too."""
    said = project.call("-o", "json", *typed.split())

    assert said.code == 2
    assert said.out == ""
    happened, meaning, then = said.err.splitlines()
    assert happened.startswith(f"statepipe: {message}")
    assert meaning == "  meaning: nothing was read or changed"
    assert then == f"  next:    {next_step}"


@pytest.mark.parametrize("group", ["", "metrics", "policy", "quarantine", "staged"])
def test_a_group_alone_shows_its_help(project: Project, group: str) -> None:
    """Whoever types half a command wants to know the other half."""
    said = project.call(*group.split())

    assert said.code == 2
    assert "\nCommands:\n" in said.err


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_shows_examples(project: Project, name: str) -> None:
    """Help begins with what one can type."""
    inner = {"policy": "explain", "quarantine": "ls", "metrics": "rules", "staged": "ls"}
    inner |= {
        "notify": "ls",
        "trace": "export",
        "triggers": "ls",
        "watermark": "show",
        "workers": "ls",
    }
    sub = [inner[name]] if name in inner else []

    said = project.call(name, *sub, "--help")

    assert said.code == 0
    assert f"statepipe {name}" in said.out.partition("Examples:")[2]


def test_the_first_examples_work_one_after_the_other(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is new types them as they stand."""
    examples = project.call("--help").out.partition("Examples:\n")[2]
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")

    ran = subprocess.run(
        ["sh", "-ec", examples], cwd=project.root, check=False, capture_output=True, text=True
    )

    assert ran.returncode == 0, ran.stderr
    assert "10 records loaded" in ran.stdout


def test_show_is_inspect(project: Project) -> None:
    """Fingers know it from other tools."""
    project.call("start", "numbers", "--id", "one")

    assert project.call("show", "one").out.startswith("one  numbers v1")


@pytest.mark.parametrize(
    "argv", [["--help"], ["ls"], ["inspect", "one"], ["history", "one"], ["quarantine", "ls"]]
)
def test_looking_loads_nothing_heavy(project: Project, argv: list[str]) -> None:
    """A command that looks answers at once, so it imports only what it needs."""
    project.call("start", "numbers", "--id", "one")

    _, loaded = called(argv, cwd=project.root)

    assert not loaded & HEAVY
    if argv == ["--help"]:
        assert "statepipe.store" not in loaded
