"""
Texts with places in them, such as "{tick.date}", that each occasion fills in.

    places_of   what a value names
    filled      the value, filled in; MISSING if the occasion lacks a part of it
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from statepipe.filling import has_braces, value_of

_PLACE: Final = re.compile(r"\{([^{}]*)\}")

#: What a text becomes that names something which the occasion does not have.
MISSING: Final = object()


def places_of(value: object) -> list[str] | None:
    """Return the places that a value names, if it is text; None if its braces make no sense."""
    if not isinstance(value, str):
        return []
    return None if has_braces(value, _PLACE) else _PLACE.findall(value)


def filled(value: object, facts: Mapping[str, Any]) -> Any:  # noqa: ANN401  (any plain value)
    """Return a value filled in: a text that is one place becomes what stands there, as it is."""
    names = places_of(value)
    if not names:
        return value
    if any(name not in facts for name in names):
        return MISSING
    return value_of(str(value), facts, _PLACE)
