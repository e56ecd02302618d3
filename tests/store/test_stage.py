"""No row ever names a staged file that is missing, torn or foreign (R5, R9, R13)."""

import dataclasses
import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import StagedDataDamaged, StoreFull, StoreUnusable
from statepipe.model import Staged
from statepipe.store.files import Files
from statepipe.store.stage import INLINE_BYTES_MAX, Put, Stage, folder_of

LARGE = b"0123456789" * 7_000
WHERE: dict[str, Any] = {
    "instance_key": "nightly-7",
    "generation": 1,
    "state": "extracting",
    "visit": 2,
    "task": "rates",
    "number": 3,
    "epoch": 4,
    "format": "msgpack",
}


class Killed(BaseException):
    """The process ends here; nothing of ours runs any more."""


@dataclasses.dataclass
class OwnedFiles(Files):
    """
    File operations that are written down, and one of which fails.

    Attributes:
        fails_at: Which operation fails, counted from 0; none if it is too high.
        failure: What it fails with.
        short_write_bytes: How much one write takes at most.
    """

    fails_at: int = 1_000_000
    failure: BaseException = dataclasses.field(default_factory=Killed)
    short_write_bytes: int = 1_000_000
    done: list[str] = dataclasses.field(default_factory=list)
    names: dict[int, str] = dataclasses.field(default_factory=dict)

    def _do(self, what: str) -> None:
        self.done.append(what)
        if len(self.done) - 1 == self.fails_at:
            raise self.failure

    def make_folder(self, path: Path) -> None:
        """Write down, then make the folder."""
        self._do(f"make {path.name}")
        super().make_folder(path)

    def fsync_folder(self, path: Path) -> None:
        """Write down, then sync the folder."""
        self._do(f"fsync folder {path.name}")

    def open_folder(self, name: str, *, at: Path) -> int:
        """Open the folder and remember which it is."""
        descriptor = super().open_folder(name, at=at)
        self.names[descriptor] = "folder"
        return descriptor

    def create(self, name: str, *, at: int) -> int:
        """Write down, then create the file."""
        self._do("create temporary" if name.endswith(".tmp") else "create")
        descriptor = super().create(name, at=at)
        self.names[descriptor] = "file"
        return descriptor

    def write(self, file: int, data: memoryview) -> int:
        """Write down, then write some."""
        self._do("write")
        return super().write(file, data[: self.short_write_bytes])

    def fsync(self, descriptor: int) -> None:
        """Write down what is synced, then sync it."""
        self._do(f"fsync {self.names[descriptor]}")
        super().fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Write down which is closed, then close it."""
        super().close(descriptor)
        if self.names.pop(descriptor, None) == "file":
            self._do("close file")

    def rename(self, old: str, new: str, *, at: int) -> None:
        """Write down, then rename."""
        self._do("rename")
        super().rename(old, new, at=at)


def staged_of(put: Put, payload: bytes) -> Staged:
    """Return the reference a row would hold."""
    return Staged(3, 1, len(payload), put.sha256, "msgpack", put.file, put.body, None, 1, None)


def files_below(directory: Path) -> list[Path]:
    """Return all files below `directory`, whatever their names."""
    return [path for path in directory.rglob("*") if not path.is_dir()]


def open_descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  (no Path needed)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Return a stage in a directory that does not exist yet."""
    return Stage(tmp_path / "stage" / "id")


def staged_file(stage: Stage) -> tuple[Staged, Path]:
    """Stage a large payload; return its reference and its path."""
    put = stage.put(LARGE, **WHERE)
    assert put.file is not None
    return staged_of(put, LARGE), stage.directory / put.file


# ---- what is promised when all goes well -----------------------------------------------


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
    before = open_descriptors()

    with pytest.raises(StoreUnusable) as refusal:
        stage.put(LARGE, **WHERE)

    full = code in {errno.ENOSPC, errno.EDQUOT}
    assert type(refusal.value) is (StoreFull if full else StoreUnusable)
    assert str(stage.directory) in refusal.value.message
    assert ("bytes free" in refusal.value.message) == full
    assert refusal.value.meaning.startswith("nothing was committed")
    assert files_below(tmp_path) == []
    assert open_descriptors() == before
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
    orphans = successor.orphans({put.file}, instance_key="nightly-7")
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
    before = open_descriptors()

    with pytest.raises(StagedDataDamaged, match=why) as refusal:
        stage.read(reference)

    assert path.name in refusal.value.message
    assert open_descriptors() == before


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


def test_a_sweep_sees_only_our_own_names_of_one_instance(stage: Stage) -> None:
    """Other instances may be staging; other people's files are theirs."""
    reference, path = staged_file(stage)
    left = path.with_name(path.name + ".tmp")
    left.write_bytes(b"half")
    path.with_name("notes.txt").write_text("not ours", encoding="utf-8")
    stage.put(LARGE, **{**WHERE, "instance_key": "other"})
    assert reference.file is not None

    orphans = stage.orphans({reference.file}, instance_key="nightly-7")

    assert orphans == [f"{reference.file}.tmp"]
    assert stage.orphans(set(), instance_key="nobody") == []


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
