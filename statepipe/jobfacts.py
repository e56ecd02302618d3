"""
Jobs that are done elsewhere, as a commit carries them.

    JobFact     what a change says of the job of its instance
"""

from typing import NamedTuple


class JobFact(NamedTuple):
    """What a change says of the job that its instance has elsewhere; see `store.walk.jobs`."""

    handle: bytes | None = None  # it was submitted, and this is its name; None: it was polled
    can_stop: bool = False
    boot_ms: int = 0  # when, by the boot clock
    boot_id: str = ""
    over: bool = False  # it has ended
    stopping: bool = False  # nobody waits for it any longer
