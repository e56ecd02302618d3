"""
The few file operations that durability hangs on, in one class, so that a test can own them.

A test that subclasses `Files` sees every one of them in order, and can let any
fail, or end the process's work there. Reading is not here: it makes nothing durable.

What root makes in another user's folder is that user's, as SQLite does it with a WAL: one
command as root must not lock out the service that goes on with the store.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


class Files:
    """
    File operations of this machine. Names are relative to the folder descriptor `at`.

    All raise OSError.
    """

    def token(self) -> str:
        """Return 16 hex digits that nobody has used or can guess."""
        return secrets.token_hex(8)

    def make_folders(self, path: Path, *, above: Path) -> None:
        """
        Make `path` and what is missing below `above`, which exists; make their entries durable.

        Those that exist are fsynced into their parents too: whoever made them may
        have died before.
        """
        here = above
        for part in path.relative_to(above).parts:
            parent, here = here, here / part
            self.make_folder(here)
            self.fsync_folder(parent)

    def make_folder(self, path: Path, *, owner: os.stat_result | None = None) -> None:
        """
        Make the folder `path`, for its owner only, unless it is there.

        Args:
            path: Where.
            owner: Of what; made by root, it belongs to the same user. None: of the folder above.
        """
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            if not path.is_dir():
                raise
            return
        if os.geteuid() == 0:
            at = os.open(path, _FOLDER)
            try:
                hand_over(at, owner=owner or path.parent.stat())
            finally:
                os.close(at)

    def fsync_folder(self, path: Path) -> None:
        """Make the entries of the folder `path` durable."""
        at = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.fsync(at)
        finally:
            self.close(at)

    def open_folder(self, name: str, *, at: Path) -> int:
        """Return a descriptor of the folder `name` in `at`; a link is an error."""
        parent = os.open(at, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return os.open(name, _FOLDER, dir_fd=parent)
        finally:
            self.close(parent)

    def remove_folder_if_empty(self, path: Path) -> None:
        """Remove the folder `path` unless something is in it, and make that durable."""
        try:
            path.rmdir()
        except OSError:  # not empty, or gone: both are fine, and nothing hangs on it
            return
        self.fsync_folder(path.parent)

    def create(self, name: str, *, at: int) -> int:
        """Return a descriptor of the new file `name`, readable by its owner only."""
        file = os.open(name, _CREATE, 0o600, dir_fd=at)
        hand_over(file, owner=os.fstat(at))
        return file

    def write(self, file: int, data: memoryview) -> int:
        """Write some of `data` and return how many bytes it was."""
        return os.write(file, data)

    def fsync(self, descriptor: int) -> None:
        """Make the content of a file, or the entries of a folder, durable."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def rename(self, old: str, new: str, *, at: int) -> None:
        """Give the file `old` the name `new`."""
        os.rename(old, new, src_dir_fd=at, dst_dir_fd=at)

    def unlink(self, name: str, *, at: int) -> None:
        """Delete the file `name`."""
        os.unlink(name, dir_fd=at)


def hand_over(made: int, *, owner: os.stat_result) -> None:
    """
    Give what root has just made to the owner of something else; do nothing as anybody else.

    Args:
        made: Its descriptor, not its name: under that another user may have put something.
        owner: Of what.
    """
    if os.geteuid() != 0 or os.fstat(made).st_uid == owner.st_uid:
        return
    with suppress(OSError):  # a file system without owners, a root without the right: as it is
        os.fchown(made, owner.st_uid, owner.st_gid)


def owner_of(store: Path) -> os.stat_result:
    """Return the facts of a store, or of its folder as long as it is not made."""
    try:
        return store.stat()
    except FileNotFoundError:
        return store.parent.stat()
