"""The stage against damaged and foreign files: each is named, and none is used."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from statepipe.errors import StagedDataDamaged, StoreUnusable
from statepipe.store.stage.directory import Stage, folder_of
from tests.store.staging import (
    LARGE,
    WHERE,
    open_descriptors,
    staged_file,
    staged_of,
)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Return a stage in a directory that does not exist yet."""
    return Stage(tmp_path / "stage" / "id")


def test_a_file_or_a_link_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    """Nobody leads our writes elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "stage" / "id").mkdir(parents=True)
    trap = tmp_path / "stage" / "id" / folder_of("nightly-7")

    trap.symlink_to(elsewhere)
    with pytest.raises(StoreUnusable):
        Stage(tmp_path / "stage" / "id").put(LARGE, **WHERE)
    trap.unlink()
    trap.write_text("not a folder", encoding="utf-8")
    with pytest.raises(StoreUnusable):
        Stage(tmp_path / "stage" / "id").put(LARGE, **WHERE)

    assert list(elsewhere.iterdir()) == []


# ---- what is read ----------------------------------------------------------------------


def _cut(path: Path) -> None:
    path.write_bytes(LARGE[:-1])


def _longer(path: Path) -> None:
    path.write_bytes(LARGE + b"x")


def _changed(path: Path) -> None:
    path.write_bytes(LARGE[:-1] + b"x")


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link_to_the_same(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def _folder_is_a_link(path: Path) -> None:
    moved = path.parent.with_name("moved")
    path.parent.rename(moved)
    path.parent.symlink_to(moved)


def _folder_is_gone(path: Path) -> None:
    path.unlink()
    path.parent.rmdir()


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (Path.unlink, "missing"),
        (_cut, "69,999 bytes, not 70,000"),
        (_longer, "70,001 bytes, not 70,000"),
        (_changed, "not what was committed"),
        (_fifo, "not a regular file"),
        (_folder, "not a regular file"),
        (_link_to_the_same, "cannot be read"),
        (_folder_is_a_link, "cannot be read"),
        (_folder_is_gone, "missing"),
    ],
    ids=lambda part: part.__name__ if callable(part) else "",
)
def test_a_damaged_or_foreign_file_is_named_and_not_used(
    stage: Stage, damage: Callable[[Path], None], why: str
) -> None:
    """Also a FIFO, without waiting for it, and a link, without following it."""
    reference, path = staged_file(stage)
    damage(path)
    before = open_descriptors(path.parent)

    with pytest.raises(StagedDataDamaged, match=why) as refusal:
        stage.read(reference)

    assert path.name in refusal.value.message
    assert open_descriptors(path.parent) == before


def test_a_damaged_body_is_named_and_not_used(stage: Stage) -> None:
    """SQLite has no checksum of its own for what lies in a row."""
    put = stage.put(b"small", **WHERE)
    reference = staged_of(put, b"small")

    with pytest.raises(StagedDataDamaged, match="not what was committed"):
        stage.read(reference._replace(body=b"smell"))
    with pytest.raises(StagedDataDamaged, match="4 bytes, not 5"):
        stage.read(reference._replace(body=b"smal"))
    with pytest.raises(StagedDataDamaged, match="0 bytes, not 5"):
        stage.read(reference._replace(body=None))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../secret",
        "nightly-7-0123456789abcdef/../../secret",
        "nightly-7-0123456789abcdef/../x/g1.a.v1.a.n0.e1.0123456789abcdef.msgpack",
        "../g1.a.v1.a.n0.e1.0123456789abcdef.msgpack",
        "/g1.a.v1.a.n0.e1.0123456789abcdef.msgpack",
        "a/b/g1.a.v1.a.n0.e1.0123456789abcdef.msgpack",
        "g1.a.v1.a.n0.e1.0123456789abcdef.msgpack",
        "nightly-7-0123456789abcdef/statepipe.db",
        "nightly-7-0123456789abcdef/g1.a.v1.a.n0.e1.0123456789abcdef.msgpack\n",
        "nightly-7-0123456789abcdef/g1.a/b.v1.a.n0.e1.0123456789abcdef.msgpack",
        "nightly-7-0123456789abcdef/g1.a.v1.a.n0.e1.0123456789abcdef.msgpack\x00",
    ],
)
def test_a_name_that_we_never_give_leads_nowhere(stage: Stage, name: str) -> None:
    """Rows of a hostile store name neither files to read nor files to delete (R13)."""
    secret = stage.directory.parents[1] / "secret"
    secret.write_bytes(LARGE)
    reference, path = staged_file(stage)

    with pytest.raises(StagedDataDamaged, match="name that we never give"):
        stage.read(reference._replace(file=name))
    assert reference.file is not None
    with pytest.raises(StagedDataDamaged, match="name that we never give"):
        stage.remove([reference.file, name])

    assert secret.exists()
    assert path.exists()


# ---- what is deleted -------------------------------------------------------------------
