"""Machines by name: the file of one, the names of all, and what stands in the way."""

import errno
import os
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from statepipe.errors import DefinitionError, NotFound, UsageError
from statepipe.machine.loading.loader import find_machine, list_machines


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


def test_a_folder_where_a_machine_should_be_is_named(tmp_path: Path) -> None:
    """It is no machine, and is not offered as one."""
    (tmp_path / "flights.toml").mkdir()

    assert list_machines(tmp_path) == []
    with pytest.raises(NotFound, match=r"flights\.toml is not a file$"):
        find_machine("flights", tmp_path)
