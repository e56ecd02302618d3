"""
Whose a file is.

    whose       "belongs to root, mode 0700"
    name_of     a user's name, or the number of one who has none
"""

import pwd
import stat
from pathlib import Path


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
