"""
The way an instance went, worked out from its journal.

    Passage        what a journal row says of it
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


class Passage(NamedTuple):
    """The part of a journal row that tells where the instance went."""

    seq: int
    generation: int
    kind: str
    source: str
    target: str
    picture: bytes | None


def entries(passages: Iterable[Passage]) -> list[Entry]:
    """
    Return the states an instance entered, oldest first, as they stand now.

    A resume takes back the failure, a rewind everything after the state it went to.
    """
    way: list[Entry] = []
    for passage in passages:
        if passage.kind in ("create", "move", "cancel"):
            known = way[-1].picture if way and passage.picture is None else passage.picture
            way.append(Entry(passage.target, passage.seq, passage.generation, known))
        elif passage.kind in ("resume", "rewind") and passage.source != passage.target:
            while way and way[-1].state != passage.target:
                way.pop()
            assert way, "an instance goes back only to where it was"
        if passage.kind == "rewind":
            way[-1] = way[-1]._replace(generation=passage.generation)
    return way
