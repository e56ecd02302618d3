"""check, graph, policy, init, doctor: definitions and the store looked at."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from statepipe.cli import statepipe as group
from tests.cli.project import CONFIG, Project


def test_a_sound_machine_passes_the_check(project: Project) -> None:
    """All machines, if none is named."""
    said = project.call("check")

    assert (said.code, said.out) == (0, "numbers: ok\n")


def test_check_finds_what_cannot_run_and_exits_6(project: Project) -> None:
    """A function that is not there, a contract that is missing, an unknown override."""
    machine = Path("machines/numbers.toml")
    text = machine.read_text(encoding="utf-8")
    text = text.replace("numbers_:transform", "numbers_:transfrom").replace(
        "number.json", "no.json"
    )
    machine.write_text(text, encoding="utf-8")

    said = project.call("check", "numbers")
    found = project.call("check", "numbers", "-o", "json").json

    assert said.code == 6
    assert said.out.startswith("numbers: 2 errors\n")
    assert {each["state"] for each in found} == {"validating", "transforming"}
    assert 'did you mean "transform"?' in said.out


def test_check_finds_a_table_that_cannot_be_made_from_its_contract(project: Project) -> None:
    """Its key must be in it; nothing is connected to for that."""
    machine = Path("machines/numbers.toml")
    text = machine.read_text(encoding="utf-8")
    keyed = text.replace('key = ["n"]', 'key = ["m"], contract = "contracts/number.json"')
    machine.write_text(keyed, encoding="utf-8")

    (found,) = project.call("check", "numbers", "-o", "json").json

    assert text != keyed
    assert found["state"] == "loading"
    assert "has no property 'm', which is in the key of the load" in found["message"]


def test_check_refuses_the_store_as_a_destination(project: Project) -> None:
    """However its path is written; no store need be there yet."""
    machine = Path("machines/numbers.toml")
    text = machine.read_text(encoding="utf-8")
    store = "sqlite:///machines/../statepipe.db"
    machine.write_text(re.sub(r'(to = )"sqlite[^"]*"', rf'\1"{store}"', text), encoding="utf-8")

    said = project.call("check", "numbers", "-o", "json")

    assert (said.code, [each["state"] for each in said.json]) == (6, ["loading"])
    assert "is the checkpoint store" in said.json[0]["message"]


def test_a_file_that_cannot_be_loaded_is_a_finding(project: Project) -> None:
    """The other machines are checked all the same."""
    Path("machines/broken.toml").write_text(
        "machine = 'broken'\nextrct = 'x:y'\n", encoding="utf-8"
    )

    said = project.call("check")

    assert said.code == 6
    assert "numbers: ok" in said.out
    assert "broken: 1 error" in said.out


def test_a_destination_that_cannot_be_loaded_is_found_without_its_library(
    project: Project,
) -> None:
    """A scheme nobody speaks, files with a key; what they need may be installed elsewhere."""
    machine = Path("machines/numbers.toml")
    text = machine.read_text(encoding="utf-8")
    for to, words in [
        ("duckbd:///w.db", 'did you mean "duckdb"'),
        ("parquet:///lake", "cannot be upserted into by n"),
    ]:
        machine.write_text(text.replace("sqlite:///warehouse.db", to), encoding="utf-8")
        (found,) = project.call("check", "-o", "json").json
        assert (found["state"], found["severity"]) == ("loading", "error")
        assert words in found["message"]
    machine.write_text(text.replace("sqlite:///warehouse.db", "duckdb:///w"), encoding="utf-8")
    look = "assert cli.main(['check']) == 0; assert not {'duckdb', 'pyarrow'} & set(sys.modules)"
    subprocess.run(
        [sys.executable, "-c", f"import sys; from statepipe import cli; {look}"], check=True
    )


@pytest.mark.parametrize(
    ("to", "library", "extra"),
    [
        ("duckdb:///w", "duckdb", "duckdb"),
        ("duckdb:///w", "pyarrow", "duckdb"),
        ("parquet:///lake", "pyarrow", "arrow"),
        ("postgresql:///w", "psycopg", "postgres"),
        ("https://example.org/orders", "httpx2", "http"),
    ],
)
def test_a_destination_whose_library_is_not_installed_here_is_a_warning(
    project: Project, monkeypatch: pytest.MonkeyPatch, to: str, library: str, extra: str
) -> None:
    """It may be installed where the machine runs; nothing is imported to find that out."""
    machine = Path("machines/numbers.toml")
    text = machine.read_text(encoding="utf-8")
    what = 'effect = "at_least_once"' if to.startswith("https") else 'table = "numbers"'
    load = f'load = {{ to = "{to}", {what} }}'
    machine.write_text(re.sub(r"load +=.*", load, text), encoding="utf-8")
    sound = project.call("check", "-o", "json").json
    monkeypatch.setitem(sys.modules, library, None)

    said = project.call("check", "-o", "json")

    (found,) = [each for each in said.json if each not in sound]
    assert said.code == 0
    assert (found["state"], found["severity"]) == ("loading", "warning")
    assert found["message"] == f"{to} needs {library}, which is not installed here"
    assert found["fix"] == f'pip install "statepipe[{extra}]"'


def test_files_of_lines_need_no_library(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a database in SQLite: nothing is said of either."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    machine = Path("machines/numbers.toml")
    text = machine.read_text(encoding="utf-8")
    assert project.call("check").out == "numbers: ok\n"

    load = 'load = { to = "jsonl:///lake", table = "numbers" }'
    machine.write_text(re.sub(r"load +=.*", load, text), encoding="utf-8")

    assert project.call("check").out == "numbers: ok\n"


def test_a_target_whose_library_is_not_installed_here_is_a_warning(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the first who learns of it is the one who was not told."""
    target = '[notify.oncall]\nurl = "env:ONCALL_URL"\non = ["failed"]\n'
    Path("statepipe.toml").write_text(CONFIG + target, encoding="utf-8")
    assert project.call("check").out == "numbers: ok\n"
    monkeypatch.setitem(sys.modules, "apprise", None)

    said = project.call("check")

    assert said.code == 0
    assert "warning: notify.oncall needs apprise, which is not installed here" in said.out
    assert "pip install 'statepipe[notify]', or use webhook or command" in said.out


@pytest.mark.parametrize(
    ("command", "is_read_by_a_shell"),
    [
        (["sh", "-c", "echo '{summary}' >> told"], True),
        (["/bin/bash", "-euc", "echo {instance}"], True),
        (["bash", "-o", "pipefail", "-c", "echo {state}"], True),
        (["sudo", "-u", "x", "dash", "-e", "-c", "echo {key}"], True),
        (["sh", "-c", 'echo "$1" >> told', "sh", "{summary}"], False),
        (["sh", "-c", 'echo "$STATEPIPE_NOTICE_SUMMARY"'], False),
        (["mail", "-c", "{summary}"], False),
        (["sh", "notify.sh", "{summary}"], False),
    ],
)
def test_words_in_braces_that_a_shell_would_read_are_a_warning(
    project: Project, command: list[str], *, is_read_by_a_shell: bool
) -> None:
    """An id may have a quote in it: what follows it would be run."""
    target = f'[notify.oncall]\ncommand = {json.dumps(command)}\non = ["failed"]\n'
    Path("statepipe.toml").write_text(CONFIG + target, encoding="utf-8")

    found = project.call("check", "-o", "json").json

    assert [each["severity"] for each in found] == ["warning"] * is_read_by_a_shell
    assert all("a shell reads" in each["message"] for each in found)
    assert all('"$STATEPIPE_NOTICE_' in each["fix"] for each in found)


def test_an_override_of_a_machine_that_is_not_there_is_found(project: Project) -> None:
    """A slip in the name would leave the machine as it was, and nobody would notice."""
    slip = "[machines.nmubers.states.loading]\ntimeout = '5m'\n"
    Path("statepipe.toml").write_text(CONFIG + slip, encoding="utf-8")

    said = project.call("check")

    assert said.code == 6
    assert "numbers: ok" in said.out
    assert '[machines.nmubers]: there is no machine "nmubers"; did you mean "numbers"?' in said.out
    assert project.call("check", "numbers").code == 0


def test_a_path_is_no_machine(project: Project) -> None:
    """`../` never leaves the folder of the machines."""
    assert project.call("check", "../numbers").code == 2
    assert project.call("run", "../numbers").code == 2
    assert project.call("run", "nobody").code == 3


def test_graph_draws_a_machine_and_marks_where_an_instance_is(project: Project) -> None:
    """Mermaid by default, Graphviz if asked."""
    project.call("start", "numbers", "--id", "one")

    assert project.call("graph", "numbers").out.startswith("stateDiagram-v2\n")
    assert project.call("graph", "numbers", "--format", "dot").out.startswith("digraph")
    marked = project.call("graph", "numbers", "--instance", "one").out
    assert "class extracting current" in marked


def test_a_policy_says_where_each_of_its_parts_comes_from(project: Project) -> None:
    """Defaults, the file, and the state itself."""
    said = project.call("policy", "explain", "numbers.loading", "-o", "json").json

    origins = {each["setting"]: (each["value"], each["from"]) for each in said}
    assert origins["timeout"] == (3_600_000, "default")
    assert origins["batch_size"][0] == 2
    assert origins["batch_size"][1].endswith("statepipe.toml [policies.default]")
    assert project.call("policy", "explain", "numbers.nope").code == 3
    assert project.call("policy", "explain", "numbers").code == 2


WAITS = """
machine = "w"
initial = "a"
[params]
day = "date"
[states.a]
wait = { event = "sent", timeout = "2d" }
on.sent = "b"
[states.b]
wait = { for = "90s" }
on.ok = "c"
[states.c]
wait = { until = "{params.day}T06:00", tz = "Europe/Berlin" }
on.ok = "done"
[states.done]
final = "success"
"""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('[machines.w.states.a]\ntimeout = "1h"', 'no state "a" in which something runs'),
        ('[machines.w]\nconcurrency.key = "{params.nope}"', 'there is no parameter "nope"'),
    ],
)
def test_check_finds_what_start_refuses(project: Project, settings: str, message: str) -> None:
    """Both go by one list, so that a machine that is found sound can be started."""
    Path("machines/w.toml").write_text(WAITS, encoding="utf-8")
    with Path("statepipe.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n{settings}\n")

    checked = project.call("check", "w")
    started = project.call("start", "w", "-p", "day=2026-01-01")

    assert (checked.code, started.code) == (6, 2)
    assert message in checked.out
    assert message in started.err
    assert not started.err.rstrip().endswith("those are")


def test_a_machine_that_is_there_twice_is_one_finding(project: Project) -> None:
    """And the others are checked as well."""
    Path("machines/w.toml").write_text(WAITS, encoding="utf-8")
    Path("machines/w").mkdir()
    Path("machines/w/w.toml").touch()
    Path("machines/w.template.toml").write_text(WAITS, encoding="utf-8")

    for argv in (["check"], ["check", "w", "numbers"]):
        said = project.call(*argv)
        assert said.code == 6
        assert 'error: machine "w" is there twice: ' in said.out
        assert "numbers: ok" in said.out


def test_a_wait_is_explained_by_its_own_end(project: Project) -> None:
    """No attempt is made in it that a policy could govern."""
    Path("machines/w.toml").write_text(WAITS, encoding="utf-8")
    (Path("statepipe.toml")).write_text('[policies.default]\ntimeout = "1h"\n', encoding="utf-8")

    said = {each: project.call("policy", "explain", f"w.{each}") for each in "abc"}

    assert [each.out.splitlines()[1].split("  ")[0] for each in said.values()] == [
        "timeout", "for", "until"
    ]  # fmt: skip
    assert "2d 0h" in said["a"].out
    assert "1m 30s" in said["b"].out
    assert "{params.day}T06:00 Europe/Berlin" in said["c"].out
    assert all("digest" not in each.err for each in said.values())
    assert all("no policy governs it" in each.err for each in said.values())


def test_the_example_runs_and_its_test_passes(project: Project) -> None:
    """`init` makes something that works at once; it never writes over anything."""
    made = project.call("init", "demo")
    again = project.call("init", "demo")

    ran = project.spawn("run", "orders", "--config", "demo/statepipe.toml")
    ran.communicate(timeout=30)
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"],
        cwd=project.root / "demo",
        capture_output=True,
        check=False,
        text=True,
    )

    assert made.code == 0
    assert again.code == 2
    assert "is not empty" in again.err
    assert ran.returncode == 0
    assert tested.returncode == 0, tested.stdout
    assert project.call("check", "--config", "demo/statepipe.toml").out == "orders: ok\n"


def test_a_healthy_store_gives_the_doctor_nothing_to_do(project: Project) -> None:
    """Exit 0, whatever the SQLite."""
    project.call("run", "numbers")

    said = project.call("doctor", "-o", "json")

    severities = {each["subject"]: each["severity"] for each in said.json}
    assert said.code == 0
    del severities["library"]
    assert set(severities.values()) == {"ok"}, severities


def test_the_doctor_finds_a_lost_staged_file(project: Project) -> None:
    """And names it, before a resume stumbles over it; others' eyes are a warning only."""
    config = CONFIG.replace("batch_size = 2", "batch_size = 30_000")
    Path("statepipe.toml").write_text(config, encoding="utf-8")
    project.break_it()
    project.call("run", "numbers", "--id", "one", "-p", "count=60000")
    Path("statepipe.db").chmod(0o644)

    whole = project.call("doctor")
    lost = next(Path("stage").glob("*/*/*"))
    lost.unlink()
    said = project.call("doctor")

    assert whole.code == 0
    assert "warning   permissions  0644" in whole.out
    assert said.code == 6
    assert lost.name in said.out


def test_the_doctor_says_that_a_foreign_file_is_unusable(project: Project) -> None:
    """Exit 4; the file is left alone."""
    Path("statepipe.db").write_text("not a database, but long enough to look at\n" * 40)

    said = project.call("doctor")

    assert said.code == 4
    assert "unusable" in said.out


def test_a_defect_says_that_the_data_is_safe(project: Project) -> None:
    """Exit 70, no traceback unless asked for."""
    command = group.get_command(None, "ls")  # type: ignore[arg-type]  # the wrong type, or keywords in a dict
    assert command is not None
    callback = command.callback
    command.callback = lambda **_: 1 / 0
    try:
        said = project.call("ls")
        traced = project.call("ls", "--debug")
    finally:
        command.callback = callback

    assert said.code == 70
    assert said.err.startswith("statepipe: a defect of statepipe: ZeroDivisionError")
    assert "Traceback" not in said.err
    assert "Traceback" in traced.err


def test_json_is_ascii(project: Project) -> None:
    """No byte of a store reaches a terminal unescaped, not even as JSON."""
    project.break_it("Zürich \x9b")
    project.call("run", "numbers", "--id", "one")

    out = project.call("inspect", "one", "-o", "json").out

    assert out.isascii()
    assert json.loads(out)["cause"]["error"] == "Zürich \x9b"
