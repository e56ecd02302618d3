"""
What an instance has learned by a move.

    learned     its picture after it
"""

from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.endings import Ended
from statepipe.runtime.picture import Picture
from statepipe.store.codec import decode


def learned(drive: Drive, ended: Ended, target: str) -> Picture:
    """Return the picture after the move: the new result, visit counts, and the input."""
    before = drive.picture
    table = drive.program.table
    source = drive.state
    counts = table.counts(source, ended.event, target)
    if ended.value is None and not ended.produced and not counts:
        return before
    results = before.results
    if ended.value is not None:
        results = {**results, source: decode(ended.value)}
    visits = dict(before.visits)
    counted = table.counted(source, ended.event, target)
    if counted is not None:
        visits[counted] = visits.get(counted, 0) + 1
    if target in table.cyclic_states:
        # The initial state is entered by no move: its first visit is not counted.
        seen = visits.get(target, 1 if target == table.machine.initial else 0)
        visits[target] = seen + 1
    given = drive.stay if ended.produced else before.input
    return before._replace(results=results, visits=visits, input=given)
