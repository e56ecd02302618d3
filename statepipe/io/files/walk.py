"""
From file to file, in the order of their names, from where a cursor left off.

    Walk.files      each file that is to be read, open, and where in it to begin
    Walk.cursor     plain data: where to go on

A cursor knows the file it is in by its name, those before it by their names and looks, and
where it is in the file. So a resume reads what is not read yet: the rest of that file, and the
files that sort behind it, be they old or new. A file before it that is new, gone, or another
would have to be read, or unread: it is refused.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from statepipe.io.changed import changed
from statepipe.io.files.found import Found, Opened
from statepipe.io.files.globs import has_magic
from statepipe.io.files.trail import Trail
from statepipe.io.rows import Value


class Walk:
    """
    A way through files.

    Attributes:
        is_glob: True if there may be several files.
        passed: The first of all files, if it is passed over because it was read before.
    """

    def __init__(self, path: str | Path, found: Sequence[Found], cursor: Value) -> None:
        """
        Find the place of `cursor` among the files that `path` means now.

        Raises:
            Fatal: If the files before it are not those that were read, or it is no such cursor.
        """
        self._path = path
        self.is_glob = has_magic(str(path))
        self.passed: Found | None = None
        self._found = found
        self._trail = Trail()
        self._at: Any = None
        self._current: Opened | None = None
        if cursor is not None:
            self._resume(cursor)

    def files(self, *, in_order: bool = True) -> Iterator[tuple[Opened, Any]]:
        """
        Yield each file that is to be read, open, and where in it to begin (None: at its start).

        Whoever takes a file closes it. `in_order` is that of `Found.open`.
        """
        at = self._at
        for file in self._found[self._trail.files :]:
            if self._current is not None:
                self._trail.add(self._current)
            self._current = file.open(in_order=in_order)
            yield self._current, at
            at = None

    def cursor(self, at: Value) -> dict[str, Any]:
        """Return where to go on, `at` being where in the file that was given last."""
        assert self._current is not None, "a batch has records of a file"
        return {"file": self._current.name, "at": at, "before": self._trail.cursor()}

    def _resume(self, cursor: Value) -> None:
        match cursor:
            case {"file": str(name), "at": dict(at), "before": before, **others} if not others:
                pass
            case _:
                self._refuse("the cursor was not made by this reader")
        try:
            self._trail = Trail.resumed(before)
        except ValueError:
            self._refuse("the cursor was not made by this reader")
        self._at = at
        names = [file.name for file in self._found]
        read = self._trail.files
        if name not in names:
            self._refuse(f"{name}, which was being read, is gone")
        ahead = names.index(name)
        if (span := self._trail.differs(self._found)) is not None or ahead != read:
            first, end = span or (read, ahead)
            which = " … ".join(sorted({*names[first : first + 1], *names[end - 1 : end]}))
            if end - first > 1:
                which = f"one of {which}"
            if ahead > read:
                self._refuse(f"{which} is new, and sorts before {name}, which was being read")
            if ahead < read:
                self._refuse(f"{read - ahead} of the {read} files before {name} are gone")
            self._refuse(f"{which} has changed since it was read")
        self.passed = self._found[0] if read else None

    def _refuse(self, reason: str) -> NoReturn:
        remedy = "Put the files back and resume"
        raise changed(str(self._path), reason, remedy=remedy, it="them")
