"""
Staged batches on disk: immutable files, whole and durable before any row names them.

    put       bytes -> a reference: small ones stay in the row, others become a file
    read      a reference -> the same bytes, or StagedDataDamaged
    names     what is there of an instance, for a sweep
    remove    delete what no row names any more

The order in `put` (R5 of docs/reliability.md): temporary name, write, fsync, rename,
fsync of the directory. A file's name carries whose it is, the epoch it was written
under and a random part, so it is never used twice and a late writer overwrites nothing.
Names come back from rows of a store that may be anybody's, so they are matched
against our own pattern and opened without following links.

    DIRECTORY/nightly-7-0d6b2a91c4e8/g1.extracting.v1.extracting.n0.e3.5f2c….msgpack
"""

import hashlib
import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import Final, Literal, NamedTuple

from statepipe.errors import StagedDataDamaged, StoreFull, StoreUnusable, is_full
from statepipe.model import Rejects, Staged
from statepipe.store.file.files import Files
from statepipe.store.stage.records import Format

#: Payloads up to this size lie in the row itself: one commit, no file.
INLINE_BYTES_MAX: Final = 65_536

_FOLDER: Final = re.compile(r"[A-Za-z0-9_-]{1,40}-[0-9a-f]{16}")
_FILE: Final = re.compile(
    r"g\d+\.[A-Za-z0-9_-]{1,60}\.v\d+\.[A-Za-z0-9_-]{1,60}\.n\d+\.e(\d+)\.[0-9a-f]{16}"
    r"(?:\.rejects)?\.(?:msgpack|arrow)"
)
_TEMPORARY: Final = ".tmp"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")
_READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def stage_directory(store: Path, *, store_id: str) -> Path:
    """
    Return where the store at path `store` keeps its staged files.

    Named by the store's id, so that two stores in one folder never sweep each other's
    files, and a store that was renamed still finds its own.
    """
    return store.parent / "stage" / store_id


def make_for_owner(directory: Path, *, store: Path) -> None:
    """
    Make the stage `directory` of a store whose owner is neither root nor that of its folder.

    Done by root, before it stages anything: what is then made in it belongs to that owner too.
    """
    try:
        owner = store.stat()
        if os.geteuid() == 0 and owner.st_uid not in {0, store.parent.stat().st_uid}:
            for folder in (directory.parent, directory):
                Files().make_folder(folder, owner=owner)
    except OSError:
        return  # whoever stages something will say what is wrong


class Put(NamedTuple):
    """Where a payload went; exactly one of `file` and `body` is set."""

    file: str | None  # "folder/name", below the stage directory
    body: bytes | None
    sha256: bytes


class Stage:
    """
    The stage directory of one store. Safe to share between threads.

    Args:
        directory: As `stage_directory` says; what is missing of it below the store's
            own folder is made when first needed.
        files: The operations; a test may own them.
    """

    def __init__(self, directory: Path, *, files: Files | None = None) -> None:
        self.directory = directory
        self._files = files or Files()
        self._durable: set[str] = set()  # folders whose entry in the directory we have fsynced

    def put(  # noqa: PLR0913  (a batch's full identity)
        self,
        payload: bytes,
        *,
        instance_key: str,
        generation: int,
        state: str,
        visit: int,
        task: str,
        number: int,
        epoch: int,
        format: Format,  # noqa: A002  (the word of Staged)
        kind: Literal["batch", "rejects"] = "batch",
        inline_bytes_max: int = INLINE_BYTES_MAX,
    ) -> Put:
        """
        Make `payload` durable, or hand it back for the row if it is small.

        Raises:
            StoreFull: If there is no room. Nothing is left behind.
            StoreUnusable: If the disk fails. What it let us remove is gone, the
                rest has a name that no row knows.
        """
        digest = hashlib.sha256(payload).digest()
        if len(payload) <= inline_bytes_max:
            return Put(None, payload, digest)
        folder = folder_of(instance_key)
        name = (
            f"g{generation}.{_safe(state)}.v{visit}.{_safe(task)}.n{number}.e{epoch}"
            f".{self._files.token()}{'.rejects' if kind == 'rejects' else ''}.{format}"
        )
        try:
            at = self._folder_for_writing(folder)
            try:
                self._write(at, name, payload)
            finally:
                self._files.close(at)
        except OSError as error:
            raise self._not_staged(error, instance_key) from error
        return Put(f"{folder}/{name}", None, digest)

    def read(self, staged: Staged | Rejects) -> bytes:
        """
        Return the payload that `staged` refers to, checked against length and digest.

        Raises:
            StagedDataDamaged: If it is missing, not a regular file of ours, or not
                what was committed.
        """
        if staged.body is not None:
            payload = staged.body
        elif staged.file is not None:
            payload = self._read_file(staged.file, staged.bytes)
        else:
            payload = b""
        if len(payload) != staged.bytes:
            raise _damaged(staged.file, f"it has {len(payload):,} bytes, not {staged.bytes:,}")
        if hashlib.sha256(payload).digest() != staged.sha256:
            raise _damaged(staged.file, "its content is not what was committed")
        return payload

    def names(self, *, instance_key: str) -> list[str]:
        """
        Return the names of all files of ours in the instance's folder, unfinished ones too.

        Raises:
            StoreUnusable: If the folder cannot be read.
        """
        return self._names(folder_of(instance_key))

    def _names(self, folder: str) -> list[str]:
        try:
            with self._folder(folder) as at:
                found = os.listdir(at)  # noqa: PTH208  (by descriptor)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._failed(error) from error
        return sorted(f"{folder}/{name}" for name in found if _is_ours(name))

    def all_names(self) -> list[str]:
        """
        Return the names of all files of ours, of every instance.

        Raises:
            StoreUnusable: If the directory cannot be read.
        """
        try:
            folders = [
                each.name for each in self.directory.iterdir() if _FOLDER.fullmatch(each.name)
            ]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._failed(error) from error
        return [name for folder in sorted(folders) for name in self._names(folder)]

    def remove(self, names: list[str]) -> None:
        """
        Delete the files `names`, and folders that become empty; missing ones are fine.

        The rows that named them must be gone, and committed, before.

        Raises:
            StagedDataDamaged: If a name is not of our pattern; nothing was deleted.
            StoreUnusable: If the disk fails, in one of the folders; the others are done.
        """
        by_folder = defaultdict(list)
        for name in names:
            folder, file = _parts(name)
            by_folder[folder].append(file)
        failure: OSError | None = None
        for folder, files in by_folder.items():
            try:
                self._remove_in(folder, files)
            except FileNotFoundError:
                continue
            except OSError as error:
                failure = failure or error
        if failure is not None:
            raise self._failed(failure) from failure

    # ---- writing ------------------------------------------------------------------

    def _write(self, at: int, name: str, payload: bytes) -> None:
        temporary = name + _TEMPORARY
        try:
            file = self._files.create(temporary, at=at)
            try:
                rest = memoryview(payload)
                while rest:
                    rest = rest[self._files.write(file, rest) :]
                self._files.fsync(file)
            finally:
                self._files.close(file)
            self._files.rename(temporary, name, at=at)
            self._files.fsync(at)
        except OSError:
            # After a failed fsync nobody knows what is on the disk, and a second
            # one would say all is well. So the file goes, and the next try has
            # another name. What cannot be removed is left to the sweep.
            for leftover in (temporary, name):
                with suppress(OSError):
                    self._files.unlink(leftover, at=at)
            raise

    def _folder_for_writing(self, folder: str) -> int:
        """Return a descriptor of the folder, made if need be, whose entry is durable."""
        if folder in self._durable:
            with suppress(FileNotFoundError):  # a prune took it away: make it again
                return self._files.open_folder(folder, at=self.directory)
        self._files.make_folders(self.directory / folder, above=self.directory.parent.parent)
        at = self._files.open_folder(folder, at=self.directory)
        self._durable.add(folder)
        return at

    def _remove_in(self, folder: str, names: list[str]) -> None:
        with self._folder(folder) as at:
            for name in names:
                with suppress(FileNotFoundError):
                    self._files.unlink(name, at=at)
            self._files.fsync(at)
        self._files.remove_folder_if_empty(self.directory / folder)

    # ---- reading ------------------------------------------------------------------

    @contextmanager
    def _folder(self, folder: str) -> Iterator[int]:
        at = self._files.open_folder(folder, at=self.directory)
        try:
            yield at
        finally:
            self._files.close(at)

    def _read_file(self, name: str, bytes_expected: int) -> bytes:
        folder, file = _parts(name)
        try:
            with self._folder(folder) as at:
                descriptor = os.open(file, _READ_FLAGS, dir_fd=at)
            try:
                return _read_regular(descriptor, name, bytes_expected)
            finally:
                os.close(descriptor)
        except FileNotFoundError as error:
            raise _damaged(name, "it is missing") from error
        except OSError as error:
            raise _damaged(name, f"it cannot be read ({error.strerror})") from error

    def _not_staged(self, error: OSError, instance_id: str) -> StoreUnusable:
        meaning = "this batch was not committed; those before it are"
        if is_full(error):
            return StoreFull(
                f"no room to stage a batch on the file system of {self.directory}"
                f" ({_free_bytes(self.directory)}): {error.strerror}",
                meaning=meaning,
                next_step=f"df -h {_there(self.directory)}   # free some space there, then:"
                f" statepipe resume {quote(instance_id)}",
            )
        failed = self._failed(error)
        failed.meaning = meaning
        return failed

    def _failed(self, error: OSError) -> StoreUnusable:
        return StoreUnusable(
            f"the stage directory {self.directory} fails: {error.strerror or error}",
            meaning="nothing that was committed is lost; files that no row names cost room only",
            next_step="statepipe doctor",
        )


def folder_of(instance_key: str) -> str:
    """Return the name of an instance's folder: readable, bounded, one for each key."""
    digest = hashlib.sha256(instance_key.encode(errors="surrogatepass")).hexdigest()
    return f"{_UNSAFE.sub('_', instance_key[:40]) or '_'}-{digest[:16]}"


def epoch_of(name: str) -> int:
    """Return the epoch under which the file `name`, one of ours, was written."""
    found = _FILE.fullmatch(name.partition("/")[2].removesuffix(_TEMPORARY))
    assert found is not None, "only names of ours are listed"
    return int(found[1])


def _safe(word: str) -> str:
    """Return `word` as it is if a file name may carry it, else shortened, with a digest."""
    if len(word) <= 60 and word and not _UNSAFE.search(word):  # noqa: PLR2004  (as in _FILE)
        return word
    digest = hashlib.sha256(word.encode(errors="surrogatepass")).hexdigest()
    return f"{_UNSAFE.sub('_', word[:40])}-{digest[:16]}"


def _is_ours(name: str) -> bool:
    return _FILE.fullmatch(name.removesuffix(_TEMPORARY)) is not None


def _parts(name: str) -> tuple[str, str]:
    folder, _, file = name.partition("/")
    if not (_FOLDER.fullmatch(folder) and _is_ours(file)):
        raise _damaged(name, "it has a name that we never give")
    return folder, file


def _read_regular(descriptor: int, name: str, bytes_expected: int) -> bytes:
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        raise _damaged(name, "it is not a regular file")
    if facts.st_size != bytes_expected:  # known before anything is allocated
        raise _damaged(name, f"it has {facts.st_size:,} bytes, not {bytes_expected:,}")
    with os.fdopen(descriptor, "rb", closefd=False) as opened:
        return opened.read(bytes_expected)


def _there(directory: Path) -> Path:
    """Return `directory`, or the nearest folder above: there may have been no room to make it."""
    return next(folder for folder in (directory, *directory.parents) if os.path.lexists(folder))


def _free_bytes(directory: Path) -> str:
    try:
        free = os.statvfs(_there(directory))
    except OSError as error:
        return f"free bytes unknown: {error.strerror}"
    return f"{free.f_bavail * free.f_frsize:,} bytes free"


def _damaged(name: str | None, why: str) -> StagedDataDamaged:
    where = "in the store" if name is None else ascii(name)[:300]
    return StagedDataDamaged(
        f"the staged batch {where} cannot be used: {why}",
        meaning="it was not used; nothing was changed",
        next_step="statepipe doctor; then statepipe rewind ID --to an earlier state",
    )
