"""A file that another program reads at any moment."""

import os
from pathlib import Path

import pytest

from statepipe.errors import UsageError
from statepipe.observe.textfile import write_textfile

OLD = b"# HELP statepipe_up 1 if the store could be read.\n"
NEW = b"# HELP statepipe_up 1 if the store could be read.\nstatepipe_up 1\n"


def test_a_reader_sees_the_old_text_or_the_new(tmp_path: Path) -> None:
    """Whoever has it open goes on reading what it opened; the name leads to the new one."""
    path = tmp_path / "statepipe.prom"
    write_textfile(path, OLD)

    with path.open("rb") as reader:
        write_textfile(path, NEW)

        assert reader.read() == OLD
    assert path.read_bytes() == NEW


def test_other_users_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    """node_exporter runs as another user."""
    path = tmp_path / "statepipe.prom"

    write_textfile(path, NEW)

    assert path.stat().st_mode & 0o777 == 0o644


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    """node_exporter would read it, too."""
    write_textfile(tmp_path / "statepipe.prom", NEW)

    assert [path.name for path in tmp_path.iterdir()] == ["statepipe.prom"]


def test_a_write_that_fails_leaves_the_old_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, for example; and no half of a file beside it."""
    path = tmp_path / "statepipe.prom"
    write_textfile(path, OLD)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fchmod", full)
    with pytest.raises(UsageError, match="No space left") as refusal:
        write_textfile(path, NEW)

    assert refusal.value.next_step.startswith(f"df -h {tmp_path}")

    assert path.read_bytes() == OLD
    assert [each.name for each in tmp_path.iterdir()] == ["statepipe.prom"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Nothing is made that nobody asked for."""
    with pytest.raises(UsageError, match="No such file"):
        write_textfile(tmp_path / "none" / "statepipe.prom", NEW)


def test_what_is_no_text_of_ours_is_left_alone(tmp_path: Path) -> None:
    """The store, for example: a slip of the completion, and it would be gone."""
    path = tmp_path / "statepipe.db"
    path.write_bytes(b"SQLite format 3\0")

    with pytest.raises(UsageError, match="holds something else"):
        write_textfile(path, NEW)

    assert path.read_bytes() == b"SQLite format 3\0"
    assert [each.name for each in tmp_path.iterdir()] == ["statepipe.db"]


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    """Nobody waits for the other end of a pipe, and it stays one."""
    pipe, folder, loop = tmp_path / "pipe", tmp_path / "folder", tmp_path / "loop"
    os.mkfifo(pipe)
    folder.mkdir()
    loop.symlink_to(loop)

    for path in (pipe, folder, loop):
        with pytest.raises(UsageError, match="is no regular file"):
            write_textfile(path, NEW)

    assert pipe.is_fifo()


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    """What it leads to is written, be it there yet or not."""
    (tmp_path / "collector").mkdir()
    path, link = tmp_path / "collector" / "statepipe.prom", tmp_path / "link"
    link.symlink_to(path)

    write_textfile(link, OLD)
    write_textfile(link, NEW)

    assert link.is_symlink()
    assert path.read_bytes() == NEW


def test_an_empty_file_may_be_filled(tmp_path: Path) -> None:
    """Somebody made it before, to say who may read it."""
    path = tmp_path / "statepipe.prom"
    path.touch()

    write_textfile(path, NEW)

    assert path.read_bytes() == NEW
