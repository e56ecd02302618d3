"""Completion in a shell: what click offers, and that it is reached."""

import pytest

from statepipe.cli import COMMANDS
from tests.cli.imports import HEAVY, called
from tests.cli.project import Project, Said


def _complete(project: Project, monkeypatch: pytest.MonkeyPatch, typed: str) -> Said:
    """Ask as bash does, for what may follow the words that were typed."""
    words = typed.split(" ")
    monkeypatch.setenv("_STATEPIPE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    return project.call()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(
    project: Project, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    """What its start-up file evaluates; nothing else is said."""
    monkeypatch.setenv("_STATEPIPE_COMPLETE", f"{shell}_source")

    said = project.call()

    assert said.code == 0
    assert f"_STATEPIPE_COMPLETE={shell}_complete" in said.out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("statepipe ", sorted(COMMANDS)),
        ("statepipe wat", ["watermark"]),
        ("statepipe quarantine re", ["replay"]),
        ("statepipe -o json ls --fa", ["--failed"]),
        ("statepipe ls -o j", ["json", "jsonl"]),
        ("statepipe resume one --definition ", ["pinned", "latest"]),
        ("statepipe nosuch ", sorted(COMMANDS)),
    ],
)
def test_what_may_follow_is_offered(
    project: Project, monkeypatch: pytest.MonkeyPatch, typed: str, offered: list[str]
) -> None:
    """Commands, options and the values of options; a slip before it gets no error."""
    said = _complete(project, monkeypatch, typed)

    assert (said.code, said.err) == (0, "")
    assert [line.partition(",")[2] for line in said.out.splitlines() if line] == offered


def test_an_unknown_shell_is_told_by_the_exit_code(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No command is run in its place."""
    monkeypatch.setenv("_STATEPIPE_COMPLETE", "csh_source")

    assert project.call("start", "numbers").code == 1
    assert not (project.root / "statepipe.db").exists()


def test_completing_a_command_imports_none(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever presses a key waits for the answer."""
    monkeypatch.setenv("_STATEPIPE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "statepipe re")
    monkeypatch.setenv("COMP_CWORD", "1")

    told, loaded = called([], cwd=project.root)

    assert told == ["plain,restart", "plain,resume", "plain,retry", "plain,rewind"]
    assert not loaded & (HEAVY | {f"statepipe.cli.{name}" for name, _ in COMMANDS.values()})
