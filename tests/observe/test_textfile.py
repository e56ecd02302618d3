"""A file that another program reads at any moment."""

from pathlib import Path

import pytest

from statepipe.errors import UsageError
from statepipe.observe.textfile import write_textfile


def test_a_reader_sees_the_old_text_or_the_new(tmp_path: Path) -> None:
    """Whoever has it open goes on reading what it opened; the name leads to the new one."""
    path = tmp_path / "statepipe.prom"
    write_textfile(path, b"old\n")

    with path.open("rb") as reader:
        write_textfile(path, b"new\n")

        assert reader.read() == b"old\n"
    assert path.read_bytes() == b"new\n"


def test_other_users_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    """node_exporter runs as another user."""
    path = tmp_path / "statepipe.prom"

    write_textfile(path, b"x\n")

    assert path.stat().st_mode & 0o777 == 0o644


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    """node_exporter would read it, too."""
    write_textfile(tmp_path / "statepipe.prom", b"x\n")

    assert [path.name for path in tmp_path.iterdir()] == ["statepipe.prom"]


def test_a_write_that_fails_leaves_the_old_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, for example; and no half of a file beside it."""
    path = tmp_path / "statepipe.prom"
    write_textfile(path, b"old\n")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fchmod", full)
    with pytest.raises(UsageError, match="No space left"):
        write_textfile(path, b"new\n")

    assert path.read_bytes() == b"old\n"
    assert [each.name for each in tmp_path.iterdir()] == ["statepipe.prom"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Nothing is made that nobody asked for."""
    with pytest.raises(UsageError, match="No such file"):
        write_textfile(tmp_path / "none" / "statepipe.prom", b"x\n")
