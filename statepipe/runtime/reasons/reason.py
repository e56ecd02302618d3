"""
One reason: a sentence for people, and for programs what it is made of.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from statepipe.runtime.failure import clean

#: Of an error's text in a sentence; the whole is in the history.
ERROR_CHARS_MAX = 300


class Reason(NamedTuple):
    """
    One reason why something is so.

    Attributes:
        code: A short name that stays the same, such as "exhausted".
        text: The sentence.
        at_ms: When it came to be so, or will (UTC); None if that is no moment.
        facts: What the sentence is made of, plain data.
    """

    code: str
    text: str
    at_ms: int | None
    facts: Mapping[str, Any]


def because(code: str, text: str, *, at_ms: int | None = None, **facts: object) -> Reason:
    """Return a reason; further keywords are its facts."""
    return Reason(code, text, at_ms, facts)


def error_text(error_class: str | None, error: str | None) -> str:
    """Return class and text of an error, no longer than a sentence may be."""
    text = clean((error or "").strip(), chars_max=ERROR_CHARS_MAX)
    return f"{error_class}: {text}" if text else f"{error_class}"
