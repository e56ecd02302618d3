"""
A state whose work is done elsewhere: submitted by one attempt, polled by others until it is over.

    call_of     what its next attempt does
    goes_on     the change by which a job was submitted, or found still going on
    judged      how an attempt ended, which may be that the job has had its time
    fact_of     what any other end of an attempt says of its job

Between two polls nobody drives the instance: it rests with a timer, as in a state that waits.
The handle is committed before the first poll, so that a crash submits no second job; one between
the submission and that commit submits again, with the same `task.idempotency_key`.
"""

from typing import Any, Final

from statepipe.clock import Clock
from statepipe.jobfacts import JobFact
from statepipe.model import TIMEOUT, Attachment, Change
from statepipe.runtime.driving.changes import Pause, rested, steered, submitted
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.endings import Ended, Failure
from statepipe.runtime.tasks.jobs import LATER, SUBMITTED
from statepipe.store.codec import decode
from statepipe.store.file.connection import Store
from statepipe.store.walk import jobs
from statepipe.units import format_duration

_TIMED_OUT: Final = ("JobTimeout", "TaskTimeout", "TaskError", "StatepipeError", "Exception")
#: What is not tried again: there is no time left.
GIVES_UP: Final = frozenset({"JobTimeout", "DeadlineExceeded"})


def call_of(drive: Drive, store: Store) -> dict[str, Any]:
    """Return what sets the next attempt apart: which function, which handle, which number."""
    functions, clock = drive.part.call["job"], store.clock
    job = jobs.live(store.connection, drive.n, drive.stay)
    if job is None:
        drive.job_ends_boot_ms = None
        number = jobs.submitted(store.connection, drive.n, drive.stay)
        return {"does": "submit", "function": functions["submit"], "handle": None, "next": number}
    boot_ms = clock.boot_ms()
    age_ms = job.age_ms(now_ms=clock.now_ms(), boot_ms=boot_ms, boot_id=clock.boot_id)
    drive.job_ends_boot_ms = boot_ms + drive.part.call["job_ms"] - age_ms
    drive.polls = job.polls
    handle = decode(job.handle)
    return {"does": "poll", "function": functions["poll"], "handle": handle, "next": job.number}


def goes_on(
    drive: Drive, ended: Ended, *, worker: int, clock: Clock
) -> tuple[Change, Attachment | None] | None:
    """
    Return the change by which the job goes on, and what is written down of it.

    None if it has ended, or the attempt says nothing of it.
    """
    at_ms = clock.now_ms()
    if ended.job == SUBMITTED:
        can_stop = drive.part.call["job"]["cancel"] is not None
        fact = JobFact(ended.value, can_stop, clock.boot_ms(), clock.boot_id)
        # Whatever is wished is honoured after it: a job that is not written down cannot be stopped.
        change = submitted(drive, worker=worker, at_ms=at_ms)
        return change, Attachment(drive.stay, drive.state, job=fact)
    if ended.job != LATER or _is_late(drive, clock=clock):
        return None
    if drive.must_end or drive.wish == "pause":
        change = steered(drive, at_ms=at_ms)
    else:
        change = _rest(drive, at_ms=at_ms, clock=clock)
    return change, Attachment(drive.stay, drive.state, job=JobFact())


def judged(drive: Drive, ended: Ended, *, clock: Clock) -> Ended:
    """Return how the attempt ended: if its poll did not say, and the job has had its time, so."""
    if ended.job is None and (ended.failure is None or not _is_late(drive, clock=clock)):
        return ended
    limit = format_duration(drive.part.call["job_ms"])
    said = "" if ended.failure is None else f"; its last poll failed: {ended.failure.message}"
    failure = Failure(_TIMED_OUT, f"the job took longer than {limit}{said}")
    return Ended(TIMEOUT, None, produced=False, records=None, rejected=None, failure=failure)


def fact_of(drive: Drive, ended: Ended, *, fails: bool) -> JobFact | None:
    """
    Return what the end of a state says of its job; None if it leaves it as it was.

    If the instance `fails` by it, a resume may come back to this stay.
    """
    if ended.failure is None:
        return JobFact(over=True)
    if "Fatal" in ended.failure.names:  # a poll said that it is lost: a resume submits anew
        return JobFact(over=True)
    if fails and not GIVES_UP & set(ended.failure.names):  # its polls failed, not the job
        return None
    can_stop = drive.part.call["job"]["cancel"] is not None
    return JobFact(stopping=can_stop, over=not can_stop)  # one that nobody can stop is forgotten


def _is_late(drive: Drive, *, clock: Clock) -> bool:
    return drive.job_ends_boot_ms is not None and clock.boot_ms() >= drive.job_ends_boot_ms


def _rest(drive: Drive, *, at_ms: int, clock: Clock) -> Change:
    boot_ms, ends_ms = clock.boot_ms(), drive.job_ends_boot_ms
    left_ms = drive.part.call["every_ms"]
    for end_ms in (ends_ms, drive.ends_boot_ms):
        if end_ms is not None:
            left_ms = max(0, min(left_ms, end_ms - boot_ms))
    pause = Pause(at_ms + left_ms, left_ms, boot_ms + left_ms, clock.boot_id)
    change = rested(drive, pause, note=f"for its job, poll {drive.polls + 1}", at_ms=at_ms)
    assert change.detail is not None, "what rests has a detail"
    # A poll that says how the job stands is no failed attempt, and ends a row of those.
    return change._replace(detail=change.detail._replace(attempt=0))
