"""
What people do to a whole group; one transaction each, however many partitions it has.

    take_back   partitions go back to work, for whoever claims them
    cancel      all that have not ended
    pause       likewise
    about_to_pause  how many have been asked to, and have not yet
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from statepipe.model import Status
from statepipe.store import liveness
from statepipe.store.file.connection import Store
from statepipe.store.lookups.lookup import Found
from statepipe.store.walk import children, resuming
from statepipe.store.walk.asking import ASKED, Asked, ask
from statepipe.store.walk.children import Adoption
from statepipe.store.walk.claims import dead_workers
from statepipe.wishes import KILL

_NONE: Final[Mapping[int, Sequence[Adoption]]] = MappingProxyType({})

_NOW = """
SELECT n, status, state, failed_state, definition, worker
  FROM instance
 WHERE n = ? AND id = ?
"""

_MEMBERS = f"{ASKED} WHERE i.member_of = ? ORDER BY i.n"

_UNFINISHED = f"""{ASKED}
 WHERE i.member_of = ? AND i.status IN ('ready', 'paused')
 ORDER BY i.n
"""

_ABOUT_TO_PAUSE = """
SELECT count(*) FROM instance WHERE member_of = ? AND status = 'ready' AND request = 'pause'
"""


def take_back(
    store: Store,
    found: Sequence[Found],
    *,
    reason: str | None,
    definition: int | None,
    adopts: Mapping[int, Sequence[Adoption]] = _NONE,
) -> list[Found]:
    """
    Resume instances, each with a fresh budget, and leave them to whoever claims them.

    Args:
        store: The open store.
        found: Which, as they stood a moment ago; one that moved or was pruned since is left alone.
        reason: Why, for the journal.
        definition: Number of the definition to adopt, or None to keep their own.
        adopts: What goes on by other definitions below each, by its number; one below which
            something moved is left alone.

    Returns:
        Those that were taken back, with the seq they have now.
    """
    dead = dead_workers(store, me=None)
    taken = []
    with store.write() as connection:
        living = liveness.living(connection, dead=dead)
        for each in found:
            row = connection.execute(_NOW, (each.n, each.id)).fetchone()
            if row is None:
                continue
            *rests, worker = row
            if rests[1] != each.status or worker in living:
                continue
            below = adopts.get(each.n, ())
            if children.have_moved(connection, below):
                continue
            now = resuming.take_back(
                store,
                connection,
                tuple(rests),
                worker=None,
                reason=reason,
                definition=definition,
                adopts=below,
            )
            taken.append(each._replace(seq=now.seq, status=Status.READY))
    return taken


def cancel(store: Store, group: int, *, reason: str | None) -> tuple[list[str], list[str]]:
    """
    Cancel all unfinished partitions of a group.

    Returns:
        The ids of those that are cancelled, or are being cancelled, and of those whose driver
        was asked to; those that were asked before are in neither.
    """
    dead = dead_workers(store, me=None)
    done: list[str] = []
    asked: list[str] = []
    with store.write() as connection:
        for row in connection.execute(_UNFINISHED, (group,)).fetchall():
            found = Asked(*row)
            if found.request in ("cancel", KILL) or found.is_being_cancelled:
                continue
            at_ms = store.clock.now_ms()
            at_once = ask(connection, found, wish="cancel", dead=dead, reason=reason, at_ms=at_ms)
            (done if at_once else asked).append(found.id)
    return done, asked


def pause(
    store: Store, group: int, *, reason: str | None
) -> tuple[list[str], list[str], Counter[str]]:
    """
    Pause all unfinished partitions of a group.

    Returns:
        The ids of those that are paused, and of those whose driver was asked to; and of the
        others how many are left as they are, by what they are.
    """
    dead = dead_workers(store, me=None)
    done: list[str] = []
    asked: list[str] = []
    left: Counter[str] = Counter()
    with store.write() as connection:
        for row in connection.execute(_MEMBERS, (group,)).fetchall():
            found = Asked(*row)
            if (why := _not_to_pause(found)) is not None:
                left[why] += 1
                continue
            at_ms = store.clock.now_ms()
            at_once = ask(connection, found, wish="pause", dead=dead, reason=reason, at_ms=at_ms)
            (done if at_once else asked).append(found.id)
    return done, asked, left


def about_to_pause(store: Store, group: int) -> int:
    """Return how many partitions of a group were asked to pause, and have not come to it yet."""
    count: int = store.connection.execute(_ABOUT_TO_PAUSE, (group,)).fetchone()[0]
    return count


def _not_to_pause(found: Asked) -> str | None:
    """Return, for people, what a partition is that a pause of its group leaves as it is."""
    if found.status == Status.PAUSED:
        return "paused before"
    if found.status != Status.READY:
        return found.status
    if found.request is not None:
        return "about to pause" if found.request == "pause" else "about to be cancelled"
    return "being cancelled" if found.is_being_cancelled else None
