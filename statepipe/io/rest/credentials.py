"""
The credentials of one connection: resolved when it is made, and kept out of sight.

    Credentials.added       what they add to each request
    Credentials.resolve     the secret that a reference names
    Credentials.masked      a text without what was resolved

The values are in memory only. The whole process replaces them in what it stores, writes and
shows (`observe.redact`); here it is told which of them an address or a link repeats.
"""

import base64
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, quote_plus

from statepipe.effects import Auth
from statepipe.errors import DefinitionError, Fatal
from statepipe.io import secrets
from statepipe.observe import redact


class Added(NamedTuple):
    """What is added to each request: headers, and parameters of the query."""

    headers: Mapping[str, str]
    params: Mapping[str, str]


class Credentials:
    """What was resolved for one connection."""

    def __init__(self) -> None:
        self._spellings: set[str] = set()

    def added(self, auth: Auth) -> Added:
        """
        Return what `auth` adds to each request, its references resolved.

        Raises:
            Fatal: As `resolve`.
        """
        if auth is None:
            return Added({}, {})
        if isinstance(auth, str):
            return Added({"Authorization": f"Bearer {self.resolve(auth)}"}, {})
        if isinstance(auth, tuple):
            user, password = auth
            user = self.resolve(user) if secrets.is_reference(user) else user
            pair = base64.b64encode(f"{user}:{self.resolve(password)}".encode()).decode()
            self.know(pair)
            return Added({"Authorization": f"Basic {pair}"}, {})
        resolved = {name: self.resolve(reference) for name, reference in auth.items()}
        return Added(
            {name: value for name, value in resolved.items() if not name.startswith("?")},
            {name[1:]: value for name, value in resolved.items() if name.startswith("?")},
        )

    def resolve(self, reference: str) -> str:
        """
        Return the secret that `reference` names; `hides` and `masked` know it from now on.

        Raises:
            Fatal: If there is none, or it cannot be one. The message never holds the value.
        """
        try:
            value = secrets.resolve(reference).strip()
        except DefinitionError as error:
            raise Fatal(f"{error.message}; nothing was sent: {error.next_step}") from None
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
        redact.hide(value)
        if len(value) >= redact.SECRET_CHARS_MIN:
            self._spellings |= {value, quote(value), quote(value, safe=""), quote_plus(value)}

    def hides(self, text: str) -> bool:
        """Return True if `text` holds a secret."""
        return any(spelling in text for spelling in self._spellings)

    def masked(self, text: str) -> str:
        """Return `text` with `***` in place of each secret."""
        for spelling in sorted(self._spellings, key=len, reverse=True):
            text = text.replace(spelling, redact.MASK)
        return text
