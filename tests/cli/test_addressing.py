"""What is offered to be typed reaches the store that the answer is about."""

from pathlib import Path

import pytest

from statepipe.cli.shared.addressing import addressed
from tests.cli.project import CONFIG, Project

ADDRESS = (("--env", "a b"), ("--store", "b.db"))


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        (
            "statepipe ls   # or: statepipe top",
            "statepipe --env 'a b' --store b.db ls   # or: statepipe --env 'a b' --store b.db top",
        ),
        (
            "statepipe --env prod …   # or name the store that you mean: --store",
            "statepipe --store b.db --env prod …   # or name the store that you mean: --store",
        ),
        ("statepipe resume --help", "statepipe resume --help"),
        ("ls -l x   # run statepipe as the user whose it is",) * 2,
    ],
)
def test_each_command_has_what_was_given(text: str, typed: str) -> None:
    """One that names an environment or a store itself keeps that; prose stays as it is."""
    assert addressed(text, ADDRESS) == typed
    assert addressed(text, ()) == text


def test_what_leads_on_names_the_environment_that_was_given(project: Project) -> None:
    """The store of the folder may have an instance of the same id, and would be acted on."""
    Path("statepipe.toml").write_text(
        f'{CONFIG}\n[env.test]\nstore = "test.db"\n', encoding="utf-8"
    )
    started = project.call("--env", "test", "start", "numbers", "--id", "one")
    inspected = project.call("inspect", "one", "-e", "test")
    as_json = project.call("inspect", "one", "-e", "test", "-o", "json").json
    missing = project.call("resume", "two", "-e", "test", "--log-format", "json")
    told = project.call("inspect", "two", "--env", "test")
    plain = project.call("inspect", "one", "--store", "test.db", "--env", "test")

    assert "statepipe --env test worker   # or: statepipe --env test resume one" in started.err
    assert "next        statepipe --env test resume one" in inspected.out
    assert as_json["next"] == "statepipe --env test resume one"
    assert '"next_step":"statepipe --env test ls' in missing.err.replace(": ", ":")
    assert "next:    statepipe --env test ls   #" in told.err
    assert "next        statepipe --env test --store test.db resume one" in plain.out
