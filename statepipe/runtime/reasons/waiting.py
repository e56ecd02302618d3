"""
What an instance waits for before its attempt begins: a slot, a permit, room, a job elsewhere.

    waits       what it has asked for and does not have; [] if it waits for nothing
    polling     which job elsewhere it waits for
    size        what its batches should hold now, if that is not what the policy says
"""

from typing import Final

from statepipe.runtime.picture import Picture
from statepipe.runtime.reasons.drivers import named, nobody
from statepipe.runtime.reasons.reason import Reason, because
from statepipe.store.questions.evidence import Evidence
from statepipe.store.questions.usage import Use, User
from statepipe.store.walk.resources import STAGING
from statepipe.units import format_duration, plural

#: A wake-up time that has passed for longer than this is overdue: nobody looks.
OVERDUE_MS: Final = 2_000
#: So many of those that hold a slot are named.
_NAMED_MAX = 5
#: So much of a handle is shown.
_HANDLE_CHARS_MAX = 120


def waits(known: Evidence) -> list[Reason]:
    """Return what the instance waits for, what matters most first."""
    said = []
    for user in known.users:
        for before, use in enumerate(user.waiting):
            if use.instance == known.found.id:
                said.append(_waits(user, use, before=before))
    return said


def polling(known: Evidence, *, now_ms: int) -> list[Reason]:
    """Return which job an instance that rests between two polls waits for."""
    job, wake_at_ms = known.found.job, known.found.wake_at_ms
    assert job is not None, "it is polled"
    assert wake_at_ms is not None, "what waits has a time"
    text = f"its job {str(job.handle)[:_HANDLE_CHARS_MAX]} goes on elsewhere, submitted"
    said = [because("job", text, at_ms=job.submitted_at_ms, polls=job.polls)]
    if job.polled_at_ms is not None:
        polls = plural(job.polls, "poll")
        said.append(because("polled", f"{polls} said so, the last", at_ms=job.polled_at_ms))
    said.append(because("next_poll", "it is polled again", at_ms=wake_at_ms))
    return [*said, *(nobody(known) if now_ms - wake_at_ms > OVERDUE_MS else [])]


def size(known: Evidence) -> list[Reason]:
    """Return that the other side could not keep up with larger batches, if it could not."""
    found = known.found
    now = Picture.read(found.picture).sizes.get(found.resume_state)
    if now is None:
        return []
    text = f"batches of {found.resume_state} hold {now:,} records by now: the other side throttled"
    return [because("batch_size", f"{text}, or was too slow; it grows again", batch_size=now)]


def _waits(user: User, use: Use, *, before: int) -> Reason:
    facts = {
        "resource": user.name,
        "slots": user.slots,
        "held_by": [each.instance for each in user.held],
        "before": before,
    }
    if user.name == STAGING:
        text = "waits for room: others have staged as much as staged_max allows"
        return Reason("staging_room", text, use.since_ms, facts)
    if user.closed_ms:
        left = format_duration(user.closed_ms)
        text = f"waits for {user.name}: its server asked to be left alone for another {left}"
        return Reason("closed", text, use.since_ms, {**facts, "closed_ms": user.closed_ms})
    queue = f"; {before:,} wait before it" if before else ""
    if user.slots is not None and len(user.held) >= user.slots:
        held = f"{len(user.held):,} of {user.slots:,} held by {_names(user.held)}"
        text = f"waits for a slot of {user.name}: {held}{queue}"
        return Reason("slot", text, use.since_ms, facts)
    if user.rate is not None:
        text = f"waits for a permit of {user.name}, which has rate = {user.rate}{queue}"
        return Reason("permit", text, use.since_ms, facts)
    return Reason("turn", f"waits for its turn at {user.name}{queue}", use.since_ms, facts)


def _names(held: tuple[Use, ...]) -> str:
    names = [f"{each.instance} ({named(each.worker)})" for each in held[:_NAMED_MAX]]
    left = len(held) - _NAMED_MAX
    return ", ".join(names) + (f" and {left:,} more" if left > 0 else "")
