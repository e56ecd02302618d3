"""
`statepipe stats`: how long states take, week by week, and whether it grows.
"""

import sys
from typing import Any, Final

import click

from statepipe.cli.shared.options import command, duration_ms
from statepipe.cli.shared.places import open_reader
from statepipe.cli.shared.render import Output, moment
from statepipe.cli.shared.session import Session
from statepipe.clock import SystemClock
from statepipe.runtime.trends import Summary, Trend, trends
from statepipe.store.questions.durations import WHOLE, Measure, weeks
from statepipe.units import format_duration

_BAR_CHARS: Final = 24

#: A percentile from low to high, in blocks, or for terminals that have none of these.
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_ASCII: Final = "_.-=+*%#"


@command(
    "stats",
    examples=["statepipe stats", "statepipe stats flights --since 12w", "statepipe stats -o json"],
)
@click.argument("machine", required=False)
@click.option("--since", default="8w", show_default=True, metavar="DURATION", help="How far back.")
@click.option("--attempts", is_flag=True, help="Of single attempts, not of whole stays in a state.")
def stats(*, machine: str | None, since: str, attempts: bool) -> None:
    """
    Show percentiles by state and week, and the trend of the 95th; one MACHINE in full.

    Exact, from the journal: the 95th percentile of 100 durations is the 95th of them.
    """
    out = Session.current().out()
    since_ms = SystemClock().now_ms() - duration_ms(since, option="--since")
    measure: Measure = "attempt" if attempts else "stay"
    with open_reader() as reader:
        found = trends(weeks(reader, since_ms=since_ms, machine=machine, measure=measure))
    if out.is_json:
        out.values([_facts(each, measure) for each in found])
        return
    if not found:
        out.note("nothing ended in that time")
        return
    if machine is not None:
        _weeks(out, found)
        out.say("")
    _trends(out, found, unit="attempt" if attempts else "stay")


def _weeks(out: Output, found: list[Trend]) -> None:
    rows = [
        {
            "state": _state(each),
            "week": _day(week),
            "well": f"{week.well:,}",
            "badly": f"{week.badly:,}",
            "retried": f"{week.retried:,}",
            **_percentiles(week),
            "bar": _bar(week, max(_p95s(each), default=0)),
        }
        for each in found
        for week in each.weeks
    ]
    heads = ["STATE", "WEEK OF", "WELL", "BADLY", "RETRIED", "P50", "P95", "P99", "P95 BY WEEK"]
    cells = ["state", "week", "well", "badly", "retried", "p50", "p95", "p99", "bar"]
    out.rows(heads, rows, cells=cells)


def _trends(out: Output, found: list[Trend], *, unit: str) -> None:
    rows = [
        {
            "machine": each.machine,
            "state": _state(each),
            "well": f"{sum(week.well for week in each.weeks):,}",
            "badly": f"{sum(week.badly for week in each.weeks):,}",
            **_percentiles(_last(each)),
            "line": _line(each),
            "slope": _slope(each),
        }
        for each in found
    ]
    heads = ["MACHINE", "STATE", "WELL", "BADLY", "P50", "P95", "P99", "P95 BY WEEK", "TREND"]
    cells = ["machine", "state", "well", "badly", "p50", "p95", "p99", "line", "slope"]
    out.rows(heads, rows, cells=cells)
    first, last = found[0].weeks[0], found[0].weeks[-1]
    out.note(
        f"of each {unit} that ended well, weeks of {_day(first)} to {_day(last)};"
        " percentiles of the last week that had any"
    )


def _state(trend: Trend) -> str:
    return "(whole)" if trend.state == WHOLE else trend.state


def _day(week: Summary) -> str:
    return moment(week.monday_ms)[: len("2013-02-04")]


def _percentiles(week: Summary | None) -> dict[str, str]:
    values = (None,) * 3 if week is None else (week.p50_ms, week.p95_ms, week.p99_ms)
    return {
        name: "-" if value is None else format_duration(value)
        for name, value in zip(("p50", "p95", "p99"), values, strict=True)
    }


def _last(trend: Trend) -> Summary | None:
    return next((week for week in reversed(trend.weeks) if week.p95_ms is not None), None)


def _p95s(trend: Trend) -> list[int]:
    return [week.p95_ms for week in trend.weeks if week.p95_ms is not None]


def _slope(trend: Trend) -> str:
    if trend.slope_ms is None:
        return "too few weeks"
    sign = "-" if trend.slope_ms < 0 else "+"
    part = "" if trend.slope_part is None else f" ({trend.slope_part:+.1%})"
    return f"{sign}{format_duration(round(abs(trend.slope_ms)))}{part} a week"


def _line(trend: Trend) -> str:
    """Return the 95th percentile of each week as a little chart, a space where there is none."""
    marks, most = _marks(), max(_p95s(trend), default=0)
    return "".join(
        " " if week.p95_ms is None else marks[round((len(marks) - 1) * week.p95_ms / (most or 1))]
        for week in trend.weeks
    )


def _bar(week: Summary, most_ms: int) -> str:
    if week.p95_ms is None or not most_ms:
        return ""
    return _marks()[-1] * max(1, round(_BAR_CHARS * week.p95_ms / most_ms))


def _marks() -> str:
    try:
        _BLOCKS.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return _ASCII
    return _BLOCKS


def _facts(trend: Trend, measure: Measure) -> dict[str, Any]:
    return {
        "machine": trend.machine,
        "state": None if trend.state == WHOLE else trend.state,
        "measure": measure,
        "weeks": [{"week": _day(week), **week._asdict()} for week in trend.weeks],
        "p95_slope_ms_per_week": trend.slope_ms,
        "p95_slope_part_per_week": trend.slope_part,
    }
