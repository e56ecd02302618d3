"""
One rejected record and why: the entry that every boundary puts into quarantine.

    rejected    make an entry
    pointer     where in a record, as a JSON Pointer
"""

from collections.abc import Iterable
from typing import Any

#: Longest message of one entry, in characters; a record may break a thousand rules.
MESSAGE_CHARS_MAX = 1_000

RejectEntry = dict[str, Any]


def rejected(record: object, *, position: int, rule: str, path: str, message: str) -> RejectEntry:
    """
    Return the entry of one rejected record.

    Args:
        record: The record as it came, unchanged.
        position: Its place in its input batch, from 0.
        rule: One word for what it broke, for counting: "required", "range".
        path: JSON Pointer to the value, "" for the record itself.
        message: What is wrong, for people; cut to `MESSAGE_CHARS_MAX` characters.
    """
    if len(message) > MESSAGE_CHARS_MAX:
        message = message[: MESSAGE_CHARS_MAX - 1] + "…"
    return {
        "record": record,
        "rule": rule,
        "path": path,
        "message": message,
        "position": position,
    }


def pointer(parts: Iterable[str | int]) -> str:
    """Return the JSON Pointer (RFC 6901) of `parts`; "" for no parts."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
