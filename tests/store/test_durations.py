"""How long things took, week by week: exactly what the journal says, in pieces of it."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from statepipe.errors import NotFound, Throttled
from statepipe.model import Task
from statepipe.store.questions import durations, moments
from statepipe.store.questions.durations import WEEK_MS, WHOLE, Measure, Week, monday_of
from statepipe.store.reading import Reader
from tests.runtime.scene import Scene, raising

HOUR_MS = 3_600_000


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Make an empty place, on a Monday at 7 in the morning."""
    scene = Scene(tmp_path)
    scene.clock.set_wall(monday_of(scene.clock.now_ms()) + 7 * HOUR_MS)
    return scene


def run(scene: Scene, name: str, function: Callable[[Task], object]) -> None:
    """Create an instance and drive it to its end."""
    with scene.engine(function, stop_at="none") as engine:
        engine.create("m", instance_id=name)
        engine.run([name])


def lasting(scene: Scene, ms: int) -> Callable[[Task], None]:
    """Return a task that takes so long, by the scene's clock."""
    return lambda _: scene.clock.advance(ms)


def weeks(scene: Scene, *, back_ms: int, measure: Measure = "stay") -> list[Week]:
    """Read the weeks from `back_ms` ago until now."""
    since_ms = scene.clock.now_ms() - back_ms
    with Reader(scene.config.store, clock=scene.clock) as reader:
        return list(durations.weeks(reader, since_ms=since_ms, measure=measure))


def test_a_week_begins_on_monday_at_midnight_in_utc() -> None:
    """Whatever the moment in it."""
    monday = dt.datetime(2013, 2, 4, tzinfo=dt.UTC)
    for hours in (0, 1, 24 * 7 - 1):
        moment = monday + dt.timedelta(hours=hours)

        assert monday_of(round(moment.timestamp() * 1000)) == monday.timestamp() * 1000


def test_each_week_has_what_ended_in_it(scene: Scene) -> None:
    """States and whole instances; a week in which nothing ended is there, and empty."""
    run(scene, "one", lasting(scene, 100))
    run(scene, "two", lasting(scene, 300))
    scene.clock.advance(2 * WEEK_MS)
    run(scene, "three", lasting(scene, 500))

    first, second, third = weeks(scene, back_ms=2 * WEEK_MS)

    assert {key: list(took.well) for key, took in first.took.items()} == {
        ("m", "a"): [100, 300],
        ("m", "b"): [0, 0],
        ("m", WHOLE): [100, 300],
    }
    assert second.took == {}
    assert list(third.took["m", "a"].well) == [500]
    assert [week.monday_ms for week in (second, third)] == [
        first.monday_ms + WEEK_MS,
        first.monday_ms + 2 * WEEK_MS,
    ]


def test_what_ended_badly_is_counted_and_not_measured(scene: Scene) -> None:
    """A quick failure would make a percentile look good."""
    run(scene, "bad", raising(ValueError("seven")))
    scene.driven(raising(Throttled("slow")))

    (week,) = weeks(scene, back_ms=0)

    state, whole = week.took["m", "a"], week.took["m", WHOLE]
    assert (list(state.well), state.badly, state.retried) == ([], 1, 1)
    assert (list(whole.well), whole.badly) == ([], 1)


def test_an_attempt_is_a_part_of_a_stay(scene: Scene) -> None:
    """A stay has the pauses between attempts in it."""
    errors = iter([Throttled("slow")])

    def second_time(_: Task) -> None:
        scene.clock.advance(100)
        for error in errors:
            raise error

    scene.driven(second_time)
    scene.clock.advance(1_000)
    with scene.engine(second_time) as engine:
        engine.run(["i"])

    (stays,) = weeks(scene, back_ms=0)
    (attempts,) = weeks(scene, back_ms=0, measure="attempt")

    assert list(stays.took["m", "a"].well) == [1_200]
    assert list(attempts.took["m", "a"].well) == [100]


def test_pieces_make_the_same_whole(scene: Scene) -> None:
    """Each piece is read in a transaction of its own, so that no writer waits for a reader."""
    for number in range(9):
        run(scene, f"i{number}", lasting(scene, number))
        scene.clock.advance(WEEK_MS // 4)
    whole = weeks(scene, back_ms=3 * WEEK_MS)

    with mock.patch.object(durations, "_ROWS", 3):
        pieces = weeks(scene, back_ms=3 * WEEK_MS)

    assert pieces == whole
    assert sum(len(week.took["m", "a"].well) for week in whole if week.took) == 9


def test_a_clock_that_was_set_back_by_weeks_hides_nothing_of_this_one(scene: Scene) -> None:
    """What was written in the time to come is in front of it, however much that is."""
    scene.clock.set_wall(scene.clock.now_ms() + 3 * WEEK_MS)
    for number in range(9):
        run(scene, f"early{number}", lasting(scene, 10))
    scene.clock.set_wall(scene.clock.now_ms() - 3 * WEEK_MS)
    run(scene, "now", lasting(scene, 20))

    found = weeks(scene, back_ms=WEEK_MS)

    assert [list(week.took["m", WHOLE].well) for week in found if week.took] == [[20]]


def test_a_clock_that_was_set_back_a_little_loses_nothing(scene: Scene) -> None:
    """Rows are numbered in the order of commits; their times may be some seconds off."""
    scene.clock.set_wall(monday_of(scene.clock.now_ms()) + WEEK_MS - 2_000)
    for name, set_to_ms in (("one", 3_000), ("two", -3_000), ("three", 2_000)):
        run(scene, name, lasting(scene, 10))
        scene.clock.set_wall(scene.clock.now_ms() + set_to_ms)
    run(scene, "four", lasting(scene, 10))

    found = weeks(scene, back_ms=WEEK_MS)

    assert sum(len(week.took["m", "a"].well) for week in found if week.took) == 4


def test_only_one_machine_is_read_if_only_one_is_asked_for(scene: Scene) -> None:
    """One that the store has never seen is refused, with the nearest name."""
    run(scene, "one", lasting(scene, 1))
    with Reader(scene.config.store, clock=scene.clock) as reader:
        now_ms = scene.clock.now_ms()

        assert len(list(durations.weeks(reader, since_ms=now_ms, machine="m"))) == 1
        with pytest.raises(NotFound, match="there is no machine 'mm' in this store"):
            durations.weeks(reader, since_ms=now_ms, machine="mm")


def test_a_moment_is_found_by_halving(scene: Scene) -> None:
    """The first row that is not older; one more than the last if there is none."""
    begins_ms = scene.clock.now_ms()
    for number in range(4):
        run(scene, f"i{number}", lasting(scene, 0))
        scene.clock.advance(1_000)
    with Reader(scene.config.store, clock=scene.clock) as reader, reader.moment() as connection:
        found = [moments.row_at(connection, begins_ms + ms) for ms in (-1, 0, 1, 1_000, 9_000)]
        rows = connection.execute("SELECT count(*) FROM journal").fetchone()[0]

        assert moments.end(connection) == rows + 1
        assert found == [1, 1, 1 + rows // 4, 1 + rows // 4, rows + 1]


def test_an_empty_journal_has_no_moments(scene: Scene) -> None:
    """Nothing is found, and nothing breaks."""
    with scene.engine() as engine:
        assert engine._store.path.exists()

    assert [week.took for week in weeks(scene, back_ms=WEEK_MS)] == [{}]
