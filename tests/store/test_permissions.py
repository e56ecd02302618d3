"""Who may not use a store is told what to do about that."""

import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from statepipe.errors import StoreUnusable
from statepipe.store.file.opening import open_store
from statepipe.testing import ManualClock
from tests.store import stores


def refusal(path: Path) -> StoreUnusable:
    """Return what opening a store for writing is refused with."""
    with pytest.raises(StoreUnusable) as told:
        open_store(path, create=True, clock=ManualClock())
    return told.value


def test_who_may_not_use_a_store_is_told_whose_it_is(nobody: Path) -> None:
    """Naming another store leads nowhere; the user does."""
    store = stores.opened(nobody)
    store.close()
    store.path.chmod(0o400)
    me = pwd.getpwuid(os.geteuid()).pw_name

    written = refusal(store.path)
    nobody.chmod(0)
    reached = refusal(store.path)
    nobody.chmod(0o500)
    made = refusal(nobody / "new.db")

    assert written.message.endswith(f"by this user: it belongs to {me}, mode 0400")
    assert written.next_step.startswith(f"ls -l {store.path} ")
    assert "cannot be reached: Permission denied" in reached.message
    assert "cannot be made: Permission denied" in made.message
    for error in (reached, made):
        assert error.next_step.startswith(f"ls -ld {nobody} ")


def test_a_file_system_that_is_read_only_is_told_from_another_user(
    nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There it does not help to be somebody else."""
    store = stores.opened(nobody)
    store.close()
    store.path.chmod(0o400)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))

    error = refusal(store.path)

    assert "is on a file system that is read-only" in error.message
    assert error.next_step.startswith(f"findmnt -T {store.path} ")
