"""
A file that was found, and one that is open.

    Found       a file as it looked when it was found; `open` opens it
    Opened      an open file, and how it looked then

A file is known by its name behind the fixed part of what was asked for (`2013-01.csv` of
`data/2013-*.csv`), so that a folder may move between a crash and the resume. Its looks are
its size and a stamp: whatever changes when it is written, such as a time or an ETag.
"""

from collections.abc import Callable
from typing import BinaryIO, Final, NamedTuple

BLOCK_BYTES: Final = 1024 * 1024

#: What changes when a file is written: nanoseconds, a text, or None if its place tells nothing.
Stamp = int | str | None


class Opened(NamedTuple):
    """
    A file that is open for reading, at its start.

    Attributes:
        name: What it is known by.
        shown: What people call it.
        file: Its bytes.
        size: How many there were when it was opened.
        stamp: Its stamp then; None if its place has none.
        is_rough: True if it may be written again and keep its stamp.
    """

    name: str
    shown: str
    file: BinaryIO
    size: int
    stamp: Stamp
    is_rough: bool = False


class Found(NamedTuple):
    """A file that was found, as it looked then; the attributes are those of `Opened`."""

    name: str
    shown: str
    size: int
    stamp: Stamp
    opener: Callable[[str, str, bool], Opened]

    def open(self, *, in_order: bool = True) -> Opened:
        """
        Open it.

        Args:
            in_order: It will be read from its start to its end, and not here and there.

        Raises:
            Fatal: If it cannot be read.
            ConnectionError: If its place cannot be reached.
        """
        return self.opener(self.name, self.shown, in_order)
