"""
What people ask of an instance that may still go on: one transaction each.

    request     cancel, kill or pause one by its id
    ask         the same inside the caller's transaction
    ask_now     the same of one that nobody drives
    make_way    cancel those that have the key of a new one, inside its transaction

An instance that a live process drives is not changed under it: the wish is written into
`request`, which moves seq, so that the driver's next commit is refused as stale, it reads the
row again and honours the wish. The order of transactions decides between done and cancelled.

One that has failed is cancelled like one that rests: it is done with, and what it has left outside
is cleaned.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from statepipe.errors import Refused
from statepipe.model import CANCELLED_STATE, Status
from statepipe.sqlite import sqlite3
from statepipe.store import liveness
from statepipe.store.file.connection import Store
from statepipe.store.metrics.counters import Counters
from statepipe.store.walk import children
from statepipe.store.walk.claims import (
    dead_workers,
    load_checkpoint,
    not_found,
)
from statepipe.store.walk.interventions import ASK, ASKED_FOR, JOURNAL_OF_STEERING, TAKE_OVER
from statepipe.wishes import CANCELLING_STATE, KILL, Wish

#: What `Asked` is made of.
ASKED = f"""
SELECT i.n, i.id, i.status, i.state, i.failed_state, i.worker,
       {ASKED_FOR}, json_extract(d.body, '$.on_cancel') IS NOT NULL
  FROM instance i
  JOIN definition d ON d.n = i.definition
"""  # noqa: S608  (made of constants)

_CANCEL = f"""
UPDATE instance
   SET {TAKE_OVER},
       status         = 'cancelled',
       failed_state   = coalesce(failed_state, state),
       state          = :cancelled,
       worker         = NULL,
       entered_at_ms  = :now_ms,
       finished_at_ms = :now_ms,
       change         = 'cancel'
 WHERE n = :n
"""  # noqa: S608  (made of constants)

# For whoever claims it: the work of its `on_cancel` is done like any other. One that has failed or
# rested had no key; it waits for its turn, and others may have it until then.
_BEGIN_CANCELLING = f"""
UPDATE instance
   SET {TAKE_OVER},
       status         = 'ready',
       failed_state   = coalesce(failed_state, state),
       state          = :cancelling,
       attempt        = 0,
       lost           = 0,
       worker         = NULL,
       awaits_turn    = iif(status = 'ready', awaits_turn, concurrency_key IS NOT NULL),
       error_class    = NULL,
       error          = NULL,
       entered_at_ms  = :now_ms,
       finished_at_ms = NULL,
       change         = 'cancel'
 WHERE n = :n
"""  # noqa: S608  (made of constants)

_PAUSE = f"""
UPDATE instance
   SET {TAKE_OVER},
       status        = 'paused',
       worker        = NULL,
       change        = 'pause'
 WHERE n = :n
"""  # noqa: S608  (made of constants)


def request(store: Store, *, instance_id: str, wish: Wish, reason: str | None) -> bool:
    """
    Cancel, kill or pause an instance; return True if it is done, False if its driver was asked to.

    A cancel is done, too, if the work of `on_cancel` is left to whoever claims the instance.

    Raises:
        NotFound: No such instance.
        Refused: It is done or cancelled, is about to be, or is being cancelled; or it has failed
            and is to be paused.
    """
    dead = dead_workers(store, me=None)
    with store.write() as connection:
        found = _asked(connection, "id", instance_id)
        if found is None:
            raise not_found(connection, instance_id)
        at_ms = store.clock.now_ms()
        return ask(connection, found, wish=wish, dead=dead, reason=reason, at_ms=at_ms)


class Asked(NamedTuple):
    """An instance that somebody asks something of."""

    n: int
    id: str
    status: str
    state: str
    failed_state: str | None
    holder: int | None
    request: str | None
    cleans: bool  # its machine has an `on_cancel`

    @property
    def is_being_cancelled(self) -> bool:
        """True while its `on_cancel` is due or runs."""
        return self.status == Status.READY and self.failed_state is not None


def ask_now(connection: sqlite3.Connection, n: int, *, wish: Wish, reason: str, at_ms: int) -> None:
    """Cancel, kill or pause one that nobody drives, inside the caller's transaction."""
    found = _asked(connection, "n", n)
    assert found is not None, "it was just looked at"
    assert found.holder is None, "nobody drives it"
    ask(connection, found, wish=wish, dead={}, reason=reason, at_ms=at_ms)


def make_way(
    connection: sqlite3.Connection,
    numbers: Sequence[int],
    *,
    by: str,
    dead: Mapping[tuple[int, int], str],
    at_ms: int,
) -> dict[str, bool]:
    """Cancel those that have the key of `by`; return their ids, and whether that is done."""
    done = {}
    for n in numbers:
        found = _asked(connection, "n", n)
        assert found is not None, "it was just counted"
        note = f"{by} has its key"
        done[found.id] = ask(connection, found, wish="cancel", dead=dead, reason=note, at_ms=at_ms)
    return done


def ask(
    connection: sqlite3.Connection,
    found: Asked,
    *,
    wish: Wish,
    dead: Mapping[tuple[int, int], str],
    reason: str | None,
    at_ms: int,
) -> bool:
    """Do as `request`, inside the caller's transaction."""
    if (refusal := _refusal(found, wish)) is not None:
        raise refusal
    driven = found.holder is not None and found.holder in liveness.living(connection, dead=dead)
    cleans = wish == "cancel" and found.cleans
    done = _PAUSE if wish == "pause" else _BEGIN_CANCELLING if cleans else _CANCEL
    facts = {
        "n": found.n,
        "now_ms": at_ms,
        "wish": wish,
        "cancelled": CANCELLED_STATE,
        "cancelling": CANCELLING_STATE,
    }
    connection.execute(ASK if driven else done, facts)
    connection.execute(
        JOURNAL_OF_STEERING, {"n": found.n, "event": wish, "source": found.state, "note": reason}
    )
    if wish != "pause" and not driven:
        _count_cancel(connection, found, event=wish, at_ms=at_ms)
    if not driven:  # its driver asks them, with the change by which it obeys
        left = [each.n for each in children.unfinished(connection, found.n)]
        if wish == "cancel" and found.status == Status.FAILED:
            left += children.failed(connection, found.n)
        for n in left:
            child = _asked(connection, "n", n)
            if child is not None and _refusal(child, wish) is None:
                ask(connection, child, wish=wish, dead=dead, reason=reason, at_ms=at_ms)
    return not driven


def _asked(connection: sqlite3.Connection, column: str, value: int | str) -> Asked | None:
    row = connection.execute(f"{ASKED} WHERE i.{column} = ?", (value,)).fetchone()
    return row and Asked(*row)


def _refusal(found: Asked, wish: Wish) -> Refused | None:
    """Return why the wish would be in vain; None if it would not."""
    if found.status == Status.FAILED and wish != "pause":
        return None
    if found.status in Status.FINISHED or found.status == Status.PAUSED == wish + "d":
        return Refused(
            f"instance {found.id!r} is already {found.status}",
            meaning="nothing was changed",
            next_step=f"statepipe inspect {shlex.quote(found.id)}",
        )
    if wish == KILL:
        return None
    if found.request in ("cancel", KILL) and found.request != wish:
        # What was promised to one is not undone by another.
        return Refused(
            f"instance {found.id!r} is about to be cancelled",
            meaning="nothing was changed; it ends at its next boundary",
            next_step=f"statepipe inspect {shlex.quote(found.id)}",
        )
    return being_cancelled(found.id) if found.is_being_cancelled else None


def being_cancelled(instance_id: str) -> Refused:
    """Return the refusal of what cannot be done while an `on_cancel` is due or runs."""
    return Refused(
        f"instance {instance_id!r} is being cancelled: its on_cancel runs, or is about to",
        meaning="nothing was changed; it ends when that has ended",
        next_step=f"statepipe resume {shlex.quote(instance_id)}"
        "   # runs it here; or kill, which leaves it out",
    )


def _count_cancel(connection: sqlite3.Connection, found: Asked, *, event: str, at_ms: int) -> None:
    now = load_checkpoint(connection, found.n)
    counters = Counters()
    counters.transition(now.machine, found.state, event, now.state)
    if now.status == Status.CANCELLED:
        counters.finished(
            now.machine,
            Status.CANCELLED,
            instance=now.n,
            at_ms=at_ms,
            lived_ms=max(0, at_ms - now.created_at_ms),
        )
    counters.write(connection)
