"""
A state that waits, when its instance is claimed: it moves on, or is put to rest until then.

    turn        what an instance in such a state does now
    Turn        the change it makes, and the rows that go with it

While it waits nobody drives it: it is a row with a timer, and costs nothing. A signal clears
the timer, which makes it ready; so does its time. Whoever claims it then looks here again.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from statepipe.clock import Clock
from statepipe.machine.events import ACCEPT, rule_of
from statepipe.machine.states.waits import Wait
from statepipe.model import ERROR, OK, TIMEOUT, Attachment, Change
from statepipe.runtime.driving import resting
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.endings import Ended, Failure
from statepipe.store.codec import encode
from statepipe.store.file.connection import Store
from statepipe.store.walk import datasets, emissions, signals
from statepipe.units import format_duration


class Turn(NamedTuple):
    """A change, ready to commit, and the rows that go with it."""

    change: Change
    attachment: Attachment | None


def turn(drive: Drive, store: Store, *, worker: int) -> Turn:
    """
    Return the move by the oldest event that is there, or by the time; without either, a rest.

    An event that was committed before the time was noticed to be up wins over it.
    """
    events = drive.part.call["events"]
    signal = signals.first(store.connection, drive.n, events) if events else None
    if signal is not None:
        said = f": {signal.reason}" if signal.reason else ""
        ended = _ended(signal.event, signal.params, f"somebody sent it{said}")
        return _moved(drive, ended, worker=worker, clock=store.clock, takes=signal.n)
    key_of = drive.part.call["key_of"]
    key = "" if key_of is None else key_of(drive.params)
    if (dataset := drive.part.call["dataset"]) is not None:
        if (there := datasets.found(store.connection, dataset, key)) is not None:
            note = f"{datasets.told(dataset, key)} is there"
            return _moved(drive, _ended(OK, encode(there), note), worker=worker, clock=store.clock)
        events = (dataset,)
    fact = emissions.first(store.connection, key, events, drive.n) if key else None
    if fact is not None:
        said = f": {fact.reason}" if fact.reason else ""
        ended = _ended(fact.event, fact.params, f"it was emitted for {key}{said}")
        return _moved(drive, ended, worker=worker, clock=store.clock)
    try:
        end = _end(drive, clock=store.clock)
    except ValueError as error:
        failure = Failure(("BadParameter", "StatepipeError", "Exception"), str(error))
        ended = Ended(ERROR, None, False, None, None, failure)  # noqa: FBT003  (by position)
        return _moved(drive, ended, worker=worker, clock=store.clock)
    # Without a key as well: it may have rested with one in another state, and been taken back.
    lacks = (None, key, events if key else ())
    if end.left_ms > 0:
        rest = _rest(drive, end, events, key=key, clock=store.clock)
        return Turn(rest, Attachment(drive.stay, drive.state, wait=lacks, asks=_asks(drive)))
    if dataset:
        note = f"{datasets.told(dataset, key)} was not there {end.said}"
        ended = _ended(TIMEOUT, None, note)
    elif events:
        asked_for = " or ".join(repr(event) for event in events)
        ended = _ended(TIMEOUT, None, f"no {asked_for} came {end.said}")
    else:
        ended = _ended(OK, None, f"waited {end.said.removeprefix('within ')}")
    # What is emitted before the commit has come in time.
    return _moved(drive, ended, worker=worker, clock=store.clock, lacks=lacks if key else None)


class _End(NamedTuple):
    """How long it still waits; the moment, if until one; and what is said of its end."""

    left_ms: int
    moment_ms: int | None
    said: str


def _end(drive: Drive, *, clock: Clock) -> _End:
    """
    Return when it ends.

    A moment is told by the wall clock alone. It follows from when the state was entered, which
    is committed, so it is the same for whoever looks.

    Raises:
        ValueError: Its moment is none, or too far away.
    """
    until, wait_ms = drive.part.call["until"], drive.part.call["wait_ms"]
    if until is None:
        left_ms = resting.left_ms(drive, wait_ms, clock=clock)
        return _End(left_ms, None, f"within {format_duration(wait_ms)}")
    moment_ms = until.moment(drive.params, after_ms=drive.entered_at_ms)
    return _End(moment_ms - clock.now_ms(), moment_ms, f"until {until.shown(moment_ms)}")


def _rest(drive: Drive, end: _End, events: Sequence[str], *, key: str, clock: Clock) -> Change:
    said = [f"for {emissions.told(events, key)}"] if events else []
    note = " ".join([*said, *([] if end.moment_ms is None else [end.said])]) or None
    return resting.rest(drive, end.left_ms, note=note, clock=clock, moment_ms=end.moment_ms)


def _moved(
    drive: Drive,
    ended: Ended,
    *,
    worker: int,
    clock: Clock,
    takes: int | None = None,
    lacks: tuple[None, str, tuple[str, ...]] | None = None,
) -> Turn:
    change, attachment = resting.move(drive, ended, worker=worker, clock=clock)
    key_of = drive.part.call["key_of"]
    key = key_of and key_of(drive.params)
    if takes is not None or key is not None:
        attachment = attachment or Attachment(drive.stay, drive.state)
        attachment = attachment._replace(wait=lacks or (takes, key, ()), asks=_asks(drive))
    return Turn(change, attachment)


def _asks(drive: Drive) -> tuple[tuple[str, str, str], ...]:
    """Return the events that may come too late, the states that wait for just that, the rule."""
    machine, key_of = drive.program.table.machine, drive.part.call["key_of"]
    ruled = [(each, rule_of(machine.events, each).late) for each in drive.part.call["events"]]
    key = key_of(drive.params) if key_of else ""
    if not key or all(late == ACCEPT for _, late in ruled):
        return ()
    waits = [(each.name, each.task) for each in machine.states if isinstance(each.task, Wait)]
    same = [
        (name, wait.events)
        for name, wait in waits
        if wait.events and wait.key_of(drive.params) == key
    ]
    return tuple(
        (event, json.dumps([name for name, events in same if event in events]), late)
        for event, late in ruled
        if late != ACCEPT
    )


def _ended(event: str, value: bytes | None, note: str) -> Ended:
    return Ended(event, value, produced=False, records=None, rejected=None, failure=None, note=note)
