"""
Events that are sent to instances: kept until the wait they are for, taken once.

    send        write one down, and wake the instance if it waits for it; one transaction
    deliver     the same inside the caller's transaction
    refuse_ended    who takes no events any more
    first       the oldest that an instance has not taken, of some events
    late_ones   those that came too late, and what was emitted too late for an instance
    kept        the names of all that it has not taken
    encoded     the parameters of an event as the store keeps them
    take        it was taken, in the transaction of the move that answers it
    awaited     the events that a stored definition waits for, by state
    asking      what does part of an instance's work and rests for events

Sending moves the instance's seq, as every row of its journal does. So whoever drives it and
decided without the signal is refused by the committer, reads the row again and sees it: a
signal cannot fall between a look at what was sent and the commit by which the wait begins.
"""

import json
import shlex
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from statepipe.errors import BadParameter, NotFound, Refused
from statepipe.model import Status
from statepipe.sqlite import sqlite3
from statepipe.store.codec import encode
from statepipe.store.file.connection import Store
from statepipe.store.walk.children import BELOW
from statepipe.store.walk.claims import not_found
from statepipe.store.walk.interventions import JOURNAL_OF_STEERING
from statepipe.suggest import did_you_mean

#: Of the parameters of one signal, encoded: they become part of the checkpoint.
BYTES_MAX: Final = 65_536
#: How many an instance may have that it has not taken.
KEPT_MAX: Final = 1_000

_FIND = """
SELECT i.n, i.status, i.state, i.request, d.machine, d.body
  FROM instance i
  JOIN definition d ON d.n = i.definition
 WHERE i.id = ?
"""

#: Who drives it, or waits to try again, is not disturbed; who waits for this event is woken.
WAKE = """
UPDATE instance
   SET seq           = seq + 1,
       wake_at_ms    = iif(:wakes, NULL, wake_at_ms),
       wake_delay_ms = iif(:wakes, NULL, wake_delay_ms),
       wake_boot_ms  = iif(:wakes, NULL, wake_boot_ms),
       wake_boot_id  = iif(:wakes, NULL, wake_boot_id),
       updated_at_ms = :now_ms,
       change        = 'request'
 WHERE n = :n
RETURNING seq
"""

_INSERT = """
INSERT INTO signal (instance, seq, event, params, reason, sent_at_ms)
VALUES (:n, :seq, :event, :params, :reason, :now_ms)
"""

_LATE = """
INSERT INTO late_event (instance, generation, event, params, reason, sent_at_ms, became)
SELECT n, generation, :event, :params, :reason, :now_ms, :became FROM instance WHERE n = :n
"""

_ENDED = """
SELECT 1
  FROM journal j
  JOIN instance i ON i.n = j.instance AND i.generation = j.generation
 WHERE j.instance = ? AND j.kind = 'move' AND j.source IN ({states})
 LIMIT 1
"""

_FIRST = """
SELECT n, event, params, reason
  FROM signal
 WHERE instance = ? AND taken_seq IS NULL AND event IN ({events})
 ORDER BY n
 LIMIT 1
"""

_LATE_ONES = """
SELECT event, key, generation, sent_at_ms, became
  FROM late_event
 WHERE instance = ?
 ORDER BY n
"""

# A child machine may have one of its own. A dataset is nobody's to send.
_ASKING = f"""
{BELOW.format(parents=":n")}
SELECT id, n, events
  FROM (SELECT i.id, i.n, json_extract(d.body, '$.states."' || i.state || '".task.wait') AS events,
               json_extract(d.body, '$.states."' || i.state || '".task.dataset') AS dataset
          FROM below b
          JOIN instance i ON i.n = b.n
          JOIN definition d ON d.n = i.definition
         WHERE i.status = 'ready' AND i.worker IS NULL AND i.wake_at_ms IS NOT NULL)
 WHERE events <> '[]' AND dataset IS NULL
 ORDER BY n
"""  # noqa: S608  (made of constants)

_KEPT = "SELECT event FROM signal WHERE instance = ? AND taken_seq IS NULL ORDER BY n"
_COUNT = "SELECT count(*) FROM signal WHERE instance = ? AND taken_seq IS NULL"
_TAKE = "UPDATE signal SET taken_seq = ? WHERE n = ? AND taken_seq IS NULL"


class Signal(NamedTuple):
    """What somebody sent; `params` are encoded by the codec."""

    n: int
    event: str
    params: bytes
    reason: str | None


class Late(NamedTuple):
    """An event that came too late for an instance; `key` is None if it was sent to it alone."""

    event: str
    key: str | None
    generation: int
    at_ms: int
    became: str

    @property
    def told(self) -> str:
        """What people call it."""
        return self.event if self.key is None else f"{self.event} of {self.key}"


class Asking(NamedTuple):
    """What does part of an instance's work and rests for one of `events`."""

    id: str
    n: int
    events: tuple[str, ...]


class Sent(NamedTuple):
    """
    Where a signal was written down: the journal's row, and whether it is waited for now.

    `late` says what became of one that came too late for the instance to keep it: nothing of
    the instance moved then, and `seq` is 0. Else None.
    """

    instance: int
    seq: int
    is_awaited: bool
    late: str | None = None


def send(
    store: Store,
    instance_id: str,
    event: str,
    params: Mapping[str, Any],
    *,
    reason: str | None,
    late: str = "accept",
) -> Sent:
    """
    Write down that `event` was sent to an instance; it takes it in the wait that is for it.

    One that comes after a wait for it has ended, while none goes on, is late: `late` says what
    becomes of it, "accept", "quarantine" or "drop".

    Raises:
        NotFound: No such instance, or no wait of its machine is for such an event; what does part
            of its work may rest for it, and is named then.
        Refused: It has finished, is about to be cancelled, or was sent too many.
        ValueRefused: The parameters are no plain data.
        BadParameter: They are too large.
    """
    given = encoded(event, params)
    with store.write() as connection:
        row = connection.execute(_FIND, (instance_id,)).fetchone()
        if row is None:
            raise not_found(connection, instance_id)
        n, status, state, asked, machine, body = row
        waits = awaited(json.loads(body))
        _refuse_unknown(connection, n, event, waits, machine=machine)
        facts = {
            "n": n,
            "event": event,
            "params": given,
            "reason": reason,
            "wakes": event in waits.get(state, ()),
            "now_ms": store.clock.now_ms(),
        }
        if late != "accept" and _is_late(connection, facts, waits):
            kept = given if late == "quarantine" else None
            connection.execute(_LATE, {**facts, "params": kept, "became": late})
            return Sent(n, 0, is_awaited=False, late=late)
        refuse_ended(instance_id, "about to be cancelled" if asked == "cancel" else status)
        _refuse_many(connection, n, instance_id)
        return deliver(connection, facts, state=state)


def deliver(connection: sqlite3.Connection, facts: Mapping[str, Any], *, state: str) -> Sent:
    """
    Write down an event that was sent to an instance in `state`, inside the caller's transaction.

    `facts` are its `n`, the `event`, `params` as `encoded`, a `reason` or None, `wakes`: if the
    instance rests for it, and `now_ms`.
    """
    n, event, reason = facts["n"], facts["event"], facts["reason"]
    ((seq,),) = connection.execute(WAKE, facts).fetchall()
    note = event if reason is None else f"{event}: {reason}"
    said = {"n": n, "event": "signal", "source": state, "note": note}
    connection.execute(JOURNAL_OF_STEERING, said)
    connection.execute(_INSERT, {**facts, "seq": seq})
    return Sent(n, seq, facts["wakes"])


def encoded(event: str, params: Mapping[str, Any]) -> bytes:
    """
    Return what goes with an event as the store keeps it.

    Raises:
        ValueRefused, BadParameter: As `send`.
    """
    given = encode(dict(params))
    if len(given) > BYTES_MAX:
        raise BadParameter(
            f"the parameters of {event!r} take {len(given):,} bytes, more than {BYTES_MAX:,}",
            meaning="nothing was changed",
            next_step="put what is large where the tasks can read it, and send where that is",
        )
    return given


def first(connection: sqlite3.Connection, n: int, events: Collection[str]) -> Signal | None:
    """Return the oldest of `events` that instance number `n` was sent and has not taken."""
    sql = _FIRST.format(events=", ".join("?" * len(events)))
    row = connection.execute(sql, (n, *events)).fetchone()
    return None if row is None else Signal(*row)


def kept(connection: sqlite3.Connection, n: int) -> tuple[str, ...]:
    """Return the events that an instance was sent and has not taken, the oldest first."""
    return tuple(event for (event,) in connection.execute(_KEPT, (n,)))


def late_ones(connection: sqlite3.Connection, n: int) -> tuple[Late, ...]:
    """Return the events that came too late for an instance to be kept, the oldest first."""
    return tuple(Late(*row) for row in connection.execute(_LATE_ONES, (n,)))


def take(connection: sqlite3.Connection, n: int, *, seq: int) -> None:
    """Note that signal number `n` was taken by the move `seq`, inside the caller's transaction."""
    taken = connection.execute(_TAKE, (seq, n)).rowcount
    assert taken == 1, "the fence of the move lets nobody take it twice"


def awaited(form: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the events that a definition in canonical form waits for, by state."""
    return {
        name: tuple(state["task"]["wait"])
        for name, state in form.get("states", {}).items()
        if "wait" in state.get("task", {})
    }


def asking(connection: sqlite3.Connection, n: int) -> list[Asking]:
    """Return what does part of the work of instance number `n`, at any depth, and awaits events."""
    rows = connection.execute(_ASKING, {"n": n})
    return [Asking(id_, number, tuple(json.loads(events))) for id_, number, events in rows]


def _refuse_unknown(
    connection: sqlite3.Connection,
    n: int,
    event: str,
    waits: Mapping[str, Collection[str]],
    *,
    machine: str,
) -> None:
    names = sorted({each for events in waits.values() for each in events})
    if event not in names:
        below = asking(connection, n)
        part = next((each.id for each in below if event in each.events), None)
        if part is not None:
            raise NotFound(
                f"machine {machine!r} waits for no event {event!r}; {part!r}, which does part of"
                " its work, does",
                meaning="nothing was changed",
                next_step=f"statepipe signal {shlex.quote(part)} {event}",
            )
        raise NotFound(
            f"machine {machine!r} waits for no event {event!r}{did_you_mean(event, names)}",
            meaning="nothing was changed",
            next_step=f"the events it waits for are {', '.join(names)}"
            if names
            else f"statepipe graph {machine}   # no state of it waits for an event",
        )


def _is_late(
    connection: sqlite3.Connection,
    facts: Mapping[str, Any],
    waits: Mapping[str, Collection[str]],
) -> bool:
    """Return True if a wait for the event has ended, since the last rewind, and none goes on."""
    if facts["wakes"]:
        return False
    states = [name for name, events in waits.items() if facts["event"] in events]
    sql = _ENDED.format(states=", ".join("?" * len(states)))
    return connection.execute(sql, (facts["n"], *states)).fetchone() is not None


def _refuse_many(connection: sqlite3.Connection, n: int, instance_id: str) -> None:
    if connection.execute(_COUNT, (n,)).fetchone()[0] >= KEPT_MAX:
        raise Refused(
            f"instance {instance_id!r} has {KEPT_MAX:,} events that it has not taken yet",
            meaning="nothing was changed; those are kept",
            next_step=f"statepipe why {shlex.quote(instance_id)}",
        )


def refuse_ended(instance_id: str, status: str) -> None:
    """Refuse an instance that takes no events any more: one that is neither ready nor paused."""
    if status in (Status.READY, Status.PAUSED):
        return
    resume = f"statepipe resume {shlex.quote(instance_id)}   # then send it again"
    raise Refused(
        f"instance {instance_id!r} is {'already ' * (status in Status.FINISHED)}{status}:"
        " it takes no events any more",
        meaning="nothing was changed",
        next_step=resume
        if status == Status.FAILED
        else f"statepipe inspect {shlex.quote(instance_id)}",
    )
