"""
On what terms instances of a machine are made; what people write is the subject of `sharing`.

    Terms       the terms
    ANY         none at all
    Behavior    what becomes of one whose key is taken
"""

from typing import Final, Literal, NamedTuple

Behavior = Literal["queue", "skip", "cancel"]


class Terms(NamedTuple):
    """
    On what terms instances of a machine are made.

    Attributes:
        limit: How many may have one key at a time; None for any number.
        behavior: What becomes of one more.
        ready_max: How many may be ready and driven by nobody; None for any number.
    """

    limit: int | None = None
    behavior: Behavior = "queue"
    ready_max: int | None = None


ANY: Final = Terms()
