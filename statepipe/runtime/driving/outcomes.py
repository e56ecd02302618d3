"""
From how an attempt ended to the change it brings: move on, try again, give up, or obey.

    outcome     the one place where success, failure, retries and wishes meet
    arrival     the move that an end without retries brings
    failed_by   the one of an instance whose change was refused by the store
    farewell    the change by which a process lets one go
"""

import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from statepipe.clock import Clock
from statepipe.errors import StatepipeError
from statepipe.machine.definition import FAILED_STATE
from statepipe.model import ERROR, Attachment, Change, Status
from statepipe.observe import redact
from statepipe.runtime.driving import jobs
from statepipe.runtime.driving.announcing import with_notices
from statepipe.runtime.driving.attempt import CANCELLED_ATTEMPT
from statepipe.runtime.driving.changes import (
    Pause,
    cleaned,
    paused,
    released,
    retry_later,
    steered,
    with_failure,
)
from statepipe.runtime.driving.delivering import delivered
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.endings import Ended, Failure
from statepipe.runtime.driving.moves import moved
from statepipe.runtime.failure import MESSAGE_CHARS_MAX, clean, message_of, names_of


def outcome(
    drive: Drive,
    ended: Ended,
    *,
    worker: int,
    clock: Clock,
    rng: random.Random,
    took_ms: int | None,
) -> tuple[Change, Attachment | None]:
    """
    Return the change that `ended` brings, and the rows that go with it.

    Args:
        drive: The instance.
        ended: How its attempt ended.
        worker: This process's number in the store.
        clock: For the wake-up time of a retry.
        rng: For jitter.
        took_ms: How long the attempt took; None if it did not begin.
    """
    if drive.part.work == "job":
        if (going_on := jobs.goes_on(drive, ended, worker=worker, clock=clock)) is not None:
            return going_on
        ended = jobs.judged(drive, ended, clock=clock)
    obeyed = _obeyed(drive, ended, at_ms=clock.now_ms(), took_ms=took_ms)
    return obeyed or _ended(drive, ended, worker=worker, clock=clock, rng=rng, took_ms=took_ms)


def _obeyed(
    drive: Drive, ended: Ended, *, at_ms: int, took_ms: int | None
) -> tuple[Change, None] | None:
    """Return the change by which a wish is honoured, however the attempt ended; None without."""
    if drive.must_end:
        return _with_failure(steered(drive, at_ms=at_ms), drive, ended, took_ms=took_ms), None
    if ended is CANCELLED_ATTEMPT and drive.wish is not None:
        return farewell(drive, reason="asked to stop", at_ms=at_ms), None
    if drive.wish == "pause" and ended.failure is not None:
        return paused(drive, ended, at_ms=at_ms, took_ms=took_ms), None
    return None


def _with_failure(change: Change, drive: Drive, ended: Ended, *, took_ms: int | None) -> Change:
    """Return a change that honours a cancel, with how the attempt failed that it ends, if so."""
    if ended.failure is None or change.detail is None:
        return change
    # No figure counts it: it may well have failed because it was asked to stop.
    detail = with_failure(change.detail, drive, ended, ended.failure)._replace(error_kind=None)
    return change._replace(took_ms=took_ms, policy=drive.part.policy_digest, detail=detail)


def _ended(
    drive: Drive,
    ended: Ended,
    *,
    worker: int,
    clock: Clock,
    rng: random.Random,
    took_ms: int | None,
) -> tuple[Change, Attachment | None]:
    """Return what the end of an attempt brings that nobody wished: another try, or a move."""
    at_ms = clock.now_ms()
    if ended is CANCELLED_ATTEMPT:
        ended = _failed(Failure(("TaskCancelled", "TaskError"), "the task says it was cancelled"))
    if ended.failure is not None and _is_worth_another_try(drive, ended.failure, clock=clock):
        pause = _pause(drive, ended.failure, clock=clock, rng=rng)
        change = retry_later(drive, ended, pause, at_ms=at_ms, took_ms=took_ms)
        return change, None
    if drive.part.work == "cancel":
        return cleaned(drive, ended, at_ms=at_ms, took_ms=took_ms), None
    change, attachment = arrival(drive, ended, worker=worker, at_ms=at_ms, took_ms=took_ms)
    if drive.part.work == "job":
        fact = jobs.fact_of(drive, ended, fails=change.status == Status.FAILED)
        if fact is not None:
            attachment = (attachment or Attachment(drive.stay, drive.state))._replace(job=fact)
    return change, attachment


def arrival(
    drive: Drive, ended: Ended, *, worker: int, at_ms: int, took_ms: int | None
) -> tuple[Change, Attachment | None]:
    """Return the move that `ended` brings, whatever refuses it, and who is told of it."""
    move = partial(moved, drive, worker=worker, at_ms=at_ms, took_ms=took_ms)
    # Of a state that the machine does not have no rule tells.
    target = FAILED_STATE if drive.part.work == "unknown" else None
    try:
        change, attachment = move(ended, target=target)
    except StatepipeError as error:
        change, attachment = _failing(move, ended, error)
    return change, with_notices(drive, change, delivered(drive, change, attachment))


def failed_by(
    drive: Drive, error: StatepipeError, *, worker: int, at_ms: int, took_ms: int | None
) -> tuple[Change, Attachment | None]:
    """Return the change by which an instance fails that could not make another one."""
    ended = _failed(Failure(tuple(names_of(error)), message_of(error)))
    if drive.part.work == "cancel":
        return cleaned(drive, ended, at_ms=at_ms, took_ms=took_ms), None
    change, attachment = moved(
        drive, ended, worker=worker, at_ms=at_ms, took_ms=took_ms, target=FAILED_STATE
    )
    return change, with_notices(drive, change, attachment)


def farewell(drive: Drive, *, reason: str, at_ms: int) -> Change:
    """Return the change by which this process lets the instance go, as it was asked to."""
    if drive.wish == "stop":
        return released(drive, reason=reason, at_ms=at_ms)
    return steered(drive, at_ms=at_ms)


def _is_worth_another_try(drive: Drive, failure: Failure, *, clock: Clock) -> bool:
    policy = drive.part.policy
    if jobs.GIVES_UP & set(failure.names) or not policy.retries(failure.names):
        return False
    if drive.attempt + 1 >= policy.max_attempts:
        return False
    if policy.max_elapsed_ms is None:
        return True
    return clock.now_ms() - drive.entered_at_ms < policy.max_elapsed_ms


def _pause(drive: Drive, failure: Failure, *, clock: Clock, rng: random.Random) -> Pause:
    delay_ms = drive.part.policy.pause_ms(
        attempt=drive.attempt + 1, rng=rng, retry_after_ms=failure.retry_after_ms
    )
    return Pause(clock.now_ms() + delay_ms, delay_ms, clock.boot_ms() + delay_ms, clock.boot_id)


def _failing(
    move: Callable[..., tuple[Change, Attachment | None]], ended: Ended, error: StatepipeError
) -> tuple[Change, Attachment | None]:
    """Return the move of an instance whose move was refused: whatever refuses, it ends failed."""
    # The rules or the checkpoint cannot take what the task returned: its failure.
    refused = _failed(_refusal(error, ended.failure))._replace(drifts=ended.drifts)
    if ended.event != ERROR:
        with suppress(StatepipeError):
            return move(refused)
    # The rules cannot even take a failure, for a guard that breaks on it. The instance
    # must not take the loop, and all others with it, down.
    return move(refused, target=FAILED_STATE)


def _refusal(error: StatepipeError, first: Failure | None) -> Failure:
    """Return `error` as a failure that does not hide the one it was met on."""
    cause = "" if first is None else f"; it came upon {first.names[0]}: {first.message}"
    said = clean(redact.redacted(error.message), chars_max=MESSAGE_CHARS_MAX)
    return Failure(tuple(names_of(error)), said + cause)


def _failed(failure: Failure) -> Ended:
    return Ended(ERROR, None, produced=False, records=None, rejected=None, failure=failure)
