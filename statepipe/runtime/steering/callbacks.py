"""
Whether a token still lets its bearer call back, and with which events.

    allowed     of an instance that stands somewhere
"""

import shlex

from statepipe.errors import Refused
from statepipe.runtime.picture import Picture
from statepipe.store.tokens import Pass
from statepipe.store.walk.callbacks import Standing


def allowed(whose: Pass, known: Standing) -> tuple[str, ...]:
    """
    Return the events that the bearer of a token may bring: those that the next state waits for.

    That is the state the instance is in, if it came there from the token's own; or one that
    follows, if it is still in that.

    Raises:
        Refused: The instance is in neither: it has moved on, was put back, or came by again.
    """
    visit = Picture.read(known.picture).visit(whose.state)
    if known.generation != whose.generation:
        raise _stale(whose, "was put back since")
    if visit != whose.visit:
        raise _stale(whose, f"has come to {whose.state} again since")
    if known.state == whose.state:
        on = known.form["states"].get(whose.state, {}).get("on", {})
        targets = [choice["to"] for choices in on.values() for choice in choices]
        events = [event for each in targets for event in known.waits.get(each, ())]
        if events:
            return tuple(dict.fromkeys(events))
    elif known.came_from == whose.state and known.waits.get(known.state):
        return known.waits[known.state]
    raise _stale(whose, f"is in {known.state} by now")


def _stale(whose: Pass, why: str) -> Refused:
    return Refused(
        f"the token is stale: {whose.instance!r} {why}",
        meaning="nothing was changed",
        next_step=f"statepipe history {shlex.quote(whose.instance)}",
    )
