"""
A trigger that listens to a folder: files that arrive there.

    Arriving        one instance for each file that matches, once it is all there
    below           triggers whose globs are relative to a folder
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from statepipe.machine.names import check_text
from statepipe.machine.triggers.trigger import Trigger
from statepipe.policy import DURATION_MS_MAX
from statepipe.suggest import did_you_mean
from statepipe.tables import refusal

EVERY_MS: Final = 10_000
STABLE_MS: Final = 30_000

#: What a text of a parameter may name.
PLACES: Final = ("file.path", "file.name", "file.stem", "file.size", "file.modified")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arriving:
    """
    One instance for each file that matches a glob, once it is all there.

    Attributes:
        file: The glob, from the project's folder; see `io.files.globs`.
        stable_ms: A file is all there once its size and its time have stayed the same so long,
            in milliseconds, while somebody looked; None if a marker says it.
        marker: The end of the name of a file beside it that says it: "a.csv.done" for ".done".
        every_ms: How often the folder is looked at.
        root: The folder that the glob is relative to; "" is where the process is.
    """

    kind: ClassVar[str] = "file"

    file: str
    stable_ms: int | None = None
    marker: str | None = None
    every_ms: int = EVERY_MS
    root: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no glob of local files, and times that are none; complete it."""
        check_text("file", self.file)
        if "://" in self.file:
            raise refusal(
                f'file is "{self.file}": files are looked for on local disks only',
                next_step='file = "inbox/*.csv"; for others a schedule, whose task lists them',
            )
        if self.marker is not None:
            check_text("marker", self.marker)
            if "/" in self.marker or self.stable_ms is not None:
                raise refusal(
                    "a file is all there when its marker is, or when it is stable: one of both",
                    next_step='marker = ".done", or stable = "30s"',
                )
        elif self.stable_ms is None:
            object.__setattr__(self, "stable_ms", STABLE_MS)
        for key, ms in (("stable", self.stable_ms), ("every", self.every_ms)):
            if ms is not None and (type(ms) is not int or not 0 < ms <= DURATION_MS_MAX):
                raise refusal(f"{key} is {ms!r} ms, outside 1 ms..365 days", next_step='"30s"')

    @property
    def said(self) -> str:
        """It in a few words, for people."""
        return f"file {self.file}"

    @property
    def identity(self) -> dict[str, Any]:
        """What of it makes it another one; how long it waits and how often it looks do not."""
        return {"file": self.file}

    def place_error(self, place: str) -> str | None:
        """Return why `place` can stand in no text of a parameter; None if it can."""
        if place in PLACES:
            return None
        return (
            f"a file has no {place!r}{did_you_mean(place, PLACES)}; there are {', '.join(PLACES)}"
        )


def below(triggers: tuple[Trigger, ...], root: str) -> tuple[Trigger, ...]:
    """Return the same triggers, the globs among them relative to the folder `root`."""
    if not any(isinstance(each.on, Arriving) for each in triggers):
        return triggers
    return tuple(
        replace(each, on=replace(each.on, root=root)) if isinstance(each.on, Arriving) else each
        for each in triggers
    )
