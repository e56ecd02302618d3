"""
Credentials by reference: text that says where a secret is, resolved when it is used.

    is_reference     does the text name a secret?
    Secrets          resolves references, and knows what must never be written down

    env:NAME         the environment variable NAME of the process that runs the task
    file:/PATH       the content of a file, without blanks and newlines around it

The reference may stand anywhere; the value is in memory only, for as long as it is used.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

from statepipe.errors import Fatal

MASK: Final = "***"

#: A larger file holds something else.
_FILE_BYTES_MAX: Final = 64 * 1024
#: A shorter value stands in every other word; it is not looked for.
_CHARS_MIN: Final = 4

#: Told of each value that is resolved, so that whoever writes logs can hide it.
listeners: Final[list[Callable[[str], object]]] = []


def is_reference(text: str) -> bool:
    """Return True if `text` says where a secret is, instead of what it is."""
    scheme, colon, where = text.partition(":")
    return bool(colon and where) and scheme in _SCHEMES


class Secrets:
    """The secrets of one use: what was resolved, and how to keep it out of sight."""

    def __init__(self) -> None:
        self._spellings: set[str] = set()

    def resolve(self, reference: str) -> str:
        """
        Return the secret that `reference` names; `hides` and `masked` know it from now on.

        Raises:
            Fatal: If there is none, or it cannot be one. The message never holds the value.
        """
        scheme, _, where = reference.partition(":")
        read = _SCHEMES.get(scheme)
        if read is None:
            raise Fatal("a credential is not a reference; write env:NAME or file:/PATH")
        value = read(where).strip()
        if not value:
            raise Fatal(f"the credential {reference} is empty; nothing was sent")
        if not value.isascii() or not value.isprintable():
            raise Fatal(
                f"the credential {reference} has characters that no header can carry;"
                " nothing was sent"
            )
        self.know(value)
        return value

    def know(self, value: str) -> None:
        """Keep `value` out of sight as well: a secret in another form."""
        for listener in listeners:
            listener(value)
        if len(value) >= _CHARS_MIN:
            self._spellings |= {value, quote(value), quote(value, safe=""), quote_plus(value)}

    def hides(self, text: str) -> bool:
        """Return True if `text` holds a secret."""
        return any(spelling in text for spelling in self._spellings)

    def masked(self, text: str) -> str:
        """Return `text` with `***` in place of each secret."""
        for spelling in sorted(self._spellings, key=len, reverse=True):
            text = text.replace(spelling, MASK)
        return text


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise Fatal(
            f"the credential env:{name} is not in the environment of the process that runs"
            f" the task; set {name} where statepipe is started, then resume"
        )
    return value


def _from_file(name: str) -> str:
    path = Path(name)
    if not path.is_absolute():
        raise Fatal(f"the credential file:{name} is no absolute path; write file:/…")
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
        if len(content) > _FILE_BYTES_MAX:
            raise Fatal(f"the credential file:{name} is larger than {_FILE_BYTES_MAX} bytes")
        return content.decode("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise Fatal(f"the credential file:{name} cannot be read: {reason}") from None


_SCHEMES: Final[dict[str, Callable[[str], str]]] = {"env": _from_environment, "file": _from_file}
