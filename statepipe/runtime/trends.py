"""
Percentiles by week, and whether they rise: pure arithmetic over what the journal measured.

    trends          the weeks as a row for each machine and state
    Trend           its weeks, and the slope of the 95th percentile
    Summary         one week of it
    percentile      the smallest value that so many are not above
    slope           Theil and Sen's: the median of the slopes between all pairs of points

The slope is that of Theil (1950) and Sen (1968): one week in four may be off, for a holiday
or an outage, and the line stays where the others say.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import ceil
from statistics import median
from typing import Final, NamedTuple

from statepipe.store.questions.durations import WEEK_MS, WHOLE, Took, Week

#: With fewer weeks than this, two points make any line.
WEEKS_MIN: Final = 3


class Summary(NamedTuple):
    """One week of one state; percentiles in milliseconds, None if nothing ended well."""

    monday_ms: int
    well: int
    badly: int
    retried: int
    p50_ms: int | None
    p95_ms: int | None
    p99_ms: int | None


class Trend(NamedTuple):
    """
    One state of one machine, week by week.

    Attributes:
        machine: Its machine.
        state: Its name; `WHOLE` for whole instances.
        weeks: Every week of the period, oldest first.
        slope_ms: By how much the 95th percentile rises a week, None with fewer than
            `WEEKS_MIN` weeks that have one.
        slope_part: The same as a part of the median of these percentiles; 0.05 is 5 % a week.
    """

    machine: str
    state: str
    weeks: tuple[Summary, ...]
    slope_ms: float | None
    slope_part: float | None


def trends(weeks: Iterable[Week]) -> list[Trend]:
    """Return a trend for each machine and state that had anything, whole instances first."""
    mondays: list[int] = []
    summaries: dict[tuple[str, str], dict[int, Summary]] = {}
    for week in weeks:
        mondays.append(week.monday_ms)
        for key, took in week.took.items():
            summaries.setdefault(key, {})[week.monday_ms] = _summary(week.monday_ms, took)
    found = [
        _trend(machine, state, [had.get(each) or _summary(each, Took()) for each in mondays])
        for (machine, state), had in summaries.items()
    ]
    return sorted(found, key=lambda each: (each.machine, each.state != WHOLE))


def percentile(ordered: Sequence[int], percent: int) -> int:
    """
    Return the smallest of `ordered` that `percent` of a hundred are not above: the nearest rank.

    Args:
        ordered: Values in rising order, at least one.
        percent: 1..100.
    """
    return ordered[ceil(percent * len(ordered) / 100) - 1]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the Theil-Sen slope of at least two points with different x."""
    return median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2))


def _summary(monday_ms: int, took: Took) -> Summary:
    ordered = sorted(took.well)
    p50, p95, p99 = (percentile(ordered, percent) if ordered else None for percent in (50, 95, 99))
    counts = (len(ordered), took.badly, took.retried)
    return Summary(monday_ms, *counts, p50, p95, p99)


def _trend(machine: str, state: str, weeks: Sequence[Summary]) -> Trend:
    points = [
        (week.monday_ms / WEEK_MS, float(week.p95_ms)) for week in weeks if week.p95_ms is not None
    ]
    if len(points) < WEEKS_MIN:
        return Trend(machine, state, tuple(weeks), None, None)
    rises_ms = slope(points)
    level_ms = median(y for _, y in points)
    return Trend(machine, state, tuple(weeks), rises_ms, rises_ms / level_ms if level_ms else None)
