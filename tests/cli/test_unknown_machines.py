"""A name that is no machine's is not found, wherever one may be given."""

import pytest

from tests.cli.project import Project

COMMANDS = [
    ("ls", "--machine"),
    ("ls", "--failed", "--machine"),
    ("ls", "--groups", "--machine"),
    ("resume", "--failed", "--dry-run", "--machine"),
    ("resume", "--all", "--yes", "--machine"),
    ("prune", "--older-than", "0s", "--dry-run", "--machine"),
    ("watermark", "show"),
    ("trace", "export", "--since", "1d", "--machine"),
    ("stats",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_typo_in_the_name_of_a_machine_is_not_found(
    project: Project, command: tuple[str, ...]
) -> None:
    """A script that asks for failures must not take a typo for good news."""
    project.call("run", "numbers", "--id", "one")

    said = project.call(*command, "numbrs")

    assert said.code == 3
    assert 'did you mean "numbers"?' in said.err


@pytest.mark.parametrize("option", ["--failed", "--stalled", "--all"])
def test_a_machine_that_never_ran_has_no_instances(project: Project, option: str) -> None:
    """Its file is there: that is no mistake, and the store is as good as ever."""
    project.call("run", "numbers", "--id", "one")
    other = (project.root / "machines" / "numbers.toml").read_text(encoding="utf-8")
    (project.root / "machines" / "letters.toml").write_text(
        other.replace('"numbers"', '"letters"', 1), encoding="utf-8"
    )

    said = project.call("ls", option, "--machine", "letters", "-o", "json")

    assert (said.code, said.json) == (0, [])


def test_a_machine_whose_file_is_gone_is_known_by_its_instances(project: Project) -> None:
    """What ran is still there to be looked at."""
    project.call("run", "numbers", "--id", "one")
    (project.root / "machines" / "numbers.toml").unlink()

    said = project.call("ls", "--all", "--machine", "numbers", "-o", "json")

    assert [each["id"] for each in said.json] == ["one"]


def test_parts_of_an_id_that_is_none_are_not_found(project: Project) -> None:
    """An instance without parts has none; one that is not there is not found."""
    project.call("run", "numbers", "--id", "one")

    assert project.call("ls", "--parts-of", "one").code == 0
    assert project.call("ls", "--parts-of", "oen").code == 3
