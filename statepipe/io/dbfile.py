"""
The file of a database that is one: which it is, and whether it can be one. Opens nothing.

    identity    which file is under a path now
    why_not     why no database can be opened or made there
    replaced    the error of a file that is not the one that was opened
"""

from pathlib import Path

from statepipe.errors import DataError


def identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode of the file, None if there is none."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return facts.st_dev, facts.st_ino


def why_not(path: Path) -> tuple[str, str] | None:
    """Return why no database can be at `path`, and what to do about it; None if one can."""
    if not path.parent.is_dir():
        return f"its folder {path.parent} does not exist", "make the folder, resume"
    if path.exists() and not path.is_file():
        return "it is not a regular file", "name a file in the machine's `to`"
    return None


def replaced(path: Path) -> DataError:
    """Return the error of a file that was moved or unlinked: it goes on acknowledging (F5)."""
    return DataError(
        f"{path} was replaced or removed while it was being loaded",
        meaning="batches loaded before went into the old file",
        next_step="resume: what the new file's ledger lacks is loaded again, if it has one",
    )
