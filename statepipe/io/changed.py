"""
What every source says when a cursor is not one of what it reads now.

    changed     the error, with what to do about it
"""

from statepipe.errors import Fatal


def changed(what: str, reason: str, *, remedy: str, it: str = "it") -> Fatal:
    """
    Return the error that `what` is something else than before.

    Args:
        what: What is read.
        reason: How that is known.
        remedy: What to do to go on; the other way out is to rewind.
        it: The word for `what`.
    """
    return Fatal(
        f"{what} is not what this instance began to read: {reason}; batches read before are safe."
        f" {remedy}, or rewind to the state that reads {it}, to read {it} from the start"
    )
