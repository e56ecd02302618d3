"""stats: percentiles by state and week, their trend, and a little chart; golden texts."""

import io
import sys

import pytest

from statepipe.cli import main
from statepipe.cli.shared.render import moment
from statepipe.clock import SystemClock
from statepipe.store.questions.durations import WEEK_MS, monday_of
from tests.cli.project import Project
from tests.runtime.scene import Function, Scene, raising

TRENDS = """\
MACHINE  STATE    WELL  BADLY  P50   P95   P99   P95 BY WEEK  TREND
m        (whole)  5     1      4.0s  4.0s  4.0s  ▃▅▆█         +1.0s (+40.0%) a week
m        a        5     1      4.0s  4.0s  4.0s  ▃▅▆█         +1.0s (+40.0%) a week
m        b        5     0      0ms   0ms   0ms   ▁▁▁▁         +0ms a week
"""

WEEKS = """\
STATE    WEEK OF     WELL  BADLY  RETRIED  P50   P95   P99   P95 BY WEEK
(whole)  MONDAY 0    2     0      0        1.0s  1.0s  1.0s  ██████
(whole)  MONDAY 1    1     0      0        2.0s  2.0s  2.0s  ████████████
(whole)  MONDAY 2    1     0      0        3.0s  3.0s  3.0s  ██████████████████
(whole)  MONDAY 3    1     1      0        4.0s  4.0s  4.0s  ████████████████████████
"""


@pytest.fixture
def mondays(project: Project) -> list[str]:
    """Make a store whose state `a` took a second more each week, and failed once."""
    scene = Scene(project.root)
    this_ms = monday_of(SystemClock().now_ms())
    firsts = [this_ms - back * WEEK_MS for back in (3, 2, 1, 0)]

    def run(name: str, task: Function, *, at_ms: int) -> None:
        scene.clock.set_wall(at_ms)
        with scene.engine(task) as engine:
            engine.create("m", instance_id=name)
            engine.run([name])

    def lasting(ms: int) -> Function:
        return lambda _: scene.clock.advance(ms)

    run("first", lasting(1_000), at_ms=firsts[0])
    for week, monday_ms in enumerate(firsts):
        run(f"i{week}", lasting(1_000 * (week + 1)), at_ms=monday_ms)
    run("bad", raising(ValueError("seven")), at_ms=this_ms)
    return [moment(each)[:10] for each in firsts]


def test_stats_shows_a_line_for_each_state_and_its_trend(
    project: Project, mondays: list[str]
) -> None:
    """Percentiles of the last week, a chart of the weeks, the slope of the 95th."""
    said = project.call("stats", "--since", "3w")

    assert said.code == 0
    assert said.out == TRENDS
    assert said.err == (
        f"of each stay that ended well, weeks of {mondays[0]} to {mondays[3]};"
        " percentiles of the last week that had any\n"
    )


def test_stats_of_one_machine_shows_every_week(project: Project, mondays: list[str]) -> None:
    """With a bar for each, as a part of the longest."""
    said = project.call("stats", "m", "--since", "3w")

    expected = WEEKS
    for number, monday in enumerate(mondays):
        expected = expected.replace(f"MONDAY {number}  ", monday)
    assert said.out.startswith(expected)
    assert said.out.endswith("\n\n" + TRENDS)


def test_stats_says_the_same_as_json(project: Project, mondays: list[str]) -> None:
    """In milliseconds, every week; a whole instance has no state."""
    whole, extracting, _ = project.call("stats", "--since", "3w", "-o", "json").json

    assert (whole["machine"], whole["state"], extracting["state"]) == ("m", None, "a")
    assert extracting["p95_slope_ms_per_week"] == pytest.approx(1_000)
    assert extracting["p95_slope_part_per_week"] == pytest.approx(0.4)
    assert [week["week"] for week in extracting["weeks"]] == mondays
    assert [week["p95_ms"] for week in extracting["weeks"]] == [1_000, 2_000, 3_000, 4_000]
    assert [week["well"] for week in extracting["weeks"]] == [2, 1, 1, 1]


@pytest.mark.usefixtures("mondays")
def test_attempts_are_measured_on_demand(project: Project) -> None:
    """A stay has its retries and pauses in it, an attempt has not."""
    said = project.call("stats", "--since", "3w", "--attempts")

    assert "(whole)" not in said.out
    assert said.err.startswith("of each attempt that ended well")


@pytest.mark.usefixtures("mondays")
def test_a_terminal_without_blocks_gets_other_marks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A chart of escapes would be none."""
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)

    assert main(["stats", "--since", "3w"]) == 0

    ascii_only.seek(0)
    assert "-+*#" in ascii_only.read()


@pytest.mark.usefixtures("mondays")
def test_what_has_no_weeks_has_no_trend(project: Project) -> None:
    """Two weeks make no trend; a machine that is not there is refused."""
    assert "too few weeks" in project.call("stats", "--since", "1w").out
    assert project.call("stats", "nobody").code == 3


def test_a_store_in_which_nothing_ended_says_so(project: Project) -> None:
    """An empty table would leave one wondering."""
    project.call("start", "numbers", "--id", "one")

    said = project.call("stats")

    assert (said.code, said.out, said.err) == (0, "", "nothing ended in that time\n")
