"""Machines of a template, for the commands: listed, printed, checked, run."""

import tomllib

import pytest

from statepipe.machine.loading.loader import load_machine
from tests.cli.project import Project

TEMPLATE = """\
version = 1
extract = "numbers_:extract"
load = { to = "sqlite:///warehouse.db", table = "{template.table}", key = ["n"] }

[params]
count = { type = "int", default = "{template.count}" }
slow  = { type = "bool", default = false }

[template.params]
table = "text"
count = { type = "int", default = 4 }
"""


@pytest.fixture
def replicas(project: Project) -> Project:
    """Add a template with two machines."""
    folder = project.root / "machines" / "replicate"
    folder.mkdir()
    (folder.parent / "replicate.template.toml").write_text(TEMPLATE, encoding="utf-8")
    (folder / "few.toml").write_text('table = "few"\ncount = 2\n', encoding="utf-8")
    (folder / "more.toml").write_text('table = "more"\n', encoding="utf-8")
    return project


def test_what_is_printed_is_the_machine(replicas: Project) -> None:
    """As TOML that a file of its own could have, under the same digest."""
    listed = replicas.call("expand", "-o", "json").json
    assert [(each["template"], each["machine"], each["file"]) for each in listed] == [
        ("replicate", "few", "replicate/few.toml"),
        ("replicate", "more", "replicate/more.toml"),
    ]
    assert len({each["digest"] for each in listed}) == 2

    printed = replicas.call("expand", "replicate", "--print").out
    assert f"# replicate/few.toml, digest {listed[0]['digest']}" in printed
    first, _, _ = printed.partition("# replicate/more.toml")
    alone = replicas.root / "few.toml"
    alone.write_text(first, encoding="utf-8")

    assert tomllib.loads(first)["params"]["count"]["default"] == 2
    made = load_machine(replicas.root / "machines" / "replicate" / "few.toml")
    assert load_machine(alone) == made
    table = replicas.call("expand", "--print", "-o", "json").json[0]["table"]
    assert table == tomllib.loads(first)


def test_they_are_run_and_checked_like_any_other(replicas: Project) -> None:
    """By their own names, with tables of their own."""
    assert replicas.call("run", "few", "--id", "a", "-o", "json").json[0]["loaded"] == 2
    assert replicas.call("run", "more", "--id", "b", "-o", "json").json[0]["loaded"] == 4
    assert replicas.call("check").out.splitlines() == ["few: ok", "more: ok", "numbers: ok"]

    (replicas.root / "machines" / "replicate" / "more.toml").write_text("tabel = 3\n")
    found = replicas.call("check")

    assert found.code == 6
    assert "no parameter 'tabel'; did you mean \"table\"?" in found.out
    assert "few: ok" in found.out
    assert replicas.call("resume", "a", "--definition", "latest").code == 2, "it is done"


def test_a_template_that_is_not_there_is_said(replicas: Project) -> None:
    """With the nearest one."""
    said = replicas.call("expand", "replicat")

    assert said.code == 3
    assert 'did you mean "replicate"?' in said.err
