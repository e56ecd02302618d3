"""Machines by name: the file of one, the names of all, and what stands in the way."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import pytest

from statepipe.config import load_config
from statepipe.errors import DefinitionError, NotFound, UsageError
from statepipe.machine.loading.loader import find_machine, list_machines

_NOBODY = 65_534


@pytest.mark.parametrize("name", ["../flights", "a/b", "/etc/passwd", "a\\b", "", ".", "A", "x\0"])
def test_a_machine_is_called_by_name_never_by_path(tmp_path: Path, name: str) -> None:
    """Nothing outside the folder of the machines is ever opened."""
    with pytest.raises(UsageError, match="is not a name"):
        find_machine(name, tmp_path)


def test_a_machine_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    """And lists what there is; files that no machine can own are left out."""
    for name in ("flights", "orders", "My Notes"):
        (tmp_path / f"{name}.toml").write_text("")

    assert list_machines(tmp_path) == ["flights", "orders"]
    assert find_machine("flights", tmp_path) == tmp_path / "flights.toml"
    with pytest.raises(NotFound) as refusal:
        find_machine("fligths", tmp_path)
    assert refusal.value.message.endswith('"fligths" in ' + f'{tmp_path}; did you mean "flights"?')
    assert refusal.value.next_step == "there are flights, orders"
    assert list_machines(tmp_path / "gone") == []


def test_a_folder_that_cannot_be_read_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not every machine may be known then, and the one that is asked for may be there twice."""

    def full(_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "flights.toml").write_text("")
    monkeypatch.setattr(os, "scandir", full)

    for look in (partial(find_machine, "flights"), list_machines):
        with pytest.raises(DefinitionError, match="cannot be read: No space left") as caught:
            look(tmp_path)
        assert f"ls -ld {tmp_path}" in str(caught.value.next_step)


@pytest.mark.parametrize(
    ("mode", "look", "said"),
    [
        (0o000, list_machines, "cannot be read: Permission denied"),
        (0o111, list_machines, "cannot be read: Permission denied"),
        (0o444, list_machines, "cannot be seen: Permission denied"),
        (0o000, partial(find_machine, "flights"), "cannot be seen: Permission denied"),
        (0o111, partial(find_machine, "flights"), "cannot be read: Permission denied"),
        (0o444, partial(find_machine, "flights"), "cannot be seen: Permission denied"),
    ],
)
def test_a_folder_that_one_may_not_look_into_is_not_empty(
    mode: int, look: Callable[[Path], object], said: str
) -> None:
    """Python's own search finds nothing there, and says nothing."""
    with TemporaryDirectory() as name, _unprivileged(Path(name)):
        folder = Path(name) / "machines"
        folder.mkdir()
        (folder / "flights.toml").write_text("")
        folder.chmod(mode)
        try:
            with pytest.raises(DefinitionError, match=said):
                look(folder)
        finally:
            folder.chmod(0o700)


def test_a_configuration_that_one_may_not_look_for_is_not_absent() -> None:
    """Or work would go on with the defaults, in another store."""
    with TemporaryDirectory() as name, _unprivileged(Path(name)):
        folder = Path(name) / "project"
        folder.mkdir()
        (folder / "statepipe.toml").write_text("")
        folder.chmod(0o444)
        try:
            with pytest.raises(DefinitionError, match="cannot be seen: Permission denied"):
                load_config(start=folder, environ={})
        finally:
            folder.chmod(0o700)


@contextmanager
def _unprivileged(folder: Path) -> Iterator[None]:
    """Be another user than root, to whom `folder` belongs, while the block runs."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(folder, _NOBODY, _NOBODY)
    try:
        os.seteuid(_NOBODY)
    except PermissionError:
        pytest.skip("root here may not become anybody else, and may look into every folder")
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_where_a_machine_should_be_is_named(tmp_path: Path) -> None:
    """It is no machine, and is not offered as one."""
    (tmp_path / "flights.toml").mkdir()

    assert list_machines(tmp_path) == []
    with pytest.raises(NotFound, match=r"flights\.toml is not a file$"):
        find_machine("flights", tmp_path)
