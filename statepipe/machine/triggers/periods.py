"""
Hours, days and months in UTC: which partitions make one up, and which of them are over.

    period_of       the period that a partition belongs to
    parts_of        the partitions that a period is made of: Parts
    last_over       the last period that had ended by a moment
    following       the periods after one, up to another
    key_of          a period's key, which a partition of that step has as well
    begin_of, moment_of     where the period of a key begins

Pure: what is over is told by the data that is there, never by a clock.
"""

import datetime as dt
from calendar import monthrange
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

Period = Literal["hour", "day", "month"]
Coarser = Literal["day", "month"]

#: Characters of a key: 2013-02-08T05, 2013-02-08, 2013-02.
_CHARS: Final = {"hour": 13, "day": 10, "month": 7}
_FORMATS: Final = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}
_HOURS: Final = 24
_FIRST: Final = dt.datetime.min.replace(tzinfo=dt.UTC)


class Parts(NamedTuple):
    """The keys of the first and the last partition of a period, and how many there are."""

    first: str
    last: str
    total: int


def period_of(key: str, covers: Coarser) -> str | None:
    """Return the key of the period that the partition `key` is a part of; None if it is none."""
    chars = _CHARS[covers]
    return key[:chars] if len(key) > chars else None


def parts_of(period: str, like: str) -> Parts:
    """Return the partitions of a period, which are hours or days as the partition `like` is."""
    first, last, days = period, period, 1
    if len(period) == _CHARS["month"]:
        days = monthrange(int(period[:4]), int(period[5:]))[1]
        first, last = f"{period}-01", f"{period}-{days:02}"
    if len(like) == _CHARS["hour"]:
        return Parts(f"{first}T00", f"{last}T23", days * _HOURS)
    return Parts(first, last, days)


def last_over(period: Period, moment: dt.datetime) -> dt.datetime | None:
    """Return where the last period begins that had ended by `moment`; None before the first."""
    begin = _floor(period, moment)
    if begin == _FIRST:
        return None
    return _floor(period, begin - dt.timedelta(hours=1))


def following(period: Period, after: dt.datetime, until: dt.datetime) -> Iterator[dt.datetime]:
    """Yield where the periods begin after the one of `after`, up to that of `until`."""
    begin = after
    while (begin := _next(period, begin)) <= until:
        yield begin


def key_of(period: Period, begin: dt.datetime) -> str:
    """Return the key of a period: "2013-02-08T05", "2013-02-08", "2013-02"."""
    key = begin.strftime(_FORMATS[period])
    return key.rjust(_CHARS[period], "0")  # years before 1000 are three digits


def begin_of(key: str) -> dt.date | dt.datetime:
    """Return where the period of a key begins: a moment of an hour, a date of the others."""
    if len(key) == _CHARS["hour"]:
        return dt.datetime.fromisoformat(f"{key}:00:00+00:00")
    return dt.date.fromisoformat(key if len(key) == _CHARS["day"] else f"{key}-01")


def moment_of(key: str) -> dt.datetime:
    """Return the same as a moment, whatever the period."""
    begin = begin_of(key)
    return (
        begin if isinstance(begin, dt.datetime) else dt.datetime.combine(begin, dt.time(), dt.UTC)
    )


def _floor(period: Period, moment: dt.datetime) -> dt.datetime:
    begin = moment.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)
    if period != "hour":
        begin = begin.replace(hour=0)
    return begin.replace(day=1) if period == "month" else begin


def _next(period: Period, begin: dt.datetime) -> dt.datetime:
    if period == "month":
        return _floor(period, begin + dt.timedelta(days=31))
    return begin + dt.timedelta(hours=1 if period == "hour" else _HOURS)
