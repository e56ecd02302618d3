"""
Dates, times and moments that come as ISO 8601 text.

    parsed    the moment that a text means, for columns of moments
"""

import re
from datetime import date, datetime, time
from typing import Any, Final

from statepipe.io.rows import Value

_DATE: Final = r"\d{4}-\d\d-\d\d"
_TIME: Final = r"\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?"
_OFFSET: Final = r"(?:Z|[+-]\d\d:\d\d)"

#: By type, and whether it has an offset.
_SHAPES: Final = {
    (date, None): re.compile(_DATE),
    (time, False): re.compile(_TIME),
    (time, True): re.compile(_TIME + _OFFSET),
    (datetime, False): re.compile(f"{_DATE}[T ]{_TIME}"),
    (datetime, True): re.compile(f"{_DATE}[T ]{_TIME}{_OFFSET}"),
}


def parsed(value: Value, kind: Any, *, aware: bool | None) -> Value:  # noqa: ANN401  (date, time or datetime)
    """
    Return what `value` means as a `kind`; what is no text of that shape is returned as it is.

    Args:
        value: A text, or anything.
        kind: date, time or datetime.
        aware: With an offset, or without one; None for a date.
    """
    if type(value) is str and _SHAPES[kind, aware].fullmatch(value):
        try:
            return kind.fromisoformat(value)
        except ValueError:  # the 31st of February
            return value
    return value
