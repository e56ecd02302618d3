"""
One rejected record and why: the entry that every boundary puts into quarantine.

    rejected    make an entry
    pointer     where in a record, as a JSON Pointer
    TooFine     a moment of a table that no record can hold
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

#: Longest message of one entry, in characters; a record may break a thousand rules.
MESSAGE_CHARS_MAX = 1_000

RejectEntry = dict[str, Any]


class TooFine(str):
    """
    A moment, time or duration of a table that is finer than microseconds, in ISO 8601.

    No record can hold it, so each end rejects it; quarantine keeps it as this text.
    """

    __slots__ = ()

    def why(self) -> str:
        """Return why it is rejected, for people."""
        return f"{str(self)!r} is finer than microseconds, the finest that a record can hold"


#: Types of values that are, or may hold, what the stage cannot.
_MAY_HOLD_ONE: Final = frozenset({datetime, TooFine, dict, list, tuple})


def rejected(record: object, *, position: int, rule: str, path: str, message: str) -> RejectEntry:
    """
    Return the entry of one rejected record.

    Args:
        record: The record as it came. Only a datetime without offset, and what is finer
            than microseconds, which a table can hold and the stage cannot, is kept as its
            ISO 8601 text.
        position: Its place in its input batch, from 0.
        rule: One word for what it broke, for counting: "required", "range".
        path: JSON Pointer to the value, "" for the record itself.
        message: What is wrong, for people; cut to `MESSAGE_CHARS_MAX` characters.
    """
    if len(message) > MESSAGE_CHARS_MAX:
        message = message[: MESSAGE_CHARS_MAX - 1] + "…"
    return {
        "record": _keepable(record),
        "rule": rule,
        "path": path,
        "message": message,
        "position": position,
    }


def pointer(parts: Iterable[str | int]) -> str:
    """Return the JSON Pointer (RFC 6901) of `parts`; "" for no parts."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _keepable(value: object) -> object:  # noqa: PLR0911  (one for each type)
    if type(value) is datetime and value.tzinfo is None:
        return value.isoformat()
    if type(value) is TooFine:
        return str(value)
    if type(value) is dict:
        if _MAY_HOLD_ONE.isdisjoint(map(type, value.values())):
            return value
        return {name: _keepable(item) for name, item in value.items()}
    if type(value) is list:
        return [_keepable(item) for item in value]
    if type(value) is tuple:
        return tuple(map(_keepable, value))
    return value
