"""
Values within texts of a machine file: `key = "{params.day}/x"`.

    params_in       the parameters that a text names
    has_braces      whether there are braces in it that name none
    filled          the text with an instance's parameters in it
    whole           the one place that a text is, and nothing else
    value_of        what a text becomes: the value itself if it is one place, else text
    said            one value as text

A place is a parameter, unless a pattern says what else: its only group is the name.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final

_PARAM: Final = re.compile(r"\{params\.([^{}]*)\}")


def params_in(text: str) -> tuple[str, ...]:
    """Return the names of the parameters that `text` names, in their order."""
    return tuple(_PARAM.findall(text))


def has_braces(text: str, place: re.Pattern[str] = _PARAM) -> bool:
    """Return True if `text` has braces that are no place."""
    return bool({"{", "}"} & set(place.sub("", text)))


def said(value: object) -> str:
    """Return a parameter's value as text."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, date) else str(value)


def filled(
    text: str,
    params: Mapping[str, Any],
    *,
    as_text: Callable[[object], str] = said,
    place: re.Pattern[str] = _PARAM,
) -> str:
    """Return `text` with an instance's parameters in it, "None" for one that it does not have."""
    return place.sub(lambda found: as_text(params.get(found[1])), text)


def whole(text: str, place: re.Pattern[str] = _PARAM) -> str | None:
    """Return the name of the one place that `text` is; None if it is more, or none."""
    found = place.fullmatch(text)
    return found and found[1]


def value_of(text: str, values: Mapping[str, Any], place: re.Pattern[str] = _PARAM) -> Any:  # noqa: ANN401  (any plain value)
    """Return `text` filled in; if it is one place the value as it is, None if there is none."""
    only = whole(text, place)
    return filled(text, values, place=place) if only is None else values.get(only)
