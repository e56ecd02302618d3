"""
Whose a file is, and what of a stage its store's owner cannot use.

    whose           "belongs to root, mode 0700"
    name_of         a user's name, or the number of one who has none
    locked_away     what belongs to somebody else, for its owner only
"""

import pwd
import stat
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

_OTHERS: Final = 0o077


def whose(path: Path) -> str:
    """
    Return whose `path` is, and who may use it.

    Raises:
        OSError: Not even that can be seen.
    """
    found = path.lstat()
    return f"belongs to {name_of(found.st_uid)}, mode {stat.S_IMODE(found.st_mode):04o}"


def name_of(uid: int) -> str:
    """Return the name of a user, the number if it has none here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def locked_away(directory: Path, *, store: Path) -> Iterator[Path]:
    """
    Yield what is in the stage `directory` that the owner of `store` cannot use, outermost first.

    Raises:
        OSError: This user may not look, where nothing is somebody else's.
    """
    owner = store.stat().st_uid
    found = False
    for path in chain((directory.parent, directory), directory.rglob("*")):
        try:
            facts = path.lstat()
        except FileNotFoundError:
            continue  # there is no stage yet, or it was just removed
        except PermissionError:
            if found:
                return  # it lies in what was named
            raise
        is_private = not stat.S_ISLNK(facts.st_mode) and not facts.st_mode & _OTHERS
        if is_private and facts.st_uid != owner:
            found = True
            yield path
