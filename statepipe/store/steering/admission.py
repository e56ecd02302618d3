"""
May another instance be made: is there room, and is its key free?

    Terms       on which instances of one machine are made
    admit       what follows for some that are to be made; inside the caller's transaction

All is counted in the rows of the instances that are there, so nothing can leak.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from statepipe.errors import Busy
from statepipe.sharing import Behavior
from statepipe.sqlite import sqlite3

_READY = """
SELECT count(*)
  FROM (SELECT 1
          FROM instance i
          JOIN definition d ON d.n = i.definition
         WHERE i.status = 'ready' AND i.worker IS NULL AND i.wake_at_ms IS NULL
           AND d.machine = ?
         LIMIT ?)
"""

# Those that have begun, and those that will.
_HAVE_KEY = """
SELECT n, request IS 'cancel'
  FROM instance INDEXED BY instance_key_held
 WHERE concurrency_key IS NOT NULL AND status = 'ready' AND awaits_turn = 0
   AND concurrency_key = :key
 UNION ALL
SELECT n, 0
  FROM instance INDEXED BY instance_key_awaited
 WHERE awaits_turn = 1 AND status = 'ready' AND concurrency_key = :key
"""


class Terms(NamedTuple):
    """
    On what terms instances of a machine are made.

    Attributes:
        limit: How many may have one key at a time; None for any number.
        behavior: What becomes of one more.
        ready_max: How many may be ready and driven by nobody; None for any number.
    """

    limit: int | None = None
    behavior: Behavior = "queue"
    ready_max: int | None = None


ANY: Final = Terms()


class Admitted(NamedTuple):
    """
    What follows for those that are to be made.

    Attributes:
        skipped: True if nothing is to be made.
        cancels: Numbers of those that are to be cancelled for it.
    """

    skipped: bool = False
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
        _refuse_full(connection, machine, len(keys), terms.ready_max)
    key = keys[0] if len(keys) == 1 else None
    if key is None or terms.limit is None or terms.behavior == "queue":
        return Admitted()
    have = sorted(connection.execute(_HAVE_KEY, {"key": key}))
    if terms.behavior == "skip":
        return Admitted(skipped=len(have) >= terms.limit)
    stays = terms.limit - 1
    going = have[: len(have) - stays] if len(have) > stays else []
    return Admitted(cancels=[n for n, is_asked in going if not is_asked])


def _refuse_full(connection: sqlite3.Connection, machine: str, more: int, most: int) -> None:
    (there,) = connection.execute(_READY, (machine, most)).fetchone()
    if there + more > most:
        raise Busy(
            f"{there:,} instances of {machine!r} are ready and nobody drives them; with"
            f" {more:,} more they were more than ready_max = {most:,}",
            meaning="nothing was created",
            next_step=f"statepipe worker --machine {machine}   # drives them; or try again later",
        )
