"""
Relative paths of sources, which are looked up where the process works.

    whence    what to add to an error about a path: the folder that it was looked up in
"""

from contextlib import suppress
from pathlib import Path


def whence(path: str | Path) -> str:
    """Return "; it is relative to FOLDER, …" for a relative path, "" for one that is whole."""
    if not Path(path).is_absolute():
        with suppress(OSError):  # the folder is gone
            return f"; it is relative to {Path.cwd()}, where statepipe was started"
    return ""
