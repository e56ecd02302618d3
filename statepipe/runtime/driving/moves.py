"""
What becomes of an instance that an event takes to another state.

    moved       the change, ready to commit, and the rows that go with it

Pure, as all in `changes.py`.
"""

from typing import Final

from statepipe.errors import DataError
from statepipe.model import Attachment, Change, Plan, Status, Stay
from statepipe.runtime.driving import learning
from statepipe.runtime.driving.changes import move_detail, since
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.endings import Ended, Facts
from statepipe.runtime.picture import Picture
from statepipe.runtime.program import PlainMove

_STATUS_OF_END: Final = {
    "success": Status.DONE,
    "failure": Status.FAILED,
    "cancelled": Status.CANCELLED,
}


def moved(
    drive: Drive,
    ended: Ended,
    *,
    worker: int,
    at_ms: int,
    took_ms: int | None,
    target: str | None = None,
) -> tuple[Change, Attachment | None]:
    """
    Return the move that `ended` brings about: to `target`, or as the machine's rules decide it.

    Raises:
        NoTransition: The rules accept no such event here, or no guard held.
        ValueRefused: The results are too large for a checkpoint.
    """
    source = drive.state
    is_plain = ended.is_plain and drive.picture.input is None and not drive.waited_ms
    if target is None and is_plain:
        plain = drive.program.plain.get((source, ended.event))
        if plain is not None:
            return _plain_change(drive, ended.event, plain, at_ms=at_ms, took_ms=took_ms), None
    table = drive.program.table
    if target is None:
        target = table.decide(source, ended.event, Facts(drive, ended))
    learned = learning.learned(drive, ended, target)
    final = table.final_kind(target)
    attachment = None
    if final is None and drive.program.parts[target].work == "load":
        attachment = _planned(drive, learned, target)
    status = Status.READY if final is None else _STATUS_OF_END[final]
    if status == Status.DONE and (learned.input is not None or drive.program.children):
        reached, keeps = learned.reached(), drive.program.keeps
        attachment = Attachment(drive.stay, source, releases=True, keeps=keeps, reached=reached)
    detail = None
    if (
        learned is not drive.picture
        or ended.failure is not None
        or ended.records is not None
        or ended.note is not None
        or status == Status.FAILED
        or drive.waited_ms
    ):
        detail = move_detail(drive, ended, learned, worker=worker, at_ms=at_ms, status=status)
    change = Change(
        drive.n,
        drive.epoch,
        drive.seq,
        target,
        at_ms,
        ended.event,
        took_ms,
        drive.part.policy_digest,
        status,
        source,
        drive.program.name,
        since(drive.entered_at_ms, at_ms),
        since(drive.created_at_ms, at_ms),
        detail,
    )
    return change, attachment


def _plain_change(
    drive: Drive, event: str, plain: PlainMove, *, at_ms: int, took_ms: int | None
) -> Change:
    return Change(
        drive.n,
        drive.epoch,
        drive.seq,
        plain.target,
        at_ms,
        event,
        took_ms,
        drive.part.policy_digest,
        plain.status,
        drive.state,
        drive.program.name,
        since(drive.entered_at_ms, at_ms),
        since(drive.created_at_ms, at_ms),
        None,
    )


def _planned(drive: Drive, picture: Picture, target: str) -> Attachment:
    if picture.input is None:
        raise DataError(
            f"{drive.id!r} enters {target!r} with nothing to load: no state before it made batches",
            meaning="nothing was loaded; the instance rests where it was",
            next_step=f"statepipe check {drive.program.name}",
        )
    stay = Stay(drive.generation, target, picture.visit(target))
    return Attachment(stay, target, plan=Plan(stay, picture.input))
