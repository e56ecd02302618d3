"""
Parameters within texts of a machine file: `key = "{params.day}/x"`.

    params_in       the parameters that a text names
    has_braces      whether there are braces in it that name none
    filled          the text with an instance's parameters in it
    said            one value as text
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final

_PLACE: Final = re.compile(r"\{params\.([^{}]*)\}")


def params_in(text: str) -> tuple[str, ...]:
    """Return the names of the parameters that `text` names, in their order."""
    return tuple(_PLACE.findall(text))


def has_braces(text: str) -> bool:
    """Return True if `text` has braces that name no parameter."""
    return bool({"{", "}"} & set(_PLACE.sub("", text)))


def said(value: object) -> str:
    """Return a parameter's value as text."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, date) else str(value)


def filled(text: str, params: Mapping[str, Any], *, as_text: Callable[[object], str] = said) -> str:
    """Return `text` with an instance's parameters in it."""
    return _PLACE.sub(lambda place: as_text(params.get(place[1])), text)
