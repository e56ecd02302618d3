"""
What people ask of an instance that has not ended, and the words it leaves.

    Wish                what may be asked
    KILL                the event of an end by force
    CANCELLING_STATE    where an instance is while its machine's `on_cancel` is due or runs
"""

from typing import Final, Literal

Wish = Literal["cancel", "kill", "pause"]

KILL: Final = "kill"
CANCELLING_STATE: Final = "cancelling"
