"""
Folders that replace each other in one step: versions of a table, of which one is linked.

    Versions.folder       the version that a load makes
    Versions.drop_drafts  those of an instance that nobody goes on with
    Versions.publish      the link leads to another one, from one moment to the next

A reader that opened the linked version before goes on in it: it stays until the publication
after the next, and then it goes. `.before` in a version says which one it took the place of.
"""

import os
import re
from pathlib import Path
from typing import Final

from statepipe.io.folders.files import Files

_BEFORE: Final = ".before"

_NAME: Final = re.compile(r"_statepipe_draft_[0-9a-f]{16}_[0-9a-f]{8}")


class Versions:
    """
    The versions of one table.

    Args:
        root: The folder of all tables.
        table: Its name.
        files: The operations; a test may own them.
    """

    def __init__(self, root: Path, table: str, *, files: Files) -> None:
        self.link = root / table
        self._home = root / "_statepipe" / table
        self._files = files

    def folder(self, name: str) -> Path:
        """Return where the version `name` is, or will be."""
        return self._home / name

    def make(self, name: str) -> None:
        """Make the folder of the version `name`."""
        self._files.make_folder(self._home)
        self._files.make_folder(self.folder(name))

    def is_foreign(self) -> bool:
        """Return True if something else than a link of ours has the table's name."""
        return os.path.lexists(self.link) and self._linked() is None

    def drop_drafts(self, *, prefix: str) -> None:
        """Remove the versions whose names begin with `prefix` and that no reader may be in."""
        current = self._linked()
        kept = {current, current and self._before(current)}
        if self._home.is_dir():
            for each in sorted(self._home.iterdir()):
                if each.name.startswith(prefix) and each.name not in kept:
                    self._files.remove_tree(each)

    def publish(self, name: str) -> None:
        """Let the table's name lead to the version `name`; durable."""
        current = self._linked()
        if current != name:
            self._take_place(name, of=current)
        self._files.sync(self.link.parent)  # also if whoever linked it died before that

    def _take_place(self, name: str, *, of: str | None) -> None:
        if of is not None:
            if (older := self._before(of)) is not None:
                self._files.unlink(self.folder(of) / _BEFORE)
                self._files.remove_tree(self.folder(older))
            self._files.unlink(self.folder(name) / _BEFORE)
            self._files.link(self.folder(name) / _BEFORE, of)
        self._files.sync(self.folder(name))
        fresh = self._home / f".{self._files.token()}"
        self._files.link(fresh, f"_statepipe/{self.link.name}/{name}")
        self._files.rename(fresh, self.link)

    def _linked(self) -> str | None:
        """Return the version that the table's name leads to."""
        parts = Path(self._target(self.link)).parts
        if len(parts) == 3 and parts[:2] == ("_statepipe", self.link.name):  # noqa: PLR2004  (as the names have parts)
            return parts[2] if _NAME.fullmatch(parts[2]) else None
        return None

    def _before(self, name: str) -> str | None:
        found = self._target(self.folder(name) / _BEFORE)
        return found if _NAME.fullmatch(found) else None

    def _target(self, link: Path) -> str:
        try:
            return os.readlink(link)  # noqa: PTH115  (as text, which it may be anybody's)
        except OSError:
            return ""
