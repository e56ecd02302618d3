"""
A paused instance goes on, with whoever claims it.

    unpause             it is ready again, with a fresh budget
    refuse_unpaused     one that is not paused
    none_paused         the refusal of a group of which none is
"""

import shlex

from statepipe.errors import Refused
from statepipe.model import Status
from statepipe.store.file.connection import Store
from statepipe.store.lookups.lookup import Found
from statepipe.store.steering import regrouping


def unpause(store: Store, found: Found, *, reason: str | None) -> Found:
    """
    Let a paused instance go on; return it as it is now.

    Raises:
        Refused: It is not paused, or not any more.
    """
    refuse_unpaused(found.id, found.status)
    taken = regrouping.take_back(store, [found], reason=reason, definition=None)
    if not taken:
        raise Refused(
            f"instance {found.id!r} moved meanwhile",
            meaning="nothing was changed",
            next_step=f"statepipe inspect {shlex.quote(found.id)}",
        )
    return taken[0]


def refuse_unpaused(instance_id: str, status: str) -> None:
    """
    Refuse an instance that is not paused.

    Raises:
        Refused: It is not; the message says what it is.
    """
    if status == Status.PAUSED:
        return
    leads = "resume" if status in (Status.FAILED, Status.CANCELLED) else "inspect"
    raise Refused(
        f"instance {instance_id!r} is {status}, not paused",
        meaning="nothing was changed",
        next_step=f"statepipe {leads} {shlex.quote(instance_id)}",
    )


def none_paused(group_id: str) -> Refused:
    """Return the refusal of a group none of whose partitions is paused."""
    return Refused(
        f"no partition of group {group_id!r} is paused",
        meaning="nothing was changed",
        next_step=f"statepipe inspect {shlex.quote(group_id)}",
    )
