"""
What all kinds of triggers have in common.

    Listens     what a trigger listens to
"""

from typing import Any, ClassVar, Protocol


class Listens(Protocol):
    """
    What a trigger listens to; frozen, and checks itself when built.

    Attributes:
        kind: What kind it is: the key that says it in a machine file.
    """

    kind: ClassVar[str]

    @property
    def said(self) -> str:
        """It in a few words, for people."""

    @property
    def identity(self) -> dict[str, Any]:
        """What of it makes it another one, as plain JSON: the trigger begins anew if it changes."""

    def place_error(self, place: str) -> str | None:
        """Return why `place` can stand in no text of a parameter; None if it can."""
