"""
The way an instance went, worked out from its journal.

    Step        what a journal row says of it
    Entry       one state it entered, with what it knew then
    entries     the way, without what resumes and rewinds have undone
"""

from collections.abc import Iterable
from typing import NamedTuple


class Entry(NamedTuple):
    """
    One state on the way an instance went.

    Attributes:
        state: The state it entered.
        seq: The journal's number of the move.
        generation: In which generation.
        picture: What it knew on entering, encoded; None is nothing.
    """

    state: str
    seq: int
    generation: int
    picture: bytes | None


class Step(NamedTuple):
    """The part of a journal row that tells where the instance went."""

    seq: int
    generation: int
    kind: str
    source: str
    target: str
    picture: bytes | None


def entries(steps: Iterable[Step]) -> list[Entry]:
    """
    Return the states an instance entered, oldest first, as they stand now.

    A resume takes back the failure, a rewind everything after the state it went to.
    """
    way: list[Entry] = []
    for step in steps:
        if step.kind in ("create", "move", "cancel"):
            known = way[-1].picture if way and step.picture is None else step.picture
            way.append(Entry(step.target, step.seq, step.generation, known))
        elif step.kind in ("resume", "rewind") and step.source != step.target:
            while way and way[-1].state != step.target:
                way.pop()
            assert way, "an instance goes back only to where it was"
        if step.kind == "rewind":
            way[-1] = way[-1]._replace(generation=step.generation)
    return way
