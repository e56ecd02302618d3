"""
A file for node_exporter's textfile collector: the old content or the new, never a part.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from statepipe.errors import UsageError

#: What node_exporter reads, as another user. No secrets are in it.
_MODE: Final = 0o644
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def write_textfile(path: Path, text: bytes) -> None:
    """
    Put `text` in the place of the file `path`, in one step.

    It is not synced: after a power cut the next dump writes it again.

    Raises:
        UsageError: It cannot be written; the old content is still there.
    """
    # In the same folder, since a rename between file systems is a copy; and not ending in
    # .prom, or node_exporter would read both.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
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
            next_step=f"ls -ld {path.parent}   # who may write here?",
        ) from None
