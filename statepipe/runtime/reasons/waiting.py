"""
What an instance waits for before its attempt begins: a slot, a permit, room.

    waits       what it has asked for and does not have; [] if it waits for nothing
    size        what its batches should hold now, if that is not what the policy says
"""

from statepipe.runtime.picture import Picture
from statepipe.runtime.reasons.drivers import named
from statepipe.runtime.reasons.reason import Reason, because
from statepipe.store.questions.evidence import Evidence
from statepipe.store.questions.usage import Use, User
from statepipe.store.walk.resources import STAGING
from statepipe.units import format_duration

#: So many of those that hold a slot are named.
_NAMED_MAX = 5


def waits(known: Evidence) -> list[Reason]:
    """Return what the instance waits for, what matters most first."""
    said = []
    for user in known.users:
        for before, use in enumerate(user.waiting):
            if use.instance == known.found.id:
                said.append(_waits(user, use, before=before))
    return said


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
