"""
Why it is not an instance's turn yet: its key is another's, or nobody works on its queue.

    key         it waits for its key; [] if it does not
    queue       no live worker drives the queue of its state; [] if one does, or may
"""

from collections.abc import Sequence

from statepipe.runtime.reasons.reason import Reason, because
from statepipe.sharing import DEFAULT_QUEUE
from statepipe.store.questions.evidence import Driver, Evidence


def key(known: Evidence) -> list[Reason]:
    """Return that it waits for its key, and who has it."""
    turn = known.turn
    if not turn.waits:
        return []
    _, _, shown = (turn.key or "").partition(":")
    held = f"held by {', '.join(turn.holders)}" if turn.holders else "held by nobody"
    waits = "waits" if turn.before == 1 else "wait"
    queue = f"; {turn.before:,} {waits} before it" if turn.before else ""
    return [
        because(
            "key",
            f"it waits for its turn: {shown!r}, its key of {known.found.machine}, is {held}{queue}",
            key=shown,
            held_by=list(turn.holders),
            before=turn.before,
        )
    ]


def queue(known: Evidence, alive: Sequence[Driver]) -> list[Reason]:
    """Return that nobody who lives drives the queue of its state."""
    mine = known.turn.queue
    if any(mine in (driver.queues or ()) for driver in alive):
        return []
    if mine == DEFAULT_QUEUE and all(driver.queues is None for driver in alive):
        return []  # whoever lives drives what it was given; more cannot be said
    text = f"{known.found.state} is of queue {mine!r}, which no process that is alive works on"
    return [because("no_queue", f"{text}: statepipe worker --queue {mine}", queue=mine)]
