"""No row ever names a staged file that is missing, torn or foreign (R5, R9, R13)."""

import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest

from statepipe.errors import StoreFull, StoreUnusable
from statepipe.model import Staged
from statepipe.store.stage.directory import INLINE_BYTES_MAX, Put, Stage, folder_of
from tests.store.staging import (
    LARGE,
    WHERE,
    Killed,
    OwnedFiles,
    files_below,
    open_descriptors,
    staged_file,
    staged_of,
)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Return a stage in a directory that does not exist yet."""
    return Stage(tmp_path / "stage" / "id")


def test_a_small_payload_stays_in_the_row(stage: Stage) -> None:
    """One commit is enough for it; the disk is not touched."""
    small = LARGE[:INLINE_BYTES_MAX]

    put = stage.put(small, **WHERE)

    assert put == Put(None, small, hashlib.sha256(small).digest())
    assert not stage.directory.exists()
    assert stage.read(staged_of(put, small)) == small


def test_a_large_payload_becomes_a_private_file_that_says_whose_it_is(stage: Stage) -> None:
    """Instance, generation, state, visit, task, number and epoch stand in the name."""
    reference, path = staged_file(stage)

    assert reference.body is None
    assert reference.sha256 == hashlib.sha256(LARGE).digest()
    assert path.parent.name.startswith("nightly-7-")
    assert path.name.startswith("g1.extracting.v2.rates.n3.e4.")
    assert path.name.endswith(".msgpack")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_bytes() == LARGE == stage.read(reference)


def test_a_nothing_is_read_as_nothing(stage: Stage) -> None:
    """A mapped batch of which nothing was left has neither file nor body."""
    empty = hashlib.sha256(b"").digest()

    assert stage.read(Staged(0, 0, 0, empty, "msgpack", None, None, None, 5, None)) == b""


def test_the_order_is_write_sync_rename_sync(tmp_path: Path) -> None:
    """Reliability.md, step 2, with a disk that takes 40,000 bytes at a time."""
    files = OwnedFiles(short_write_bytes=40_000)
    stage = Stage(tmp_path / "stage" / "id", files=files)
    folder = folder_of("nightly-7")

    put = stage.put(LARGE, **WHERE)
    first, files.done = files.done, []
    stage.put(LARGE, **WHERE)

    one_file = ["create temporary", "write", "write", "fsync file", "close file", "rename"]
    assert first == [
        "make stage",
        f"fsync folder {tmp_path.name}",
        "make id",
        "fsync folder stage",
        f"make {folder}",
        "fsync folder id",
        *one_file,
        "fsync folder",
    ]
    assert files.done == [*one_file, "fsync folder"]
    assert stage.read(staged_of(put, LARGE)) == LARGE


def test_the_same_batch_staged_twice_gets_two_names(stage: Stage) -> None:
    """A zombie that stages late overwrites nothing."""
    first, _ = staged_file(stage)
    second, path = staged_file(stage)

    path.write_bytes(b"late")

    assert first.file != second.file
    assert stage.read(first) == LARGE


def test_instances_with_hostile_or_similar_ids_have_folders_of_their_own(stage: Stage) -> None:
    """An id is text that a user typed; a folder name is ours."""
    keys = ["a/b", "a_b", "../a", "..", "", ".", "A", "a", "x" * 5_000, "日本", "\udc80", "\x00"]
    where = {**WHERE, "state": "a state/with..\x00" * 30, "task": "日"}

    for key in keys:
        reference = staged_of(stage.put(LARGE, **{**where, "instance_key": key}), LARGE)
        assert stage.read(reference) == LARGE
        assert stage.names(instance_key=key) == [reference.file]

    assert len({folder_of(key) for key in keys}) == len(keys)
    assert all(len(path.name) <= 255 for path in files_below(stage.directory))
    assert all(path.parent.parent == stage.directory for path in files_below(stage.directory))


# ---- what is promised when the disk does not -------------------------------------------

OPERATIONS = 12  # of one put into a new directory, as in the test of the order


@pytest.mark.parametrize("fails_at", range(OPERATIONS))
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_failing_operation_leaves_no_file_and_says_which_kind(
    tmp_path: Path, fails_at: int, code: int
) -> None:
    """Whichever fails: a clear error, nothing left, and the next try is whole."""
    files = OwnedFiles(fails_at=fails_at, failure=OSError(code, os.strerror(code)))
    stage = Stage(tmp_path / "stage" / "id", files=files)
    before = open_descriptors(tmp_path)

    with pytest.raises(StoreUnusable) as refusal:
        stage.put(LARGE, **WHERE)

    full = code in {errno.ENOSPC, errno.EDQUOT}
    assert type(refusal.value) is (StoreFull if full else StoreUnusable)
    assert str(stage.directory) in refusal.value.message
    assert ("bytes free" in refusal.value.message) == full
    assert refusal.value.meaning == "this batch was not committed; those before it are"
    assert refusal.value.next_step.startswith(f"df -h {tmp_path}") == full
    assert refusal.value.next_step.endswith("resume nightly-7") == full
    assert files_below(tmp_path) == []
    assert open_descriptors(tmp_path) == before
    assert stage.read(staged_of(stage.put(LARGE, **WHERE), LARGE)) == LARGE


def test_a_failed_sync_is_not_asked_again_on_the_same_file(tmp_path: Path) -> None:
    """The second answer would be yes, and not true (F1)."""
    files = OwnedFiles(fails_at=8, failure=OSError(errno.EIO, "I/O error"))
    stage = Stage(tmp_path / "stage" / "id", files=files)

    with pytest.raises(StoreUnusable):
        stage.put(LARGE, **WHERE)

    assert files.done[8:] == ["fsync file", "close file"]


@pytest.mark.parametrize("dies_at", range(OPERATIONS))
def test_a_death_at_any_operation_leaves_at_most_an_orphan(tmp_path: Path, dies_at: int) -> None:
    """The successor stages the batch again under its epoch and sweeps what is left."""
    victim = Stage(tmp_path / "stage" / "id", files=OwnedFiles(fails_at=dies_at))
    with pytest.raises(Killed):
        victim.put(LARGE, **WHERE)

    successor = Stage(tmp_path / "stage" / "id")
    put = successor.put(LARGE, **{**WHERE, "epoch": 5})
    assert put.file is not None
    orphans = [name for name in successor.names(instance_key="nightly-7") if name != put.file]
    successor.remove(orphans)

    assert len(orphans) <= 1
    assert files_below(tmp_path) == [successor.directory / put.file]
    assert successor.read(staged_of(put, LARGE)) == LARGE


def test_the_owned_operations_are_all_there_are(tmp_path: Path) -> None:
    """Holds the number that the tests above count up to."""
    files = OwnedFiles()

    Stage(tmp_path / "stage" / "id", files=files).put(LARGE, **WHERE)

    assert len(files.done) == OPERATIONS


def test_a_stage_beside_no_store_is_refused(tmp_path: Path) -> None:
    """The store's own directory is there, or something is very wrong."""
    with pytest.raises(StoreUnusable, match="No such file"):
        Stage(tmp_path / "gone" / "stage" / "id").put(LARGE, **WHERE)


def test_names_are_only_our_own_of_one_instance(stage: Stage) -> None:
    """Other instances may be staging; other people's files are theirs."""
    reference, path = staged_file(stage)
    left = path.with_name(path.name + ".tmp")
    left.write_bytes(b"half")
    path.with_name("notes.txt").write_text("not ours", encoding="utf-8")
    stage.put(LARGE, **{**WHERE, "instance_key": "other"})
    assert reference.file is not None

    names = stage.names(instance_key="nightly-7")

    assert names == [reference.file, f"{reference.file}.tmp"]
    assert stage.names(instance_key="nobody") == []
    assert len(stage.all_names()) == 3


def test_removing_is_durable_and_may_be_repeated(stage: Stage) -> None:
    """A crash between the unlink and the sync repeats it; the last file takes the folder along."""
    first, path = staged_file(stage)
    second, _ = staged_file(stage)
    names = [name for name in (first.file, second.file) if name]

    stage.remove(names[:1])
    stage.remove(names[:1])
    assert stage.read(second) == LARGE
    stage.remove(names)
    stage.remove(names)

    assert not path.parent.exists()
    assert stage.read(staged_of(stage.put(LARGE, **WHERE), LARGE)) == LARGE


def test_a_disk_that_fails_while_removing_is_named(tmp_path: Path) -> None:
    """The rows are gone already; what is left is an orphan for the next sweep."""
    files = OwnedFiles()
    stage = Stage(tmp_path / "stage" / "id", files=files)
    put = stage.put(LARGE, **WHERE)
    assert put.file is not None
    files.fails_at, files.failure = len(files.done), OSError(errno.EIO, "I/O error")

    with pytest.raises(StoreUnusable, match="I/O error"):
        stage.remove([put.file])

    assert stage.names(instance_key="nightly-7") == []
