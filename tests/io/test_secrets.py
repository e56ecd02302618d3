"""References to secrets: read where they are used, and never said aloud."""

from pathlib import Path

import pytest

from statepipe.errors import DefinitionError
from statepipe.io.secrets import is_reference, resolve


def test_an_environment_variable_is_read_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rotated secret is the new one at the next use."""
    for secret in ("first", " two words "):
        monkeypatch.setenv("WAREHOUSE", secret)
        assert resolve("env:WAREHOUSE") == secret


def test_a_file_gives_its_first_line_without_the_line_end(tmp_path: Path) -> None:
    """Editors and shells end a line; that is no part of the secret, spaces may be."""
    for name, data in (("unix", b"s3cret \nmore"), ("dos", b"s3cret \r\n"), ("bare", b"s3cret ")):
        (tmp_path / name).write_bytes(data)
        assert resolve(f"file:{tmp_path / name}") == "s3cret "


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("env:NOT_THERE", "NOT_THERE is unset"),
        ("env:EMPTY", "EMPTY is empty"),
        ("file:relative", "not absolute"),
        ("file:/nowhere/secret", "No such file"),
        ("file:{folder}", "Is a directory"),
        ("file:{folder}/latin", "not UTF-8"),
        ("file:{folder}/empty", "first line is empty"),
    ],
)
def test_a_reference_that_leads_nowhere_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str, problem: str
) -> None:
    """The error names the variable or the file, and what to do there."""
    monkeypatch.setenv("EMPTY", "")
    (tmp_path / "latin").write_bytes(b"p\xe4ss")
    (tmp_path / "empty").write_bytes(b"\nsecond line")

    with pytest.raises(DefinitionError, match=problem) as refusal:
        resolve(reference.format(folder=tmp_path))

    assert refusal.value.next_step


@pytest.mark.parametrize("text", ["hunter2", "", "env:", "file:", "ENV:X", "vault:x"])
def test_what_is_no_reference_is_refused_without_being_repeated(text: str) -> None:
    """Somebody wrote the secret itself; an error that quotes it would spread it."""
    with pytest.raises(DefinitionError) as refusal:
        resolve(text)

    assert "hunter2" not in f"{refusal.value.message} {refusal.value.next_step}"
    assert is_reference(text) == (text in {"env:", "file:"})
