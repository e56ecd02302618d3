"""What the tests of the stage share: payloads, owned file operations, and looking around."""

import dataclasses
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from statepipe.model import Staged
from statepipe.store.file.files import Files
from statepipe.store.stage.directory import Put, Stage

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

    def make_folder(self, path: Path, *, owner: os.stat_result | None = None) -> None:
        """Write down, then make the folder."""
        self._do(f"make {path.name}")
        super().make_folder(path, owner=owner)

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


def open_descriptors(below: Path) -> int:
    """Return how many descriptors of this process point below a folder; others come and go."""
    found = 0
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208  (no Path needed)
        with suppress(FileNotFoundError):  # the listing's own is closed by now
            found += Path(f"/proc/self/fd/{number}").readlink().is_relative_to(below)
    return found


def staged_file(stage: Stage) -> tuple[Staged, Path]:
    """Stage a large payload; return its reference and its path."""
    put = stage.put(LARGE, **WHERE)
    assert put.file is not None
    return staged_of(put, LARGE), stage.directory / put.file


# ---- what is promised when all goes well -----------------------------------------------
