"""
The files that were read before, in order, in a few bytes: known again, or not.

    Trail.add       one more file was read to its end
    Trail.cursor    plain data; Trail.resumed makes a trail of it again
    Trail.differs   where a list of files is not that trail

A digest runs over all files, each with its name, size and stamp. To tell which file is another
now, what it was after every file is kept; from `MARKS_MAX` files on after every second, and so
on: a cursor is written with every batch and must not grow with the files.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

from statepipe.io.files.found import Found, Opened

MARKS_MAX: Final = 128

_BYTES: Final = 8


class Span(NamedTuple):
    """Places in a list of files, one of which is another: from `first`, before `end`."""

    first: int
    end: int


class Trail:
    """
    The files read before.

    Attributes:
        files: How many they are.
    """

    def __init__(self) -> None:
        self.files = 0
        self._every = 1
        self._marks: list[bytes] = []
        self._now = bytes(_BYTES)

    @classmethod
    def resumed(cls, cursor: Any) -> Self:  # noqa: ANN401  (plain data)
        """
        Return the trail that `cursor` is of.

        Raises:
            ValueError: If it is of none.
        """
        trail = cls()
        if cursor is None:
            return trail
        match cursor:
            case {
                "files": int(files),
                "every": int(every),
                "marks": bytes(marks),
                "now": bytes(now),
            }:
                pass
            case _:
                raise ValueError("no trail")
        if files < 1 or every < 1 or len(now) != _BYTES or len(marks) != files // every * _BYTES:
            raise ValueError("no trail")
        trail.files, trail._every, trail._now = files, every, now
        trail._marks = [marks[at : at + _BYTES] for at in range(0, len(marks), _BYTES)]
        return trail

    def cursor(self) -> dict[str, Any] | None:
        """Return it as plain data; None before the first file was read."""
        if not self.files:
            return None
        marks = b"".join(self._marks)
        return {"files": self.files, "every": self._every, "marks": marks, "now": self._now}

    def add(self, file: Found | Opened) -> None:
        """Add a file that was read to its end."""
        self._now = _after(self._now, file)
        self.files += 1
        if self.files % self._every:
            return
        self._marks.append(self._now)
        if len(self._marks) == MARKS_MAX:
            self._marks = self._marks[1::2]
            self._every *= 2

    def differs(self, files: Sequence[Found]) -> Span | None:
        """Return where the first of `files` are not those that were read; None if they are."""
        now = bytes(_BYTES)
        known = 0
        for n, file in enumerate(files[: self.files], 1):
            now = _after(now, file)
            if n % self._every == 0:
                if now != self._marks[n // self._every - 1]:
                    return Span(known, n)
                known = n
        if len(files) < self.files or now != self._now:
            return Span(known, min(self.files, len(files)))
        return None


def _after(now: bytes, file: Found | Opened) -> bytes:
    looks = f"{file.name}\0{file.size}\0{file.stamp}".encode()
    return hashlib.blake2b(now + looks, digest_size=_BYTES).digest()
