"""
Did you mean: the nearest known word to one that is not known, as the tail of an error message.
"""

import difflib
from collections.abc import Iterable

#: How alike two words must be, from 0 to 1, before one is offered for the other.
_LIKENESS_MIN = 0.6


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean "x"?` for the nearest of `known`, or "" if none is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=_LIKENESS_MIN)
    return f'; did you mean "{near[0]}"?' if near else ""
