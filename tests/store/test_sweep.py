"""Staged files that no row names go, and no others."""

import errno
from pathlib import Path

import pytest

from statepipe.store.file.files import Files
from statepipe.store.stage.directory import Stage, folder_of, stage_directory
from statepipe.store.stage.sweep import sweep, sweep_finished
from statepipe.store.walk.committer import Committer, Verdict
from tests.store import stores
from tests.store.staging import LARGE, WHERE


class Stuck(Files):
    """Files that cannot be removed: all, or those in the folder of one instance."""

    def __init__(self, instance: str | None = None) -> None:
        self._folder = None if instance is None else folder_of(instance)

    def unlink(self, name: str, *, at: int) -> None:
        """Refuse, as in a folder of another user."""
        if self._folder in (None, Path(f"/proc/self/fd/{at}").readlink().name):
            raise PermissionError(errno.EACCES, "Permission denied")
        super().unlink(name, at=at)


def put(stage: Stage, instance: str) -> str:
    """Stage one file of an instance that no row names, and return its name."""
    staged = stage.put(LARGE, **{**WHERE, "instance_key": instance})
    assert staged.file is not None
    return staged.file


def test_a_sweep_takes_what_no_row_names_of_its_own_instance_only(tmp_path: Path) -> None:
    """The other instance may be staging at this moment."""
    store = stores.opened(tmp_path)
    stage = Stage(stage_directory(store.path, store_id=store.store_id))
    stores.created(store, "one", "two")
    put(stage, "one")
    other = put(stage, "two")

    sweep(stage, store.connection, n=1, instance_id="one", epoch=WHERE["epoch"])

    assert stage.all_names() == [other]


def test_a_sweep_that_slept_spares_what_its_successor_is_staging(tmp_path: Path) -> None:
    """A process stopped before its sweep may wake after another took the instance over."""
    store = stores.opened(tmp_path)
    stage = Stage(stage_directory(store.path, store_id=store.store_id))
    stores.created(store, "one")
    put(stage, "one")
    staged = stage.put(LARGE, **{**WHERE, "instance_key": "one", "epoch": WHERE["epoch"] + 1})

    sweep(stage, store.connection, n=1, instance_id="one", epoch=WHERE["epoch"])

    assert stage.all_names() == [staged.file]


def test_what_a_death_after_done_left_behind_is_swept_and_unfinished_ones_are_spared(
    tmp_path: Path,
) -> None:
    """Nobody drives a done instance again, so its own sweep will never come."""
    store = stores.opened(tmp_path)
    stage = Stage(stage_directory(store.path, store_id=store.store_id))
    stores.created(store, "ended", "going on")
    worker = stores.registered(store)
    ended = next(each for each in stores.claimed(store, worker) if each.id == "ended")
    done = stores.plain(ended, "done", status="done")
    assert Committer(store).commit([done], {}, policies={}) == [Verdict.COMMITTED]
    put(stage, "ended")
    spared = put(stage, "going on")

    sweep_finished(stage, store.connection)

    assert stage.all_names() == [spared]


def test_a_sweep_where_nothing_was_ever_staged_finds_nothing(tmp_path: Path) -> None:
    """Most stores have no stage directory at all."""
    store = stores.opened(tmp_path)
    stage = Stage(stage_directory(store.path, store_id=store.store_id))

    sweep_finished(stage, store.connection)

    assert not stage.directory.exists()


def test_what_cannot_be_removed_is_logged_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes after a commit, and costs room only; the next sweep finds it."""
    store = stores.opened(tmp_path)
    stage = Stage(stage_directory(store.path, store_id=store.store_id), files=Stuck())
    stores.created(store, "one")
    left = [put(stage, "one"), put(stage, "pruned")]

    sweep(stage, store.connection, n=1, instance_id="one", epoch=WHERE["epoch"])
    sweep_finished(stage, store.connection)

    assert stage.all_names() == sorted(left)
    said = [record.getMessage() for record in caplog.records]
    assert [text.partition(" that nobody")[0] for text in said] == [
        "staged files of 'one'",
        "staged files of instances that are done",
    ]
    assert all("Permission denied   next: statepipe doctor" in text for text in said)


def test_one_folder_that_cannot_be_emptied_keeps_no_other(tmp_path: Path) -> None:
    """One instance was driven by another user, for example."""
    store = stores.opened(tmp_path)
    stage = Stage(stage_directory(store.path, store_id=store.store_id), files=Stuck("one"))
    names = [put(stage, "one"), put(stage, "two")]

    sweep_finished(stage, store.connection)

    assert stage.all_names() == names[:1]
