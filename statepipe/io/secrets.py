"""
Secrets by reference: what a machine file names, and only the end that needs it reads.

    env:NAME      the environment variable NAME
    file:/PATH    the first line of a file, as container and systemd secrets are handed over

    is_reference  is it one of the two?
    resolve       the secret itself

A machine file, and with it the store, holds the reference. The secret is read where it is
used, in the process that connects, because whatever is passed on is also written down
somewhere: a call goes through a pipe, a parameter into the store. No error names more of
a secret than where it should have been.
"""

import os
from pathlib import Path
from typing import Final

from statepipe.errors import DefinitionError

REFERENCES: Final = ("env:", "file:")

#: As much of a file is looked at for its first line.
_FILE_BYTES_MAX: Final = 64 * 1024

_MEANING: Final = "nothing was connected to"


def is_reference(text: str) -> bool:
    """Return True if `text` says where a secret is, instead of being one."""
    return text.startswith(REFERENCES)


def resolve(reference: str) -> str:
    """
    Return the secret that `reference` points to.

    Raises:
        DefinitionError: If it is no reference, or there is nothing where it points.
    """
    kind, _, where = reference.partition(":")
    if kind == "env" and where:
        secret = os.environ.get(where, "")
        if not secret:
            is_what = "empty" if where in os.environ else "unset"
            raise DefinitionError(
                f"the environment variable {where} is {is_what}",
                meaning=_MEANING,
                next_step=f"export {where}=…, where the worker runs as well",
            )
        return secret
    if kind == "file" and where:
        return _first_line(Path(where))
    raise DefinitionError(
        "a secret must be given by reference",
        meaning=_MEANING,
        next_step="write env:NAME, or file:/absolute/path",
    )


def _first_line(path: Path) -> str:
    problem = "its path is not absolute"
    if path.is_absolute():
        try:
            with path.open("rb") as file:  # bounded: it may be a device
                first, _, _ = file.read(_FILE_BYTES_MAX).decode().partition("\n")
        except OSError as error:
            problem = str(error.strerror)
        except ValueError:
            problem = "it is not UTF-8"
        else:
            # What an editor adds to the end of a line is no part of a password; spaces may be.
            if secret := first.rstrip("\r"):
                return secret
            problem = "its first line is empty"
    raise DefinitionError(
        f"the secret cannot be read from {path}: {problem}",
        meaning=_MEANING,
        next_step=f"put it into the first line of {path}, readable by the worker",
    )
