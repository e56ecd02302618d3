"""
A state in which nothing runs: how long it still rests, its rest, and the move that ends it.

    left_ms     how long an instance still rests in its state
    rest        the change that puts it to rest until then
    move        the move by an event that no attempt has raised
"""

from statepipe.clock import WALL, Clock
from statepipe.model import Attachment, Change
from statepipe.runtime.driving.changes import Pause, rested
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.endings import Ended
from statepipe.runtime.driving.outcomes import arrival


def left_ms(drive: Drive, wait_ms: int, *, clock: Clock) -> int:
    """
    Return how long of `wait_ms` is left; 0 or less if it is over.

    A timer that rang says how long it has waited, whatever the wall clock was set to since. That
    may be less than the wait: it was the deadline's, or the wait is a longer one by now. Without
    one the wall clock is asked, as no other spans processes and boots.
    """
    at_ms = clock.now_ms() if drive.due_at_ms is None else drive.due_at_ms
    return min(wait_ms, wait_ms - (at_ms - drive.entered_at_ms))


def rest(
    drive: Drive, for_ms: int, *, note: str | None, clock: Clock, moment_ms: int | None = None
) -> Change:
    """
    Return the change that lets it rest for so long, or until the deadline of its machine.

    Of a rest until a moment, `moment_ms`, `for_ms` is how far away that seems to be.
    """
    now_boot_ms, at_ms = clock.boot_ms(), clock.now_ms()
    left_ms = for_ms
    if drive.ends_boot_ms is not None:  # which was not over just now
        left_ms = max(0, min(for_ms, drive.ends_boot_ms - now_boot_ms))
    pause = Pause(at_ms + left_ms, left_ms, now_boot_ms + left_ms, clock.boot_id)
    if moment_ms is not None and left_ms == for_ms:
        pause = Pause(moment_ms, None, moment_ms, WALL)
    change = rested(drive, pause, note=note, at_ms=at_ms)
    if moment_ms is None and at_ms < drive.entered_at_ms and change.detail is not None:
        # The clock was set back since: counted from then, the timer would seem to ring too
        # early by so much, and it would rest again.
        return change._replace(detail=change.detail._replace(entered_at_ms=at_ms))
    return change


def move(
    drive: Drive, ended: Ended, *, worker: int, clock: Clock
) -> tuple[Change, Attachment | None]:
    """Return the move that `ended` brings: nothing was attempted, and no attempt is counted."""
    change, attachment = arrival(drive, ended, worker=worker, at_ms=clock.now_ms(), took_ms=None)
    if change.detail is None:
        return change, attachment
    detail = change.detail._replace(tried=None, task=None)
    return change._replace(policy=None, detail=detail), attachment
