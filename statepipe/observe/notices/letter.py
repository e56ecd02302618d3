"""
What is delivered, and the one error of those who deliver.
"""

from typing import NamedTuple


class Letter(NamedTuple):
    """
    One notice as it is handed to whoever delivers it.

    Attributes:
        key: The same each time this notice is delivered; receivers tell repetitions by it.
        body: What is said, JSON.
    """

    key: str
    body: str


class Undelivered(Exception):
    """
    A notice did not arrive, or nobody knows whether it did.

    Attributes:
        retry_after_ms: How long the other side asked to be left alone, None if it did not.
    """

    def __init__(self, reason: str, *, retry_after_ms: int | None = None) -> None:
        super().__init__(reason)
        self.retry_after_ms = retry_after_ms
