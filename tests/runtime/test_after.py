"""Machines that start after another one: by what it has done, each time once."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from statepipe.errors import DefinitionError
from statepipe.machine.partition import Partition
from statepipe.machine.triggers.periods import Period
from statepipe.machine.triggers.upstreams import After
from statepipe.runtime.triggers.watch import Watch
from statepipe.store.lookups.triggers import MENDED
from statepipe.store.walk import watermarks
from tests.runtime.following import DAILY, NUMBERS, Following, failing

EACH = After(machine="up", partition="each")


def hours(day: str, first: int = 0, last: int = 23) -> list[str]:
    """Return hours of a day, both included, as parameters."""
    return [f"{day}T{hour:02}:00:00Z" for hour in range(first, last + 1)]


def test_each_partition_that_is_done_starts_one(tmp_path: Path) -> None:
    """With its key and its parameters; what was done before the trigger was seen starts none."""
    with Following(tmp_path, After(machine="other")).other() as early:
        early.run([str(early.create("up", params={"at": "2013-02-08T00:00:00Z"}))])
    scene = Following(tmp_path, EACH, key="{upstream.partition} by {upstream.params.by}")
    failing.add(datetime(2013, 2, 8, 2, tzinfo=UTC))
    scene.does(*hours("2013-02-08", 1, 3))

    assert scene.keys() == ["2013-02-08T01", "2013-02-08T03"]
    assert scene.keys() == ["2013-02-08T01", "2013-02-08T03"]
    assert [each["key"] for each in scene.started().values()] == [
        "2013-02-08T01 by ada",
        "2013-02-08T03 by ada",
    ]
    assert scene.is_sound()


def test_a_partition_that_is_done_again_starts_none(tmp_path: Path) -> None:
    """Neither rewound and done again, nor by another instance: an occasion exists once."""
    scene = Following(tmp_path, EACH)
    scene.does("2013-02-08T01:00:00Z")
    assert scene.keys() == ["2013-02-08T01"]
    ((first,),) = scene.rows("SELECT instance FROM dataset")

    scene.engine.rewind(first, to="a")
    scene.engine.run([first])
    scene.does("2013-02-08T01:00:00Z")

    assert scene.keys() == ["2013-02-08T01"]
    assert scene.rows("SELECT times, is_there FROM dataset") == [(3, 1)]
    assert scene.is_sound()


def test_only_the_latest_partition_starts_one(tmp_path: Path) -> None:
    """Of several since the last look the last; one that is loaded late, or again, starts none."""
    latest = After(machine="up", partition="latest")
    scene = Following(tmp_path, latest, key="at {upstream.params.at}")
    scene.does(*hours("2013-02-08", 1, 3))
    assert scene.keys() == ["2013-02-08T03"]

    scene.does(*hours("2013-02-07", 1, 3), "2013-02-08T03:00:00Z")
    assert scene.keys() == ["2013-02-08T03"]
    scene.does("2013-02-08T04:00:00Z")

    assert scene.keys() == ["2013-02-08T03", "2013-02-08T04"]
    assert scene.rows("SELECT count, note FROM trigger_journal WHERE kind = 'passed'") == [
        (2, "2 partitions before 2013-02-08T03 passed over")
    ]
    assert scene.is_sound()


def test_the_latest_number_is_the_highest(tmp_path: Path) -> None:
    """Numbers are not compared as text."""
    scene = Following(tmp_path, After(machine="up", partition="latest"), NUMBERS)
    for value, keys in ((90, ["90"]), (100, ["90", "100"]), (-10, ["90", "100"])):
        scene.does(value)
        assert scene.keys() == keys

    assert scene.is_sound()


def test_a_day_starts_once_all_its_hours_are_there(tmp_path: Path) -> None:
    """In whatever order; one that is rewound meanwhile is waited for."""
    scene = Following(tmp_path, After(machine="up", covers="day"), day="{upstream.period}")
    scene.does(*hours("2013-02-08", 1), *hours("2013-02-09", 0, 22))
    assert scene.keys() == []
    ((seven,),) = scene.rows("SELECT instance FROM dataset WHERE key = '2013-02-08T07'")
    scene.engine.rewind(seven, to="a")
    scene.does("2013-02-08T00:00:00Z")
    assert scene.keys() == []

    scene.engine.run([seven])

    assert scene.keys() == ["2013-02-08"]
    assert scene.started()["2013-02-08"]["day"] == date(2013, 2, 8)
    scene.does("2013-02-08T00:00:00Z")
    assert scene.keys() == ["2013-02-08"]
    assert scene.is_sound()


@pytest.mark.parametrize(("month", "days"), [("2013-02", 28), ("2012-02", 29)])
def test_a_month_starts_once_all_its_days_are_there(tmp_path: Path, month: str, days: int) -> None:
    """As many as it has."""
    scene = Following(tmp_path, After(machine="up", covers="month"), DAILY)
    scene.does(*(f"{month}-{day:02}" for day in range(1, days)))
    assert scene.keys() == []

    scene.does(f"{month}-{days}")

    assert scene.keys() == [month]
    assert scene.is_sound()


def test_each_group_that_is_done_starts_one(tmp_path: Path) -> None:
    """Of a set of regions, say, that is loaded each day; with what may fail left out."""
    regions = Partition(by="list", param="at", values=("eu", "us"), tolerate=1)
    after = After(machine="up", group="each")
    scene = Following(tmp_path, after, regions, key="{upstream.group} by {upstream.params.by}")
    failing.add("us")
    for name in ("g-1", "g-2"):
        scene.engine.groups.create("up", ["..us"], group_id=name, params={"by": name})
    scene.engine.groups.run("g-1")
    assert scene.keys() == ["g-1"]
    failing.clear()
    assert scene.engine.groups.resume("g-1") == (1, "done")
    scene.engine.groups.run("g-2")

    assert scene.keys() == ["g-1", "g-2"]
    assert [each["key"] for each in scene.started().values()] == ["g-1 by g-1", "g-2 by g-2"]
    assert scene.is_sound()


def test_each_instance_that_is_done_starts_one(tmp_path: Path) -> None:
    """Of a machine without partitions; one that is done again starts none."""
    scene = Following(tmp_path, After(machine="up"), None, key="{upstream.params.at}")
    failing.add("c")
    scene.does("a", "b", "c", "a")

    assert len(scene.keys()) == 3
    assert [each["key"] for each in scene.started().values()] == ["a", "b", "a"]
    first = scene.keys()[0]
    scene.engine.rewind(first, to="a")
    scene.engine.run([first])
    assert len(scene.keys()) == 3
    assert scene.is_sound()


def test_a_machine_that_nobody_follows_leaves_no_row_an_instance(tmp_path: Path) -> None:
    """What is not asked for costs nothing."""
    scene = Following(tmp_path, After(machine="another"), None)
    scene.does("a", "b")

    assert scene.keys() == []
    assert scene.rows("SELECT * FROM dataset") == []
    assert scene.is_sound()


def test_each_day_that_the_watermark_has_passed_starts_one(tmp_path: Path) -> None:
    """However far it moves; of several sources the slowest counts; back it starts nothing."""
    after = After(machine="up", watermark="day")
    scene = Following(tmp_path, after, None, day="{upstream.period}")
    store, noon = scene.engine._store, datetime(2013, 2, 8, 12, tzinfo=UTC)

    def put(value: object, state: str = "a") -> list[str]:
        watermarks.put(store, "up", state, value, reason="test")
        return scene.keys()

    assert put(noon) == ["2013-02-07"]
    assert put(noon + timedelta(hours=11)) == ["2013-02-07"]
    assert put(datetime(2013, 2, 9, tzinfo=UTC)) == ["2013-02-07", "2013-02-08"]
    assert put(date(2013, 2, 11)) == ["2013-02-07", "2013-02-08", "2013-02-09", "2013-02-10"]
    assert put(date(2013, 2, 1)) == list(scene.started())
    assert put(date(2013, 2, 12), "b") == list(scene.started())
    assert put(date(2013, 2, 13))[4:] == ["2013-02-11"]
    assert scene.started()["2013-02-11"]["day"] == date(2013, 2, 11)
    assert scene.is_sound()


def test_a_watermark_that_counts_in_no_time_is_told(tmp_path: Path) -> None:
    """Numbers have no days; once it does, that is written down as well."""
    scene = Following(tmp_path, After(machine="up", watermark="day"), None)
    store = scene.engine._store
    for value in (7, date(2013, 2, 8)):
        watermarks.put(store, "up", "a", value, reason="test")
        scene.look()

    assert list(scene.started()) == ["2013-02-07"]
    assert scene.rows("SELECT note FROM trigger_journal WHERE kind = 'error'") == [
        ("the watermark of up counts in no time",),
        (MENDED,),
    ]
    assert scene.is_sound()


@pytest.mark.parametrize("period", ["hour", "day", "month"])
def test_a_watermark_at_the_beginning_of_time_has_passed_nothing(
    tmp_path: Path, period: Period
) -> None:
    """Some sources write "never" so; a worker begins beside it, and goes on with what comes."""
    scene = Following(tmp_path, After(machine="up", watermark=period), None)
    store = scene.engine._store
    watermarks.put(store, "up", "a", "0001-01-01T00:00:00Z", reason="test")
    scene.watching()._store.close()
    scene.look()
    assert scene.started() == {}

    watermarks.put(store, "up", "a", "2013-03-01T00:00:00Z", reason="test")
    scene.look()
    assert len(scene.started()) == 1
    assert scene.rows("SELECT note FROM trigger_journal WHERE kind = 'error'") == []
    assert scene.is_sound()


def test_two_workers_start_one(tmp_path: Path) -> None:
    """Whoever looks first; the other's answer is thrown away."""
    scene = Following(tmp_path, EACH)
    watches: list[Watch] = [scene.watch, scene.watching(2), scene.watching(3)]
    for hour in range(4):
        scene.does(f"2013-02-08T{hour:02}:00:00Z")
        for watch in watches[hour % 3 :] + watches[: hour % 3]:
            watch.turn()

    assert len(scene.started()) == 4
    assert scene.rows("SELECT count(*) FROM instance i JOIN definition d ON d.n = i.definition"
                      " WHERE d.machine = 'm'") == [(4,)]  # fmt: skip
    for watch in watches[1:]:
        watch._store.close()
    assert scene.is_sound()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"partition": "newest"}, "'newest'"),
        ({"partition": "each", "covers": "day"}, "both partition and covers"),
        ({"covers": "hour"}, "covers: there is no 'hour'"),
        ({"watermark": "week"}, "watermark: there is no 'week'"),
        ({"machine": "Up"}, "'Up' is not a name"),
    ],
)
def test_what_makes_no_sense_is_refused(said: dict[str, str], told: str) -> None:
    """By its key, and with what to write instead."""
    with pytest.raises(DefinitionError) as refused:
        After(**{"machine": "up", **said})  # type: ignore[arg-type]  # the wrong type, or keywords in a dict

    assert told in refused.value.message


@pytest.mark.parametrize(
    ("after", "place"),
    [
        (After(machine="up", covers="day"), "upstream.partition"),
        (After(machine="up", covers="day"), "upstream.params.day"),
        (EACH, "upstream.period"),
        (EACH, "upstream.params"),
    ],
)
def test_a_place_that_an_occasion_does_not_have_is_refused(after: After, place: str) -> None:
    """With those that it has."""
    assert str(after.place_error(place)).startswith(f"there is no '{place}'")
    assert after.place_error("upstream.machine") is None
