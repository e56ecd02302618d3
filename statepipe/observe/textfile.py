"""
A file for node_exporter's textfile collector: the old content or the new, never a part.
"""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from statepipe.errors import UsageError, is_full

#: What node_exporter reads, as another user. No secrets are in it.
_MODE: Final = 0o644
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
#: How every text of ours begins, and no store, program or device.
_BEGINS: Final = b"# HELP"


def write_textfile(path: Path, text: bytes) -> None:
    """
    Put `text` in the place of the file `path`, in one step; a link is followed.

    It is not synced: after a power cut the next dump writes it again. What is there may be
    the store itself, so the caller must have none open (F4).

    Raises:
        UsageError: It cannot be written, or something else is there, which stays.
    """
    path = Path(os.path.realpath(path))
    # In the same folder, since a rename between file systems is a copy; and not ending in
    # .prom, or node_exporter would read both.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _refuse_other(path)
        descriptor = os.open(partial, _CREATE, _MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), _MODE)  # whatever the umask says
                file.write(text)
            partial.replace(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}",
            meaning="the file is as it was",
            next_step=f"df -h {path.parent}   # free some space there"
            if is_full(error)
            else f"ls -ld {path.parent}   # who may write here?",
        ) from None


def _refuse_other(path: Path) -> None:
    """Refuse to take the place of anything but an empty file or an older text of ours."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise _other(path, "is no regular file")
    if found.st_size == 0:
        return
    descriptor = os.open(path, _READ)
    try:
        begins = os.read(descriptor, len(_BEGINS))
    finally:
        os.close(descriptor)
    if begins != _BEGINS:
        raise _other(path, f"holds something else: it does not begin with {_BEGINS.decode()}")


def _other(path: Path, what: str) -> UsageError:
    return UsageError(
        f"{path} {what}",
        meaning="nothing was written; what is there is as it was",
        next_step="--file NAME.prom, of a file that is new or of an earlier dump; without --file"
        " the text goes to standard output",
    )
