"""
The kind of trigger that listens to the clock.

    KIND            position: the last tick that was decided upon, as a moment

    begin_of_key    when what a tick starts is to begin, by its key

The key of an occasion is its tick in UTC, which no clock shows twice.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Final

from statepipe.machine.triggers.cron import local
from statepipe.machine.triggers.due import AHEAD_MS_MAX, Missed, before, begin_of, between, due
from statepipe.machine.triggers.schedules import Schedule
from statepipe.machine.triggers.trigger import Trigger
from statepipe.runtime.triggers.kinds import Asked, Due, Kind, Occasion
from statepipe.units import plural


def _begin(asked: Asked) -> int:
    return asked.now_ms


def _look(asked: Asked, position: int) -> Due:
    schedule, now_ms = _schedule(asked), asked.now_ms
    if position > now_ms + AHEAD_MS_MAX:
        note = f"the clock was set back to {key_of(now_ms)}, before the tick {key_of(position)}"
        return Due((), now_ms, now_ms, note=note)
    found = due(schedule, name=asked.name, after_ms=position, now_ms=now_ms)
    some = found.ticks[: asked.most]
    is_all = len(some) == len(found.ticks)
    return Due(
        list(_occasions(asked, some)),
        position=found.position_ms if is_all else some[-1],
        look_at_ms=found.look_at_ms if is_all else now_ms,
        passed=found.missed.ticks if found.missed else 0,
        note=_said(found.missed, schedule) if found.missed else None,
    )


def _between(asked: Asked, from_ms: int, until_ms: int | None) -> Iterator[Occasion]:
    return _occasions(asked, between(_schedule(asked), from_ms=from_ms, until_ms=until_ms))


def key_of(tick_ms: int) -> str:
    """Return the key of a tick: "2026-10-25T00:30:00Z"."""
    return dt.datetime.fromtimestamp(tick_ms // 1000, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def begin_of_key(trigger: Trigger, key: str, *, name: str) -> int | None:
    """Return when what a trigger starts for `key` is to begin; None if no clock tells."""
    if not isinstance(trigger.on, Schedule):
        return None
    tick_ms = int(dt.datetime.fromisoformat(key).timestamp()) * 1000
    return begin_of(trigger.on, tick_ms, name=name)


def _occasions(asked: Asked, ticks: Iterable[int]) -> Iterator[Occasion]:
    """Yield the occasions of ticks that follow each other."""
    schedule, previous_ms = _schedule(asked), None
    looks_back = asked.trigger.names("previous.")
    for tick_ms in ticks:
        at = local(tick_ms, schedule.tz)
        facts = {"tick.at": at, "tick.date": at.date()}
        if looks_back and previous_ms is None:
            previous_ms = before(schedule, tick_ms)
        if previous_ms is not None:
            previous = local(previous_ms, schedule.tz)
            facts |= {"previous.at": previous, "previous.date": previous.date()}
        yield Occasion(key_of(tick_ms), facts)
        previous_ms = tick_ms


def _said(missed: Missed, schedule: Schedule) -> str:
    many = "more than " if missed.is_more else ""
    return (
        f"{many}{plural(missed.ticks, 'tick')} passed over, from {key_of(missed.first_ms)}"
        f" to {key_of(missed.last_ms)}: nobody was there, or the queue was full, and catchup is"
        f" {schedule.catchup}"
    )


def _schedule(asked: Asked) -> Schedule:
    schedule = asked.trigger.on
    assert isinstance(schedule, Schedule)
    return schedule


KIND: Final = Kind(begin=_begin, look=_look, between=_between)
