"""
The few file operations that durability hangs on, in one class, so that a test can own them.
"""

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class Files:
    """File operations of this machine. All raise OSError."""

    def token(self) -> str:
        """Return 16 hex digits that nobody has used or can guess."""
        return secrets.token_hex(8)

    def make_folder(self, path: Path) -> None:
        """Make the folder `path` unless it is there; its parent must be. Durable."""
        try:
            path.mkdir()
        except FileExistsError:
            if not path.is_dir():
                raise
        self.sync(path.parent)

    def write(self, path: Path, write: Callable[[BinaryIO], None]) -> None:
        """Make the new file `path` of what `write` puts into it; durable but for its name."""
        with os.fdopen(os.open(path, _CREATE, 0o666), "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())

    def rename(self, old: Path, new: Path) -> None:
        """Give `old` the name `new`, in one step; what had that name is gone."""
        old.rename(new)

    def link(self, path: Path, target: str) -> None:
        """Make the symbolic link `path`."""
        path.symlink_to(target)

    def unlink(self, path: Path) -> None:
        """Delete the file `path`, unless it is gone."""
        path.unlink(missing_ok=True)

    def remove_tree(self, path: Path) -> None:
        """Delete the folder `path` and what is in it, as far as it can be."""
        shutil.rmtree(path, ignore_errors=True)

    def sync(self, folder: Path) -> None:
        """Make the entries of `folder` durable."""
        at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(at)
        finally:
            os.close(at)
