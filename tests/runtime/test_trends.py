"""Percentiles by week and their slope: plain arithmetic, checked against the plain definition."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.runtime.trends import percentile, slope, trends
from statepipe.store.questions.durations import WEEK_MS, WHOLE, Took, Week


def week(number: int, *well: int, state: str = "a") -> Week:
    """Return one week of one state."""
    return Week(number * WEEK_MS, {("m", state): Took(well=array("q", well))})


@given(st.lists(st.integers(0, 1_000), min_size=1), st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_so_many_are_not_above(
    values: list[int], percent: int
) -> None:
    """The nearest rank: always one of the values, so nothing that never happened is shown."""
    ordered = sorted(values)
    found = percentile(ordered, percent)

    enough = [v for v in ordered if 100 * sum(x <= v for x in ordered) >= percent * len(ordered)]
    assert found == enough[0]


@given(st.integers(-1_000, 1_000), st.integers(0, 1_000))
def test_the_slope_of_a_line_is_its_own(rise: int, start: int) -> None:
    """Whatever the line."""
    assert slope([(x, start + rise * x) for x in range(6)]) == pytest.approx(rise)


def test_one_week_that_is_off_does_not_bend_the_line() -> None:
    """A least-squares line would rise by two seconds a week; Theil and Sen's stays."""
    ordinary = [week(number, 1_000 + 10 * number) for number in range(8)]
    outage = [*ordinary[:5], week(5, 60_000), *ordinary[6:]]

    (steady,), (disturbed,) = trends(ordinary), trends(outage)

    assert steady.slope_ms == pytest.approx(10)
    assert disturbed.slope_ms == pytest.approx(10, abs=2)


def test_a_slope_is_also_said_as_a_part() -> None:
    """5 % a week is the same for a state of a second and for one of an hour."""
    (found,) = trends([week(number, 1_000 + 50 * (number - 1)) for number in range(3)])

    assert found.slope_ms == pytest.approx(50)
    assert found.slope_part == pytest.approx(0.05)


def test_two_weeks_make_no_trend() -> None:
    """Through two points goes any line; weeks in which nothing ended are no points."""
    (found,) = trends([week(0, 1), Week(WEEK_MS, {}), week(2, 9)])

    assert found.slope_ms is None
    assert [each.p95_ms for each in found.weeks] == [1, None, 9]


def test_a_state_that_takes_no_time_has_no_part() -> None:
    """Nothing is a part of nothing."""
    (found,) = trends([week(number, 0) for number in range(3)])

    assert (found.slope_ms, found.slope_part) == (0, None)


def test_whole_instances_come_first() -> None:
    """What people ask first; then the states as they were first seen."""
    both = {("m", "b"): Took(badly=1), ("m", WHOLE): Took(badly=1), ("a", "x"): Took(retried=2)}
    found = trends([Week(0, both)])

    assert [(each.machine, each.state) for each in found] == [("a", "x"), ("m", WHOLE), ("m", "b")]
    assert (found[0].weeks[0].retried, found[1].weeks[0].badly) == (2, 1)
