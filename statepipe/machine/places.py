"""
Parameters of an instance in a text: "orders of {params.day}".

    named_in    the parameters that a text names
    whole       the one parameter that a text is, and nothing else
    filled      the text, with an instance's parameters in it
"""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from statepipe.machine.names import check_text, refusal

_PLACE: Final = re.compile(r"\{params\.([^{}]*)\}")


def named_in(text: str, *, key: str) -> tuple[str, ...]:
    """
    Return the parameters that `text` names.

    Args:
        text: As written.
        key: What it is called, for the message.

    Raises:
        DefinitionError: It is empty or too long, or has braces that are none of a parameter.
    """
    check_text(key, text)
    if {"{", "}"} & set(_PLACE.sub("", text)):
        raise refusal(
            f"{key} is {text!r}, not a text with parameters in it",
            next_step=f'{key} = "{{params.day}}", for example',
        )
    return tuple(_PLACE.findall(text))


def whole(text: str) -> str | None:
    """Return the parameter that `text` is, and nothing else; None if it is more, or none."""
    only = _PLACE.fullmatch(text)
    return None if only is None else only[1]


def filled(text: str, params: Mapping[str, Any]) -> str:
    """Return `text` with an instance's `params` in it."""
    return _PLACE.sub(lambda place: _said(params.get(place[1])), text)


def _said(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, date) else str(value)
