"""
What people, or the end of the process, want of instances that are driven.

    heed        each that somebody asked something of goes to the front, and its attempt may end
    let_go      the same for all of them: at its next boundary each is let go
"""

from collections.abc import Callable, Iterable

from statepipe.runtime.driving.calls import Calls
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.waiting import Waiting


def heed(
    asked: Iterable[Drive | None], waiting: Waiting, *, reread: Callable[[Drive], bool]
) -> None:
    """Read those again of which something was asked, unless a change of them is under way."""
    for drive in asked:
        # With a change under way its commit finds out that the row moved.
        if drive is not None and not drive.pending and reread(drive):
            waiting.hurry(drive)


def let_go(drives: Iterable[Drive], waiting: Waiting, calls: Calls, *, reason: str) -> None:
    """Let each go at its next boundary; `reason` is for the journal."""
    for drive in drives:
        drive.leaves = reason
        drive.wish = drive.wish or "stop"
        waiting.hurry(drive)
        # A pause waits for the next boundary; an end does not wait for a pause.
        calls.ask_to_stop(drive)
