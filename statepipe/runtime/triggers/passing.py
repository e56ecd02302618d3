"""
Periods that a machine's watermarks have passed, of a trigger that listens to that.

    begin       the last period that is over when the trigger is first seen
    look        those that are over since
    between     those that became so in a period of the wall clock

Of several sources the slowest counts. A machine that had loaded nothing before begins with
the last period that is over by its first watermark: where its data begins nobody knows.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from statepipe.machine.triggers.periods import (
    Period,
    begin_of,
    following,
    key_of,
    last_over,
    moment_of,
)
from statepipe.machine.triggers.upstreams import After
from statepipe.runtime.triggers.kinds import Asked, Due, Occasion
from statepipe.store.triggers import arrivals
from statepipe.store.walk.watermarks import newest, seconds


def begin(after: After, asked: Asked) -> str | None:
    """Return the key of the last period that is over; None if none is."""
    over = _last_over(after, newest(asked.connection, after.machine))
    return None if over is None else key_of(_period(after), over)


def look(after: After, asked: Asked, position: str | None) -> Due:
    """Return the periods that are over since the one of `position`."""
    marks = newest(asked.connection, after.machine)
    over = _last_over(after, marks)
    if over is None:
        is_time = all(seconds(each) is not None for each in marks)
        error = None if is_time else f"the watermark of {after.machine} counts in no time"
        return Due((), position, None, error=error)
    found = list(islice(_since(after, position, over), asked.most))
    if not found:
        return Due((), position, None)
    occasions = [_occasion(after, each, marks) for each in found]
    look_at_ms = asked.now_ms if len(found) == asked.most else None
    return Due(occasions, occasions[-1].key, look_at_ms)


def between(after: After, asked: Asked, from_ms: int, until_ms: int | None) -> Iterator[Occasion]:
    """Yield the periods that became over in a period of the wall clock."""
    stand: dict[str, Any] = {}
    position: str | None = None
    for move in arrivals.moves(asked.connection, after.machine):
        stand[move.state] = move.value
        over = _last_over(after, stand.values())
        if over is None:
            continue
        for each in _since(after, position, over):
            position = key_of(_period(after), each)
            if from_ms <= move.at_ms and (until_ms is None or move.at_ms <= until_ms):
                yield _occasion(after, each, list(stand.values()))


def _since(after: After, position: str | None, over: datetime) -> Iterator[datetime]:
    if position is None:
        yield over
        return
    period = _period(after)
    yield from following(period, moment_of(position), over)


def _last_over(after: After, marks: Iterable[Any]) -> datetime | None:
    stand = [seconds(each) for each in marks]
    known = [each for each in stand if each is not None]
    if not known or len(known) < len(stand):
        return None
    return last_over(_period(after), datetime.fromtimestamp(min(known), tz=UTC))


def _occasion(after: After, begins: datetime, marks: list[Any]) -> Occasion:
    key = key_of(_period(after), begins)
    slowest = min(marks, key=lambda each: seconds(each) or 0)
    facts = {"upstream.machine": after.machine, "upstream.period": begin_of(key)}
    return Occasion(key, facts | {"upstream.watermark": slowest})


def _period(after: After) -> Period:
    assert after.watermark is not None
    return after.watermark
