"""
May another instance be made: is there room, and is its key free?

    admit       what follows for some that are to be made; inside the caller's transaction
    admit_of    the same for some that are made of another one, which stays as it is
    judged      who is dead, for those that have others cancelled; before it
    crowd       how many are ready and driven by nobody, as far as it matters
    full        the refusal if they are too many

All is counted in the rows of the instances that are there, so nothing can leak. What does part
of another one's work was admitted with it, and is not counted.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from statepipe.errors import Busy, Refused
from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.walk.claims import dead_workers
from statepipe.terms import Terms

_READY: Final = """
SELECT count(*)
  FROM (SELECT 1
          FROM definition d
          JOIN instance i INDEXED BY instance_free ON i.definition = d.n
         WHERE d.machine = ?
           AND i.status = 'ready' AND i.worker IS NULL AND i.wake_at_ms IS NULL
           AND i.root IS NULL
         LIMIT ?)
"""

# Those that have begun, and those that will. One that is being cancelled has its key until that
# has ended, and need not be asked to.
_HAVE_KEY: Final = """
SELECT n, id, request IS 'cancel' OR failed_state IS NOT NULL
  FROM instance INDEXED BY instance_key_held
 WHERE concurrency_key IS NOT NULL AND status = 'ready' AND awaits_turn = 0
   AND concurrency_key = :key
 UNION ALL
SELECT n, id, failed_state IS NOT NULL
  FROM instance INDEXED BY instance_key_awaited
 WHERE awaits_turn = 1 AND status = 'ready' AND concurrency_key = :key
"""


class Admitted(NamedTuple):
    """
    What follows for those that are to be made.

    Attributes:
        taken_by: Id of the oldest that has the key, if nothing is to be made because of it.
        cancels: Numbers of those that are to be cancelled for it.
    """

    taken_by: str | None = None
    cancels: Sequence[int] = ()


def admit(
    connection: sqlite3.Connection, machine: str, keys: Sequence[str | None], terms: Terms
) -> Admitted:
    """
    Return what follows for instances of `machine` that are to be made, a key or None of each.

    Several at once wait for their turn, whatever the terms.

    Raises:
        Busy: As many are ready as may be; nothing was made.
    """
    if terms.ready_max is not None:
        there = crowd(connection, machine, most=terms.ready_max)
        if there + len(keys) > terms.ready_max:
            raise full(machine, there, more=len(keys), most=terms.ready_max)
    key = keys[0] if len(keys) == 1 else None
    if key is None or terms.limit is None or terms.behavior == "queue":
        return Admitted()
    have = sorted(connection.execute(_HAVE_KEY, {"key": key}))
    if terms.behavior == "skip":
        return Admitted(taken_by=have[0][1] if len(have) >= terms.limit else None)
    stays = terms.limit - 1
    going = have[: len(have) - stays] if len(have) > stays else []
    return Admitted(cancels=[n for n, _, is_asked in going if not is_asked])


def admit_of(
    connection: sqlite3.Connection,
    machine: str,
    keys: Sequence[str | None],
    terms: Terms,
    *,
    origin: tuple[int, str],
    meaning: str,
) -> Sequence[int]:
    """
    Return whom to cancel for instances of `machine` that are made of another one.

    Args:
        connection: Inside the caller's transaction.
        machine: The name of their machine.
        keys: As of `admit`.
        terms: As of `admit`.
        origin: Number and id of the other one, which is never cancelled for them.
        meaning: What a refusal means for the data.

    Raises:
        Refused: Their key is taken, and they are not to be made then.
        Busy: As `admit`.
    """
    n, name = origin
    admitted = admit(connection, machine, keys, terms)
    holder = name if n in admitted.cancels else admitted.taken_by
    if holder is not None:
        _, _, shown = (keys[0] or "").partition(":")
        raise Refused(
            f"the key {shown!r} of {machine!r} is taken by {holder!r}",
            meaning=meaning,
            next_step=f"statepipe wait {shlex.quote(holder)}   # then the same command again",
        )
    return admitted.cancels


def judged(store: Store, terms: Terms) -> Mapping[tuple[int, int], str]:
    """Return the dead workers, as of `claims.dead_workers`, if it matters on these terms."""
    return dead_workers(store, me=None) if terms.behavior == "cancel" else {}


def crowd(connection: sqlite3.Connection, machine: str, *, most: int) -> int:
    """Return how many of a machine are ready and driven by nobody, `most` if they are more."""
    there: int = connection.execute(_READY, (machine, most)).fetchone()[0]
    return there


def full(machine: str, there: int, *, more: int, most: int, made: int = 0) -> Busy:
    """Return the refusal of `more` instances of a machine; `made` before, of the same command."""
    return Busy(
        f"{there:,} instances of {machine!r} are ready and nobody drives them; with"
        f" {more:,} more they were more than ready_max = {most:,}",
        meaning=f"{made:,} were created" if made else "nothing was created",
        next_step=f"statepipe worker --machine {machine}   # drives them; or try again later",
    )
