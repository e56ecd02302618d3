"""What root makes beside another user's store is that user's; what is not is found."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from statepipe.clock import SystemClock
from statepipe.store.care.health import Check, examine
from statepipe.store.file.walguard import WalGuard
from statepipe.store.stage.directory import Stage, make_for_owner, stage_directory
from statepipe.store.tokens import signer_of
from tests.store import stores
from tests.store.staging import LARGE, WHERE

NOBODY = 65_534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give things away")


@pytest.fixture
def store() -> Iterator[Path]:
    """Make a store of nobody's in a folder of nobody's; nobody may look into the folders above."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = stores.opened(folder)
        stores.created(made, "one")
        made.close()
        for path in (folder, *folder.iterdir()):
            os.chown(path, NOBODY, NOBODY)
        yield made.path


def stage_of(store: Path) -> Stage:
    """Return the stage of a store."""
    opened = stores.opened(store.parent)
    try:
        return Stage(stage_directory(store, store_id=opened.store_id))
    finally:
        opened.close()


def owners(folder: Path) -> set[int]:
    """Return whose everything in a folder is."""
    return {path.lstat().st_uid for path in folder.rglob("*")}


def stage_check(store: Path) -> Check:
    """Return what the doctor finds of the stage."""
    found = examine(store, clock=SystemClock())
    return next(each for each in found if each.subject == "stage")


def test_what_root_stages_belongs_to_the_owner_of_the_store(store: Path) -> None:
    """Or one `sudo statepipe run` would lock the service out."""
    staged = stage_of(store).put(LARGE, **WHERE)

    assert staged.file is not None
    assert owners(store.parent) == {NOBODY}


def test_a_store_that_root_makes_belongs_to_the_owner_of_the_folder(store: Path) -> None:
    """The first run of a project may be root's; the folders that it makes on the way, too."""
    new = stores.opened(store.parent / "checkpoints" / "of_it")
    Stage(stage_directory(new.path, store_id=new.store_id)).put(LARGE, **WHERE)
    stores.created(new, "one")

    assert owners(store.parent) == {NOBODY}


def test_the_doctor_lets_root_have_a_store_in_a_folder_of_another_user(store: Path) -> None:
    """What root may use is nobody's trouble."""
    stage_of(store).put(LARGE, **WHERE)
    os.chown(store, 0, 0)

    assert stage_check(store).severity == "ok"


def test_in_a_folder_of_roots_it_belongs_to_the_owner_of_the_store_too(store: Path) -> None:
    """A folder that a group shares, for example."""
    os.chown(store.parent, 0, 0)
    stage = stage_of(store)

    make_for_owner(stage.directory, store=store)
    stage.put(LARGE, **WHERE)

    assert owners(store.parent / "stage") == {NOBODY}


def test_so_do_the_guard_and_the_secret_of_callbacks(store: Path) -> None:
    """Both lie beside the store, for its owner only."""
    store.with_name(store.name + "-guard").unlink(missing_ok=True)

    WalGuard(store, clock=SystemClock(), wait_ms=20).close()
    signer_of(store)

    assert {f"{store.name}-guard", f"{store.name}.callbacks"} <= {
        path.name for path in store.parent.iterdir()
    }
    assert owners(store.parent) == {NOBODY}


def test_the_doctor_names_what_the_owner_cannot_use_and_whose_it_is(store: Path) -> None:
    """Root sees everything, so root's eyes alone are no test."""
    stage_of(store).put(LARGE, **WHERE)
    os.chown(store.parent / "stage", 0, 0)

    found = stage_check(store)

    assert found.severity == "error"
    assert f"{store.parent / 'stage'} belongs to root, mode 0700: nobody" in found.found
    assert found.fix.startswith(f"chown -R nobody: {store.parent / 'stage'}")


def test_the_doctor_says_the_same_to_the_owner(store: Path) -> None:
    """Who is locked out is told by whom, and not that statepipe has a defect."""
    stage_of(store).put(LARGE, **WHERE)
    os.chown(store.parent / "stage", 0, 0)
    os.seteuid(NOBODY)
    try:
        found = stage_check(store)
    finally:
        os.seteuid(0)

    assert "belongs to root, mode 0700" in found.found
    assert found.fix.startswith("chown -R nobody:")


def test_the_doctor_sends_a_stranger_to_the_owner(store: Path) -> None:
    """The stage is as it should be: for its owner only."""
    stage_of(store).put(LARGE, **WHERE)
    store.parent.chmod(0o755)
    store.chmod(0o644)
    os.seteuid(12_345)
    try:
        found = stage_check(store)
    finally:
        os.seteuid(0)

    assert (
        "cannot be looked into: Permission denied; it belongs to nobody, mode 0700" in found.found
    )
    assert found.fix == "sudo -u nobody statepipe doctor"
