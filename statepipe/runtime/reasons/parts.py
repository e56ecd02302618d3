"""
What an instance waits for while others do part of its work.

    at_work     which of them have not ended, and how they stand; None if none is at work
    told_asking     what one of them rests for
"""

from typing import Final

from statepipe.model import Status
from statepipe.runtime.reasons.reason import Reason, because
from statepipe.store.questions.evidence import Evidence
from statepipe.store.walk.signals import Asking

#: So many are named.
_NAMED_MAX: Final = 5


def at_work(known: Evidence) -> list[Reason] | None:
    """Return that it waits for what does part of its work; None if it waits for nothing of it."""
    found = known.found
    left = [each for each in found.parts if each.status not in Status.FINISHED]
    if not left or left[0].state != found.state:
        return None
    named = [f"{each.task} ({each.status})" for each in left[:_NAMED_MAX]]
    more = f" and {len(left) - _NAMED_MAX:,} more" if len(left) > _NAMED_MAX else ""
    ended = len(found.parts) - len(left)
    text = f"it waits in {found.state} for {', '.join(named)}{more}; {ended:,} have ended"
    ids = [each.id for each in left]
    said = [because("parts", text, state=found.state, ids=ids)]
    for part, key in found.asking[:_NAMED_MAX]:
        text, events = told_asking(part, key), list(part.events)
        said.append(because("part_waits", text, id=part.id, events=events, key=key))
    return said


def told_asking(part: Asking, key: str | None) -> str:
    """Return what a part rests for, as a sentence."""
    sends = "to send" if key is None else f"to emit, for {key},"
    return f"{part.id} waits for somebody {sends} {' or '.join(part.events)}"
