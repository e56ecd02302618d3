"""
A change that the store does not take: its instance fails by that, and no other one suffers.

    settle      let the attempt, or the instance, fail; raise if the store refuses that as well
"""

import shlex

from statepipe.clock import Clock
from statepipe.errors import DataError
from statepipe.observe import redact
from statepipe.runtime.driving.group import Entry, Group
from statepipe.runtime.driving.inbox import Question
from statepipe.runtime.driving.outcomes import failed_by
from statepipe.runtime.failure import MESSAGE_CHARS_MAX, clean


def settle(entry: Entry, group: Group, *, worker: int, clock: Clock) -> None:
    """
    Let the attempt that asked fail, or else the instance, with what refused `entry`.

    Raises:
        DataError: That was refused before, and an instance that cannot even fail would be
            claimed again and again.
    """
    error = _refusal(entry)
    if entry.instead:
        raise error
    if isinstance(entry.message, Question):  # its attempt goes on, and decides how it ends
        entry.message.refuse(error)
        return
    took_ms = None if entry.message is None else entry.message.took_ms
    change, attachment = failed_by(
        entry.drive, error, worker=worker, at_ms=clock.now_ms(), took_ms=took_ms
    )
    group.add(Entry(entry.drive, change, entry.message, instead=True), attachment)


def _refusal(entry: Entry) -> DataError:
    assert entry.refusal is not None, "the store has refused it"
    cause = clean(redact.redacted(str(entry.refusal)), chars_max=MESSAGE_CHARS_MAX)
    what = "a batch" if isinstance(entry.message, Question) else f"{entry.change.event!r}"
    return DataError(
        f"the store refused {what} of {entry.drive.id!r} in {entry.drive.state}:"
        f" {type(entry.refusal).__name__}: {cause}",
        meaning="nothing of it was committed; this is a defect of statepipe",
        next_step=f"statepipe inspect {shlex.quote(entry.drive.id)}   # and report it",
    )
