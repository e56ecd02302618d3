"""
The credentials of one connection: resolved when it is made, and kept out of sight.

    Credentials.resolve     the secret that a reference names
    Credentials.masked      a text without what was resolved

The values are in memory only. The whole process replaces them in what it stores, writes and
shows (`observe.redact`); here it is told which of them an address or a link repeats.
"""

from urllib.parse import quote, quote_plus

from statepipe.errors import DefinitionError, Fatal
from statepipe.io import secrets
from statepipe.observe import redact


class Credentials:
    """What was resolved for one connection."""

    def __init__(self) -> None:
        self._spellings: set[str] = set()

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
