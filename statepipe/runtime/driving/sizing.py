"""
How many records a batch should hold now, where the policy lets the size adapt.

    size_of     the size by now
    after       the picture after a failure: half the size, if the other side cannot keep up
    recovered   the picture after a committed batch: a step back towards the policy's size

The size is `batch_size` of the policy, and never below its `batch_size_min`; without one it
does not adapt. It is remembered in the checkpoint by state, so a resume goes on with it.
"""

from typing import Final

from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.endings import Failure
from statepipe.runtime.picture import Picture

#: Failures, by class or base, that smaller batches may mend.
_TOO_MUCH: Final = frozenset({"Throttled", "TimeoutError"})

#: So many committed batches lead from nothing back to the policy's size.
_STEPS: Final = 20


def size_of(drive: Drive) -> int:
    """Return how many records a batch should hold, at least 1."""
    policy = drive.part.policy
    if policy.batch_size_min is None:
        return policy.batch_size
    known = drive.picture.sizes.get(drive.state, policy.batch_size)
    return min(policy.batch_size, max(policy.batch_size_min, known))


def after(drive: Drive, failure: Failure) -> Picture:
    """Return the picture after `failure`; the very same if the size stays as it is."""
    policy, now = drive.part.policy, size_of(drive)
    if policy.batch_size_min is None or _TOO_MUCH.isdisjoint(failure.names):
        return drive.picture
    return _with(drive, drive.picture, min(now, max(policy.batch_size_min, now // 2)))


def recovered(drive: Drive, picture: Picture) -> Picture:
    """Return `picture`, learned with a batch, with the size after it."""
    policy, now = drive.part.policy, size_of(drive)
    if policy.batch_size_min is None:
        return picture
    step = max(1, policy.batch_size // _STEPS)
    return _with(drive, picture, min(policy.batch_size, now + step))


def _with(drive: Drive, picture: Picture, size: int) -> Picture:
    if size == picture.sizes.get(drive.state, drive.part.policy.batch_size):
        return picture
    others = {state: known for state, known in picture.sizes.items() if state != drive.state}
    if size == drive.part.policy.batch_size:
        return picture._replace(sizes=others)
    return picture._replace(sizes={**others, drive.state: size})
