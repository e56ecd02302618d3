"""
Callbacks: an event that an outside system sends by a token, once, to the state that waits next.

    expected    what one would bring
    call_back   write one down, unless its token was used; one transaction
    Standing    where the instance stands, for whoever judges the token
"""

import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from statepipe.errors import BadParameter, NotFound, Refused
from statepipe.sqlite import sqlite3
from statepipe.store.file.connection import Store
from statepipe.store.tokens import Pass
from statepipe.store.walk.claims import not_found
from statepipe.store.walk.signals import awaited, deliver, encoded, refuse_ended
from statepipe.suggest import did_you_mean

_FIND = """
SELECT i.n, i.status, i.request, i.state, i.generation, i.picture, d.body
  FROM instance i
  JOIN definition d ON d.n = i.definition
 WHERE i.id = ?
"""

_CAME_FROM = """
SELECT source
  FROM journal
 WHERE instance = ? AND kind = 'move' AND target = ?
 ORDER BY seq DESC
 LIMIT 1
"""

_STAY = "instance = :n AND generation = :generation AND state = :state AND visit = :visit"
_USED = f"""
SELECT s.seq, s.event, s.params
  FROM callback c
  JOIN signal s ON s.instance = c.instance AND s.seq = c.seq
 WHERE {_STAY.replace("instance", "c.instance")}
"""  # noqa: S608  (our own text)
_REPEATED = f"UPDATE callback SET repeats = repeats + 1 WHERE {_STAY}"  # noqa: S608  (made of constants)
_USE = """
INSERT INTO callback (instance, generation, state, visit, seq)
VALUES (:n, :generation, :state, :visit, :seq)
"""


class Standing(NamedTuple):
    """Where an instance stands; `form` is its definition, `came_from` the state before."""

    state: str
    generation: int
    came_from: str | None
    picture: bytes | None
    form: Mapping[str, Any]
    waits: Mapping[str, tuple[str, ...]]


class Called(NamedTuple):
    """What a callback did: which event it brought, and whether it had brought it before."""

    instance: str
    event: str
    is_awaited: bool
    is_repeated: bool
    n: int
    seq: int


#: From a token and a standing to the events that may be brought; Refused if the token is stale.
Judge = Callable[[Pass, Standing], tuple[str, ...]]


def call_back(
    store: Store,
    whose: Pass,
    event: str | None,
    params: Mapping[str, Any],
    *,
    reason: str | None,
    judge: Judge,
) -> Called:
    """
    Write down that an outside system called back; the first time counts.

    Args:
        store: The open store.
        whose: What its token names.
        event: What it says; None if only one thing can be said.
        params: What goes with it.
        reason: Why, for the journal.
        judge: Tells which events it may bring.

    Raises:
        NotFound: The instance is gone, or the wait is for no such event.
        Refused: The token is stale or was used for something else, or the instance has ended.
        BadParameter: There are several events, and it names none; or its parameters are too large.
        ValueRefused: Those are no plain data.
    """
    given = encoded(event or "callback", params)
    with store.write() as connection:
        n, used = _found(connection, whose)
        stay = {"n": n, **whose._asdict()}
        if used is not None:
            return _again(connection, stay, used, event=event, given=given)
        standing = _standing(connection, whose)
        said = _chosen(event, judge(whose, standing))
        facts = {
            "n": n,
            "event": said,
            "params": given,
            "reason": reason or f"called back for {whose.state}",
            "wakes": said in standing.waits.get(standing.state, ()),
            "now_ms": store.clock.now_ms(),
        }
        sent = deliver(connection, facts, state=standing.state)
        connection.execute(_USE, {**stay, "seq": sent.seq})
    return Called(whose.instance, said, sent.is_awaited, is_repeated=False, n=n, seq=sent.seq)


def expected(
    store: Store, whose: Pass, event: str | None, *, judge: Judge
) -> tuple[str, str] | None:
    """
    Return the machine, and the event that a callback would bring it; None if it was brought.

    Raises as `call_back`, which looks again.
    """
    connection = store.connection
    if _found(connection, whose)[1] is not None:
        return None
    standing = _standing(connection, whose)
    return standing.form["machine"], _chosen(event, judge(whose, standing))


def _found(
    connection: sqlite3.Connection, whose: Pass
) -> tuple[int, tuple[int, str, bytes] | None]:
    """Return the instance's number, and what its token was used for."""
    row = connection.execute(_FIND, (whose.instance,)).fetchone()
    if row is None:
        raise not_found(connection, whose.instance)
    stay = {"n": row[0], **whose._asdict()}
    return row[0], connection.execute(_USED, stay).fetchone()


def _standing(connection: sqlite3.Connection, whose: Pass) -> Standing:
    n, status, asked, state, generation, picture, body = connection.execute(
        _FIND, (whose.instance,)
    ).fetchone()
    refuse_ended(whose.instance, "about to be cancelled" if asked == "cancel" else status)
    came_from = connection.execute(_CAME_FROM, (n, state)).fetchone()
    form = json.loads(body)
    before = came_from and came_from[0]
    return Standing(state, generation, before, picture, form, awaited(form))


def _again(
    connection: sqlite3.Connection,
    stay: Mapping[str, Any],
    used: tuple[int, str, bytes],
    *,
    event: str | None,
    given: bytes,
) -> Called:
    """Count a token that comes again with what it brought; refuse it with anything else."""
    seq, said, params = used
    if event not in (None, said) or given != params:
        raise Refused(
            f"the token was used before, to tell {stay['instance']!r} of {said!r}, with other"
            " parameters or another event",
            meaning="nothing was changed; what was said first stays",
            next_step=f"statepipe history {shlex.quote(stay['instance'])}",
        )
    connection.execute(_REPEATED, stay)
    return Called(stay["instance"], said, is_awaited=False, is_repeated=True, n=stay["n"], seq=seq)


def _chosen(event: str | None, events: tuple[str, ...]) -> str:
    listed = ", ".join(events)
    if event is None:
        if len(events) > 1:
            raise BadParameter(
                f"the wait is for one of {listed}, and the callback names none",
                meaning="nothing was changed; the token can still be used",
                next_step=f"statepipe callback TOKEN {events[0]}",
            )
        return events[0]
    if event not in events:
        raise NotFound(
            f"the wait is for no event {event!r}{did_you_mean(event, events)}",
            meaning="nothing was changed; the token can still be used",
            next_step=f"the events it is for are {listed}",
        )
    return event
