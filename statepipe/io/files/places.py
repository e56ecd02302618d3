"""
Which files a path means, on a disk or elsewhere.

    find    a path, a URL or a glob of either -> the files it means, in order
    there   a glob of local files -> those that are there right now, which may be none
"""

import os
import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from statepipe.errors import DataError, Fatal
from statepipe.io.files.found import BLOCK_BYTES, Found, Opened
from statepipe.io.files.globs import Entry, fixed_part, has_magic, matching
from statepipe.io.relative import whence

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?:://|::)")


def find(path: str | Path, storage_options: Mapping[str, Any] | None) -> Sequence[Found]:
    """
    Return the files that `path` means, sorted by name; never none.

    Raises:
        Fatal: If there is none, or it cannot be looked for.
        ConnectionError: If its place cannot be reached.
        DataError: If a library for its place is not installed.
    """
    text = os.fspath(path).removeprefix("file://")
    if _SCHEME.match(text):
        found = _remote().find(text, storage_options or {})
    elif storage_options:
        raise Fatal(f"{text} is a local path, which has no storage_options; nothing was read")
    elif has_magic(text) and not os.path.exists(text):  # noqa: PTH110  (Path raises for odd names)
        found = _matching(text)
    else:
        found = [_local(Path(text), Path(text).name)]
    if not found:
        where = "" if _SCHEME.match(text) else whence(text)
        raise Fatal(f"no file matches {text}{where}; nothing was read. Correct the path and resume")
    return sorted(found, key=lambda each: each.name)


class There(NamedTuple):
    """A file that is there: its name as the glob has it, its path, size and time."""

    name: str
    path: str
    size: int
    modified_ns: int


def there(pattern: str, *, root: str) -> list[There]:
    """
    Return the regular files that a glob below the folder `root` means, sorted by name.

    Raises:
        OSError: A folder cannot be listed.
    """
    fixed = fixed_part(pattern)
    found = []
    for inner in matching(pattern, lambda folder: _entries(os.path.join(root, folder))):  # noqa: PTH118  (Path raises for odd names)
        path = os.path.join(root, f"{fixed}{inner}")  # noqa: PTH118  (as above)
        with suppress(FileNotFoundError):  # it went since its folder was listed
            facts = os.stat(path)  # noqa: PTH116  (as above)
            if stat.S_ISREG(facts.st_mode):
                found.append(There(f"{fixed}{inner}", path, facts.st_size, facts.st_mtime_ns))
    return sorted(found)


def _matching(pattern: str) -> list[Found]:
    fixed = Path(fixed_part(pattern))
    try:
        return [_local(fixed / name, name) for name in matching(pattern, _entries)]
    except OSError as error:
        raise _unreadable(Path(error.filename or fixed), error) from error


def _entries(folder: str) -> list[Entry]:
    with os.scandir(folder or ".") as entries:
        return [Entry(each.name, each.is_dir(), each.is_symlink()) for each in entries]


def _local(path: Path, name: str) -> Found:
    try:
        facts = path.stat()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    name = name.encode("utf-8", "backslashreplace").decode()  # it need not be Unicode
    return Found(name, str(path), facts.st_size, facts.st_mtime_ns, _open)


def _open(name: str, shown: str, _in_order: bool) -> Opened:  # noqa: FBT001  (disks do not mind)
    path = Path(shown)
    try:
        # Looked at first: to open a pipe could take for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise Fatal(f"{path} is not a regular file; nothing was read")
        file = path.open("rb", buffering=BLOCK_BYTES)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    facts = os.fstat(file.fileno())
    return Opened(name, shown, file, facts.st_size, facts.st_mtime_ns)


def _unreadable(path: Path, error: Exception) -> Fatal:
    where = whence(path) if isinstance(error, FileNotFoundError) else ""
    return Fatal(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}{where}")


def _remote() -> Any:  # noqa: ANN401  (a module)
    try:
        from statepipe.io.files import remote  # noqa: PLC0415  (fsspec is optional, and 60 ms of import)
    except ImportError as error:
        if error.name != "fsspec":
            raise
        raise DataError(
            "reading files by URL needs fsspec, which is not installed",
            meaning="nothing was read",
            next_step='pip install "statepipe[files]", or "statepipe[s3]" for s3://',
        ) from error
    return remote
