"""
What of a stage the owner of its store cannot use.

    locked_away     what belongs to somebody else, for its owner only
"""

import stat
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

_OTHERS: Final = 0o077


def locked_away(directory: Path, *, store: Path) -> Iterator[Path]:
    """
    Yield what is in the stage `directory` that the owner of `store` cannot use, outermost first.

    Raises:
        OSError: This user may not look, where nothing is somebody else's.
    """
    owner = store.stat().st_uid
    if owner == 0:
        return  # root may use whatever it is
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
