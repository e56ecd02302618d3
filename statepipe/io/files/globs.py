"""
Globs over anything that can list a folder: `*`, `?`, `[…]` in a name, `**` for folders in folders.

    has_magic   is a path a glob?
    fixed_part  the folders that a glob begins with
    matching    the files that match, by their names behind the fixed part

Names that begin with a dot are matched only by a part that does, too. A folder that cannot be
listed is an error: the globs of the standard library and of fsspec pass over it, which is
less data.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

_MAGIC: Final = re.compile(r"[*?[]")


class Entry(NamedTuple):
    """What a folder has."""

    name: str
    is_folder: bool
    is_link: bool = False


def has_magic(path: str) -> bool:
    """Return True if `path` is a glob."""
    return _MAGIC.search(path) is not None


def fixed_part(path: str) -> str:
    """Return the folders that a path or glob begins with, with a slash at the end; "" if none."""
    magic = _MAGIC.search(path)
    return path[: path.rfind("/", 0, magic.start() if magic else None) + 1]


def matching(pattern: str, entries_of: Callable[[str], Iterable[Entry]]) -> Iterator[str]:
    """
    Yield the files that match `pattern`, in no order, by their names behind its fixed part.

    Args:
        pattern: The glob.
        entries_of: Returns what is in a folder, given as the fixed part and names and slashes.
    """
    fixed = fixed_part(pattern)
    parts = [part for part in pattern.removeprefix(fixed).split("/") if part]
    # With two `**` there may be several ways to one file.
    yield from set(_names(fixed, "", parts, entries_of))


def _names(
    fixed: str, inner: str, parts: list[str], entries_of: Callable[[str], Iterable[Entry]]
) -> Iterator[str]:
    part, rest = parts[0], parts[1:]
    for entry in list(entries_of(f"{fixed}{inner}")):
        if entry.name.startswith(".") and not part.startswith("."):
            continue
        name = f"{inner}{entry.name}"
        if part == "**":
            if entry.is_folder and not entry.is_link:  # a link may lead in a circle
                yield from _names(fixed, f"{name}/", parts, entries_of)
        elif fnmatchcase(entry.name, part):
            if rest and entry.is_folder:
                yield from _names(fixed, f"{name}/", rest, entries_of)
            elif not rest and not entry.is_folder:
                yield name
    if part == "**":
        yield from _names(fixed, inner, rest or ["*"], entries_of)
