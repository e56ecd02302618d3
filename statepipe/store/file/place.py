"""
Where a store may lie: a regular file of ours, on a disk of this machine.

Only `stat` is asked of a file that may be open already; opening and closing it would drop
SQLite's locks (F4 of docs/reliability.md).
"""

import os
import stat
from pathlib import Path
from typing import Final

from statepipe.errors import StoreUnusable, is_full
from statepipe.store.file.files import hand_over
from statepipe.store.file.owner import whose

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

# WAL needs memory that all openers share; these file systems cannot promise it.
_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "glusterfs", "fuse.sshfs"}
)


def refuse_bad_place(path: Path, *, create: bool, write: bool = False) -> None:
    """
    Raise unless a store is, or with `create` could be, at `path`.

    Raises:
        StoreUnusable: It is missing, empty, no file, on a network file system, or with
            `write` one that may not be written.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        if create:
            return
        raise StoreUnusable(
            f"there is no checkpoint store at {path}",
            meaning="nothing was read or changed",
            next_step="statepipe run MACHINE   # makes it; or name another with --store",
        ) from None
    except OSError as error:
        raise _unreachable(path, "reached", error) from error
    if not stat.S_ISREG(found.st_mode):
        raise unusable(path, "is not a file")
    if found.st_size == 0 and not create:
        raise unusable(path, "is empty: its creation was cut short, or it is no store")
    # SQLite would open it for reading only, and say so at the first commit.
    if write and not os.access(path, os.W_OK, effective_ids=True):
        raise _unwritable(path)
    kind = file_system(path)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise unusable(path, f"is on a network file system ({kind}), where WAL is not safe")


def unusable(path: Path, what: str) -> StoreUnusable:
    """Return the error for a file that cannot be the store, because `what`."""
    return StoreUnusable(
        f"{path} {what}",
        meaning="nothing was read or changed",
        next_step="statepipe --store PATH …   # name the store, on a local disk",
    )


def _unwritable(path: Path) -> StoreUnusable:
    error = unusable(path, "is on a file system that is read-only")
    error.next_step = f"findmnt -T {path}   # how it is mounted"
    if not os.statvfs(path).f_flag & os.ST_RDONLY:
        error = unusable(path, f"may not be written by this user: it {whose(path)}")
        error.next_step = f"ls -l {path}   # run statepipe as the user whose it is"
    return error


def _unreachable(path: Path, how: str, cause: OSError) -> StoreUnusable:
    error = unusable(path, f"cannot be {how}: {cause.strerror}")
    if isinstance(cause, PermissionError):
        error.next_step = f"ls -ld {path.parent}   # run statepipe as the user whose it is"
    elif is_full(cause):
        error.next_step = f"df -h {path.parent}   # free some space there"
    return error


def file_system(path: Path) -> str:
    """Return the type of the file system `path` lies on, "" if it cannot be told."""
    where, kind = "", ""
    target = str(path.absolute())
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for line in mounts.splitlines():
        _, mount, fs_type, *_ = line.split(" ")
        inside = target == mount or target.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(where):
            where, kind = mount, fs_type
    return kind


def make_empty(path: Path) -> None:
    """Create the file for its owner only, and make the name durable."""
    try:
        made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
        for folder in reversed(made):
            folder.mkdir(exist_ok=True)
            _hand_over(os.open(folder, _FOLDER), folder.parent)
        try:
            file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return  # another process is making it right now
        _hand_over(file, path.parent)
        for folder in (path.parent, *(folder.parent for folder in made)):
            descriptor = os.open(folder, _FOLDER)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise _unreachable(path, "made", error) from error


def _hand_over(made: int, folder: Path) -> None:
    """Give what root has just made to the owner of the folder that it is in; close it."""
    try:
        hand_over(made, owner=folder.stat())
    finally:
        os.close(made)
