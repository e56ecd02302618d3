"""
What each thing that can happen to an instance becomes: one `Change`, ready to commit.

    retry_later   the attempt failed and will be tried again
    paused        the attempt failed while a pause was asked for
    batched       a batch was staged, or loaded
    rested        it waits: for an event, or for its time
    submitted     a job was begun elsewhere
    released      nothing happened, but this process lets go (a graceful stop)
    steered       a cancel, a kill or a pause that was asked for is honoured
    cleaned       the machine's `on_cancel` has ended, and with it the cancelled instance

What an event makes of it is the subject of `moves.py`; `move_detail` and `since` serve both.
All are pure: they read a `Drive` and return values. Nothing of the drive changes
before the commit was acknowledged.
"""

from typing import Final, NamedTuple

from statepipe.drift import told
from statepipe.errors import ENGINE_ERRORS
from statepipe.figures import OTHER
from statepipe.model import (
    CANCEL,
    CANCELLED_STATE,
    Attachment,
    Change,
    Detail,
    Loaded,
    Staged,
    Status,
)
from statepipe.runtime.driving import sizing
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.endings import Ended, Failure
from statepipe.runtime.picture import Mark, Picture
from statepipe.wishes import CANCELLING_STATE, KILL

ERROR_CHARS_MAX: Final = 4_000
#: In the note of a batch; all of them are in the table `drift`.
DRIFTS_TOLD_MAX: Final = 5


class Pause(NamedTuple):
    """When an instance that rests is looked at again, by both clocks; see `clock.WALL`."""

    wake_at_ms: int
    wake_delay_ms: int | None
    wake_boot_ms: int
    wake_boot_id: str


def since(then_ms: int, now_ms: int) -> int:
    """Return how long ago that was; the wall clock may have been set back meanwhile."""
    return now_ms - then_ms if now_ms > then_ms else 0


def retry_later(
    drive: Drive, ended: Ended, pause: Pause, *, at_ms: int, took_ms: int | None
) -> Change:
    """Return the change that parks the instance until its next attempt."""
    detail = _given_up(drive, ended, kind="retry")._replace(**pause._asdict())
    change = _resting(drive, event=ended.event, at_ms=at_ms, detail=detail)
    return change._replace(took_ms=took_ms, policy=drive.part.policy_digest)


def paused(drive: Drive, ended: Ended, *, at_ms: int, took_ms: int | None) -> Change:
    """Return the change that honours a pause when the attempt under way has failed."""
    detail = _given_up(drive, ended, kind="pause")
    change = _resting(drive, event=ended.event, at_ms=at_ms, detail=detail)
    policy = drive.part.policy_digest
    return change._replace(status=Status.PAUSED, took_ms=took_ms, policy=policy)


def batched(
    drive: Drive, done: Staged | Loaded, *, mark: Mark | None, worker: int, at_ms: int
) -> tuple[Change, Attachment]:
    """
    Return the change that makes one staged, or one loaded, batch part of the checkpoint.

    `mark` is how far a source with a watermark has come with it, None for all others.
    """
    picture = drive.picture
    if mark is not None and mark != picture.marks.get(drive.state):
        picture = picture.marked(drive.state, mark)
    picture = sizing.recovered(drive, picture)
    learned = None if picture is drive.picture else picture.write()
    is_load = isinstance(done, Loaded)
    rejected = done.rejects.records if done.rejects else 0
    drifts = done.seen.drifts if isinstance(done, Staged) and done.seen else ()
    detail = _unchanged(drive, kind="batch")._replace(
        worker=worker,
        lost=0,
        picture=drive.picture_bytes if picture is drive.picture else learned,
        learned=learned,
        batches=drive.batches + 1,
        task=drive.state,
        records=done.records,
        bytes=None if isinstance(done, Loaded) else done.bytes,
        rejected=rejected,
        read=done.records + rejected if isinstance(done, Loaded) else done.read,
        note="; ".join([f"batch {done.number}", *map(told, drifts[:DRIFTS_TOLD_MAX])]),
        drifts=drifts,
    )
    event = "loaded" if is_load else "staged"
    change = _resting(drive, event=event, at_ms=at_ms, detail=detail)
    if isinstance(done, Loaded):
        return change, Attachment(drive.stay, drive.state, loaded=done)
    return change, Attachment(drive.stay, drive.state, staged=done)


def rested(drive: Drive, pause: Pause, *, note: str | None, at_ms: int) -> Change:
    """Return the change that puts an instance to rest in a state that waits."""
    detail = _unchanged(drive, kind="interrupt")._replace(
        lost=0,  # whoever drove it has come as far as there is to go
        note=note,
        **pause._asdict(),
    )
    return _resting(drive, event="wait", at_ms=at_ms, detail=detail)


def submitted(drive: Drive, *, worker: int, at_ms: int) -> Change:
    """Return the change that makes a job elsewhere part of the checkpoint; its driver goes on."""
    detail = _unchanged(drive, kind="interrupt")._replace(worker=worker, attempt=0, lost=0)
    return _resting(drive, event="submit", at_ms=at_ms, detail=detail)


def released(drive: Drive, *, reason: str, at_ms: int) -> Change:
    """Return the change that lets an instance go where it rests, ready for the next driver."""
    detail = _unchanged(drive, kind="interrupt")._replace(note=reason)
    return _resting(drive, event="interrupt", at_ms=at_ms, detail=detail)


def steered(drive: Drive, *, at_ms: int) -> Change:
    """Return the change that honours a wish; a cancel begins `on_cancel`, if there is one."""
    if drive.wish == "pause":
        detail = _unchanged(drive, kind="pause")
        change = _resting(drive, event="pause", at_ms=at_ms, detail=detail)
        return change._replace(status=Status.PAUSED)
    detail = _unchanged(drive, kind="cancel")._replace(
        failed_state=drive.failed_state or drive.state, entered_at_ms=at_ms
    )
    if drive.wish != KILL and drive.program.cleans:
        detail = detail._replace(attempt=0, lost=0)
        change = _resting(drive, event=CANCEL, at_ms=at_ms, detail=detail)
        return change._replace(state=CANCELLING_STATE)  # for whoever claims it, as from outside
    detail = detail._replace(finished_at_ms=at_ms)
    change = _resting(drive, event=drive.wish or CANCEL, at_ms=at_ms, detail=detail)
    return change._replace(status=Status.CANCELLED, state=CANCELLED_STATE)


def cleaned(drive: Drive, ended: Ended, *, at_ms: int, took_ms: int | None) -> Change:
    """Return the change that ends an instance whose `on_cancel` has ended, however it did."""
    status = Status.CANCELLED
    detail = move_detail(drive, ended, drive.picture, worker=0, at_ms=at_ms, status=status)
    detail = detail._replace(failed_state=drive.failed_state, batches=drive.batches)
    change = _resting(drive, event=ended.event, at_ms=at_ms, detail=detail)
    return change._replace(
        status=status,
        state=CANCELLED_STATE,
        took_ms=took_ms,
        policy=drive.part.policy_digest,
        stayed_ms=since(drive.entered_at_ms, at_ms),
    )


def move_detail(
    drive: Drive, ended: Ended, learned: Picture, *, worker: int, at_ms: int, status: str
) -> Detail:
    """Return the detail of a change that ends what was tried in its state."""
    picture = drive.picture_bytes if learned is drive.picture else learned.write()
    failed = status == Status.FAILED
    failure = ended.failure
    error_class, error = (failure.names[0], failure.message) if failure else (None, None)
    if failed and failure is None:  # an event of the machine's own led here, and is the cause
        error_class = ended.event
        error = ended.note or "the task raised this event, and the machine leads it here"
    return _unchanged(drive, kind="move")._replace(
        attempt=0,
        lost=0,
        # A resume comes back to the stay that failed, and must know what it has.
        batches=drive.batches if failed else 0,
        picture=picture,
        worker=worker if status == Status.READY else None,
        failed_state=drive.state if failed else None,
        error_class=error_class,
        error=error and error[:ERROR_CHARS_MAX],
        error_kind=_kind_of(drive, failure) if failure else None,
        entered_at_ms=at_ms,
        finished_at_ms=None if status == Status.READY else at_ms,
        task=drive.state,
        tried=_ends(drive, failure),
        records=ended.records,
        rejected=ended.rejected,
        learned=None if picture is drive.picture_bytes else picture,
        note=ended.note,
        drifts=ended.drifts,
    )


def _ends(drive: Drive, failure: Failure | None) -> int | None:
    """Return which attempt a move ends; None if the deadline had passed before any began."""
    is_late = failure is not None and failure.names[0] == "DeadlineExceeded"
    begun = drive.attempt or drive.lost or drive.part.work == "job"
    return None if is_late and not begun else drive.attempt + 1


def _given_up(drive: Drive, ended: Ended, *, kind: str) -> Detail:
    """Return the detail that says how an attempt failed, and lets the instance go in its state."""
    assert ended.failure is not None
    picture = sizing.after(drive, ended.failure)
    learned = None if picture is drive.picture else picture.write()
    return with_failure(_unchanged(drive, kind=kind), drive, ended, ended.failure)._replace(
        picture=drive.picture_bytes if learned is None else learned,
        learned=learned,
        attempt=drive.attempt + 1,
    )


def with_failure(detail: Detail, drive: Drive, ended: Ended, failure: Failure) -> Detail:
    """Return `detail` with how the attempt failed."""
    return detail._replace(
        error_class=failure.names[0],
        error=failure.message[:ERROR_CHARS_MAX],
        error_kind=_kind_of(drive, failure),
        task=drive.state,
        tried=drive.attempt + 1,
        records=ended.records,
        rejected=ended.rejected,
        drifts=ended.drifts,
    )


def _kind_of(drive: Drive, failure: Failure) -> str:
    """Return what a failure counts as: a label that no author's code can make up."""
    declared = (*drive.part.policy.errors, *ENGINE_ERRORS)
    return next((name for name in failure.names if name in declared), OTHER)


def _resting(drive: Drive, *, event: str, at_ms: int, detail: Detail) -> Change:
    """Return a change that leaves the instance in its state."""
    return Change(
        n=drive.n,
        epoch=drive.epoch,
        seq=drive.seq,
        state=drive.state,
        at_ms=at_ms,
        event=event,
        took_ms=None,
        policy=None,
        status=Status.READY,
        source=drive.state,
        machine=drive.program.name,
        stayed_ms=0,
        lived_ms=since(drive.created_at_ms, at_ms),
        detail=detail,
    )


def _unchanged(drive: Drive, *, kind: str) -> Detail:
    """Return the detail that leaves everything as it is and lets the instance go."""
    return Detail(
        kind=kind,
        attempt=drive.attempt,
        lost=drive.lost,
        batches=drive.batches,
        picture=drive.picture_bytes,
        worker=None,
        wake_at_ms=None,
        wake_delay_ms=None,
        wake_boot_ms=None,
        wake_boot_id=None,
        failed_state=drive.failed_state,
        error_class=None,
        error=None,
        entered_at_ms=drive.entered_at_ms,
        finished_at_ms=None,
        task=None,
        tried=None,
        records=None,
        bytes=None,
        rejected=None,
        learned=None,
        note=None,
        error_kind=None,
        read=None,
        waited_ms=None if kind == "batch" else drive.waited_ms or None,
    )
