"""Refusals as log lines: also those that come before anything is opened, and those alone."""

import pytest

from tests.cli.project import Project
from tests.cli.test_log_lines import lines, logged


@pytest.mark.parametrize(
    ("argv", "error_class"),
    [
        ("run numbers --log-format json --bad", "UsageError"),
        ("run --bad numbers --log-format=json", "UsageError"),
        ("run --log-format json", "UsageError"),
        ("run numbers --log-format json --max-parallel 2", "UsageError"),
        ("resume nosuch --log-format json", "NotFound"),
        ("resume nosuch --params --log-format json", "UsageError"),
    ],
)
def test_what_is_refused_before_anything_is_driven_is_a_line_too(
    project: Project, argv: str, error_class: str
) -> None:
    """A supervisor that reads JSON cannot read the one call that went wrong otherwise."""
    project.call("start", "numbers")

    said = project.call(*argv.split())

    (line,) = lines(said.err)
    assert (line["kind"], line["level"], line["error_class"]) == ("log", "error", error_class)
    assert line["exit_code"] == said.code != 0
    assert line["message"]
    assert line["meaning"]
    assert line["next_step"]


@pytest.mark.parametrize(
    "argv",
    [
        "cancel nosuch",
        "cancel one --yes",
        "kill one --yes",
        "pause one",
        "rewind one --to nosuch --yes",
        "rewind one",
        "unpause one",
        "signal nosuch go",
        "fork one --bad",
        "retry one nosuch",
        "quarantine replay one",
        "triggers pause numbers.nightly --reason x",
    ],
)
def test_interventions_that_are_refused_are_lines_where_the_environment_says_so(
    project: Project, monkeypatch: pytest.MonkeyPatch, argv: str
) -> None:
    """Also what they see before the engine is opened."""
    project.call("run", "numbers", "--id", "one")
    monkeypatch.setenv("STATEPIPE_LOG_FORMAT", "json")

    said = project.call(*argv.split())

    (line,) = lines(said.err)
    assert (said.out, line["level"], line["exit_code"]) == ("", "error", said.code)


def test_a_refusal_stands_in_the_file_once(project: Project) -> None:
    """Seen before the engine is opened, or by it; whoever typed it has it as text."""
    project.call("start", "numbers")
    for argv in (("run", "numbers", "--bad"), ("resume", "nosuch"), ("run", "nosuch")):
        said = project.call(*argv, "--log-file", "log.jsonl")
        assert said.err.startswith("statepipe: ")

    assert [line["error_class"] for line in logged(project.root / "log.jsonl")] == [
        "UsageError", "NotFound", "NotFound"
    ]  # fmt: skip


@pytest.mark.parametrize("argv", ["ls --bad", "inspect nosuch", "nosuch", "quarantine ls nosuch"])
def test_what_changes_nothing_is_refused_in_words(
    project: Project, monkeypatch: pytest.MonkeyPatch, argv: str
) -> None:
    """Nobody collects the lines of a question."""
    project.call("start", "numbers")
    monkeypatch.setenv("STATEPIPE_LOG_FORMAT", "json")

    assert project.call(*argv.split()).err.startswith("statepipe: ")


def test_a_refusal_is_told_in_words_where_the_settings_cannot_be_read(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A format that is none, a broken file: that is told, or the first refusal, once."""
    assert project.call("run", "--bad", "--log-format", "xml").err.startswith("statepipe: ")
    monkeypatch.setenv("STATEPIPE_LOG_FORMAT", "xml")

    said = project.call("cancel", "--bad")

    assert (said.code, said.err.count("statepipe: ")) == (2, 1)
    assert "--bad" in said.err
