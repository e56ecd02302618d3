"""
An instance that is being cancelled, when it is claimed: what works for it ends first.

    turn        its rest, while children have not ended; None if its `on_cancel` may begin

The end of a child wakes it, as it wakes a parent whose work it does.
"""

from typing import Final

from statepipe.model import Change
from statepipe.runtime.driving import resting
from statepipe.runtime.driving.drive import Drive
from statepipe.store.file.connection import Store
from statepipe.store.walk import children

#: It looks at its children so often, whatever wakes it.
_LOOK_MS: Final = 24 * 3_600_000


def turn(drive: Drive, store: Store) -> Change | None:
    """Return the rest of an instance whose children have not ended; None if all have."""
    if not drive.program.children:
        return None
    left = children.unfinished(store.connection, drive.n)
    if not left:
        return None
    names = ", ".join(each.id for each in left[:3])
    return resting.rest(drive, _LOOK_MS, note=f"for the end of {names}", clock=store.clock)
