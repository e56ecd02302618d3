"""
Which ticks of a schedule are due, when somebody looks at the clock.

    due         those after a position, by the schedule's catchup; and when to look again
    between     those of a period, without any catchup
    before      the tick before a moment

Pure: the same schedule, position and clock give the same answer in every process.
"""

import hashlib
from collections import deque
from collections.abc import Iterator
from itertools import islice, takewhile
from typing import Final, NamedTuple

from statepipe.machine.triggers.cron import ticks
from statepipe.machine.triggers.schedules import Schedule

#: So many ticks are made up for at most; who slept longer starts so many at once, no more.
BACKLOG_MAX: Final = 1_000
#: How late a tick may be noticed that is not made up for by any catchup.
GRACE_MS: Final = 60_000
#: Of what is passed over so many are counted.
COUNTED_MAX: Final = 10_000
#: A position so far ahead of the clock means that the clock was wrong when it was taken.
AHEAD_MS_MAX: Final = 86_400_000

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000
#: Longer than from one leap day on a certain day of the week to the next.
_YEARS_MS: Final = 50 * 366 * _DAY_MS


class Missed(NamedTuple):
    """Ticks that are passed over: moments of the first and the last, and how many."""

    first_ms: int
    last_ms: int
    ticks: int
    is_more: bool  # True if they were too many to count


class DueTicks(NamedTuple):
    """
    What is to be started now.

    Attributes:
        ticks: The moments, oldest first.
        missed: Those before them that are passed over; None if none is.
        position_ms: The last tick of both; where it was if there is none.
        look_at_ms: When the next one is due.
    """

    ticks: tuple[int, ...]
    missed: Missed | None
    position_ms: int
    look_at_ms: int | None


def due(schedule: Schedule, *, name: str, after_ms: int, now_ms: int) -> DueTicks:
    """
    Return the ticks after `after_ms` that are to be started by `now_ms`.

    Args:
        schedule: What it listens to.
        name: Of the trigger, with its machine: each has a jitter of its own.
        after_ms: The last tick that was decided upon, or the moment it was first seen.
        now_ms: The wall clock.
    """
    # One more than are started shows that some are missed, and the last may be yet to begin.
    found = _last(schedule, after_ms=after_ms, until_ms=now_ms, most=BACKLOG_MAX + 2)
    look_at_ms = None
    if found and (begins_ms := begin_of(schedule, found[-1], name=name)) > now_ms:
        found.pop()
        look_at_ms = begins_ms
    if look_at_ms is None:
        following = next(_ticks(schedule, after_ms=now_ms), None)
        look_at_ms = following and begin_of(schedule, following, name=name)
    kept = _caught_up(schedule, found, name=name, now_ms=now_ms)
    missed = None
    if len(kept) < len(found):
        last_ms = found[-len(kept) - 1] if kept else found[-1]
        missed = _missed(schedule, after_ms=after_ms, last_ms=last_ms)
    return DueTicks(tuple(kept), missed, found[-1] if found else after_ms, look_at_ms)


def between(schedule: Schedule, *, from_ms: int, until_ms: int | None) -> Iterator[int]:
    """Yield the ticks from `from_ms` to `until_ms`, both included; without an end if it is None."""
    moments = _ticks(schedule, after_ms=from_ms - 1)
    return moments if until_ms is None else takewhile(lambda at_ms: at_ms <= until_ms, moments)


def before(schedule: Schedule, at_ms: int) -> int | None:
    """Return the last tick before a moment; None if there was none for many years."""
    span_ms = _HOUR_MS
    while span_ms < _YEARS_MS:
        found = deque(between(schedule, from_ms=at_ms - span_ms, until_ms=at_ms - 1), maxlen=1)
        if found:
            return found[0]
        span_ms *= 8
    return None


def begin_of(schedule: Schedule, tick_ms: int, *, name: str) -> int:
    """Return the moment at which what a tick starts is to begin: the tick, and its jitter."""
    if not schedule.jitter_ms:
        return tick_ms
    following = next(_ticks(schedule, after_ms=tick_ms), None)
    bound_ms = min(schedule.jitter_ms, (following or tick_ms + _DAY_MS) - tick_ms)
    drawn = hashlib.sha256(f"{name} {tick_ms}".encode()).digest()
    return tick_ms + int.from_bytes(drawn[:8]) % bound_ms


def _caught_up(schedule: Schedule, found: list[int], *, name: str, now_ms: int) -> list[int]:
    match schedule.catchup:
        case "all":
            return found[-BACKLOG_MAX:]
        case "last":
            return found[-1:]
        case "none":
            late_ms = now_ms - GRACE_MS
            return [each for each in found if begin_of(schedule, each, name=name) >= late_ms]


def _last(schedule: Schedule, *, after_ms: int, until_ms: int, most: int) -> list[int]:
    """Return the last `most` ticks of a period, in no more time than those take."""
    found = list(islice(between(schedule, from_ms=after_ms + 1, until_ms=until_ms), most))
    span_ms = most * _MINUTE_MS
    while len(found) == most:
        from_ms = max(after_ms + 1, until_ms - span_ms)
        recent = deque(between(schedule, from_ms=from_ms, until_ms=until_ms), maxlen=most)
        if len(recent) == most or from_ms == after_ms + 1:
            return list(recent)
        span_ms *= 2
    return found


def _missed(schedule: Schedule, *, after_ms: int, last_ms: int) -> Missed:
    passed = between(schedule, from_ms=after_ms + 1, until_ms=last_ms)
    counted = list(islice(passed, COUNTED_MAX + 1))
    return Missed(counted[0], last_ms, min(len(counted), COUNTED_MAX), len(counted) > COUNTED_MAX)


def _ticks(schedule: Schedule, *, after_ms: int) -> Iterator[int]:
    return ticks(schedule.cron, schedule.tz, after_ms=after_ms)
