"""
One word for how a machine is doing, the worst first.

    health      the word
    HEALTHS     all of them, in the order of how much they matter
"""

from typing import Final, Literal, get_args

from statepipe.store.questions.fleet import Doing

#: A dead process left some behind; some wait and no process lives; some failed within the
#: window; none did, and some ended or are driven; nothing happens.
Health = Literal["stalled", "unattended", "failing", "ok", "idle"]

HEALTHS: Final[tuple[Health, ...]] = get_args(Health)


def health(doing: Doing, *, drivers: int) -> Health:
    """
    Return how a machine is doing.

    Args:
        doing: What is known of it.
        drivers: How many processes that drive instances are alive.
    """
    if doing.stalled:
        return "stalled"
    if doing.ready and not drivers:
        return "unattended"
    if doing.finished.failed:
        return "failing"
    return "ok" if doing.driven or doing.finished.done else "idle"
