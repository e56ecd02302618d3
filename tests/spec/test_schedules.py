"""
The runs of a schedule are exactly those that a table lists.

Daylight saving, leap days, clocks that are set back, machines that slept.

A worker looks at its triggers every so often, by an owned clock; what was started is compared
with the table, key for key, so that a run that is lost or doubled is seen.
"""

from pathlib import Path
from typing import Any, Final

import pytest

from statepipe.machine.triggers.schedules import Schedule
from statepipe.machine.triggers.trigger import Trigger
from tests.runtime.triggered import Triggered, at_ms, machine

MINUTE_MS: Final = 60_000

BERLIN: Final = "Europe/Berlin"
NEW_YORK: Final = "America/New_York"

#: Cron, zone, the first and the last moment of the watch, and all that must have been started.
#: Berlin goes from 02:00 to 03:00 at 01:00Z, and back from 03:00 to 02:00 at 01:00Z; New York from
#: 02:00 to 03:00 at 07:00Z, and back from 02:00 to 01:00 at 06:00Z.
TABLE: Final = {
    "nightly, the hour is skipped": (
        ("30 2 * * *", BERLIN, "2026-03-28T00:00Z", "2026-03-30T23:00Z"),
        ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
    ),
    "nightly, the hour comes twice": (
        ("30 2 * * *", BERLIN, "2026-10-24T00:00Z", "2026-10-26T23:00Z"),
        ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
    ),
    "twice in the hour that is skipped": (
        ("0,30 2,3 * * *", BERLIN, "2026-03-28T23:00Z", "2026-03-29T04:00Z"),
        ["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
    ),
    "twice in the hour that comes twice": (
        ("0,30 2 * * *", BERLIN, "2026-10-24T22:00Z", "2026-10-25T04:00Z"),
        ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z"],
    ),
    "hourly, an hour is skipped": (
        ("0 * * * *", BERLIN, "2026-03-28T23:30Z", "2026-03-29T03:30Z"),
        [f"2026-03-29T{hour:02}:00:00Z" for hour in range(4)],
    ),
    "hourly, an hour comes twice": (
        ("0 * * * *", BERLIN, "2026-10-24T22:30Z", "2026-10-25T03:30Z"),
        ["2026-10-24T23:00:00Z", *(f"2026-10-25T{hour:02}:00:00Z" for hour in range(4))],
    ),
    "midnight on a day of 23 hours": (
        ("0 0 * * *", BERLIN, "2026-03-28T12:00Z", "2026-03-30T12:00Z"),
        ["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"],
    ),
    "New York, the hour is skipped": (
        ("15 2 * * *", NEW_YORK, "2026-03-07T12:00Z", "2026-03-09T12:00Z"),
        ["2026-03-08T07:00:00Z", "2026-03-09T06:15:00Z"],
    ),
    "New York, the hour comes twice": (
        ("15 1 * * *", NEW_YORK, "2026-10-31T12:00Z", "2026-11-02T12:00Z"),
        ["2026-11-01T05:15:00Z", "2026-11-02T06:15:00Z"],
    ),
    "New York, every half hour": (
        ("*/30 * * * *", NEW_YORK, "2026-11-01T04:59Z", "2026-11-01T07:01Z"),
        [
            *("2026-11-01T05:00:00Z", "2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z"),
            *("2026-11-01T06:30:00Z", "2026-11-01T07:00:00Z"),
        ],
    ),
    "a leap day": (
        ("0 12 29 2 *", "UTC", "2027-12-31T00:00Z", "2028-03-02T00:00Z"),
        ["2028-02-29T12:00:00Z"],
    ),
    "the last day of February, leap year or not": (
        ("0 12 L 2 *", "UTC", "2027-02-01T00:00Z", "2028-03-02T00:00Z"),
        ["2027-02-28T12:00:00Z", "2028-02-29T12:00:00Z"],
    ),
}


def scheduled(folder: Path, first: str, cron: str, tz: str = "UTC", **options: Any) -> Triggered:  # noqa: ANN401  (a schedule's)
    """Return a scene whose machine is started by a schedule, seen first at `first`."""
    on = Schedule(cron=cron, tz=tz, **options)
    return Triggered(folder, Trigger(name="t", on=on), now=first.replace("Z", ":00Z"))


@pytest.mark.parametrize("name", TABLE)
def test_a_schedule_runs_when_the_table_says(tmp_path: Path, name: str) -> None:
    """Whatever the clocks of its zone do; a worker looks every so often, and at the end."""
    (cron, tz, first, last), runs = TABLE[name]
    scene = scheduled(tmp_path, first, cron, tz)
    ends_ms = at_ms(last)
    step_ms = max(7 * MINUTE_MS, (ends_ms - at_ms(first)) // 40)
    while scene.clock.now_ms() < ends_ms:
        scene.look()
        scene.clock.advance(min(step_ms, ends_ms - scene.clock.now_ms()))
    scene.look()

    assert list(scene.started()) == runs
    assert scene.is_sound()


def test_a_clock_that_is_set_back_doubles_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """At 12:05 it is set back to 11:05: what ran at 12:00 is not due once more, 13:00 is."""
    scene = scheduled(tmp_path, "2026-06-01T09:30Z", "*/30 * * * *")
    for at in ("10:00", "10:30", "11:00", "11:30", "12:05", "11:05", "11:45", "12:00", "12:29"):
        scene.look(f"2026-06-01T{at}:00Z")
    before = list(scene.started())
    for at in ("12:30", "12:29", "13:00"):
        scene.look(f"2026-06-01T{at}:00Z")

    said = ["10:00", "10:30", "11:00", "11:30", "12:00"]
    assert before == [f"2026-06-01T{at}:00Z" for at in said]
    assert list(scene.started())[5:] == ["2026-06-01T12:30:00Z", "2026-06-01T13:00:00Z"]
    assert scene.is_sound()


def test_a_clock_that_was_wrong_by_a_year_does_not_silence_a_schedule(tmp_path: Path) -> None:
    """Set right again, it goes on from there; what it started in the wrong year stays."""
    scene = scheduled(tmp_path, "2026-06-01T00:00Z", "0 3 * * *", catchup="last")
    scene.look("2026-06-01T03:00:00Z")
    scene.look("2027-06-02T12:00:00Z")
    scene.look("2026-06-01T12:00:00Z")
    scene.look("2026-06-02T03:00:00Z")

    days = ("2026-06-01", "2027-06-02", "2026-06-02")
    assert list(scene.started()) == [f"{day}T03:00:00Z" for day in days]
    notes = scene.rows("SELECT count, note FROM trigger_journal WHERE kind = 'passed' ORDER BY n")
    assert [count for count, _ in notes] == [365, 0]
    assert "the clock was set back to 2026-06-01T12:00:00Z" in notes[1][1]
    assert scene.is_sound()


@pytest.mark.parametrize(
    ("catchup", "runs", "passed"),
    [
        ("all", [f"2026-06-{day:02}T03:00:00Z" for day in range(2, 10)], None),
        ("last", ["2026-06-02T03:00:00Z", "2026-06-09T03:00:00Z"], 6),
        ("none", ["2026-06-02T03:00:00Z"], 7),
    ],
)
def test_a_machine_that_slept_for_a_week_makes_up_as_its_catchup_says(
    tmp_path: Path, catchup: str, runs: list[str], passed: int | None
) -> None:
    """Never in silence: how many were passed over, and which, is in the trigger's journal."""
    scene = scheduled(tmp_path, "2026-06-01T12:00Z", "0 3 * * *", catchup=catchup)
    scene.look("2026-06-02T03:00:30Z")
    scene.look("2026-06-09T14:00:00Z")
    scene.look("2026-06-09T14:00:01Z")

    assert list(scene.started()) == runs
    told = scene.rows("SELECT count, note FROM trigger_journal WHERE kind = 'passed'")
    assert [count for count, _ in told] == ([] if passed is None else [passed])
    if passed is not None:
        assert "from 2026-06-03T03:00:00Z to 2026-06-0" in told[0][1]
    scene.look("2026-06-10T03:00:59Z")
    assert list(scene.started()) == [*runs, "2026-06-10T03:00:00Z"]
    assert scene.is_sound()


def test_a_tick_that_nobody_noticed_for_a_minute_is_late_where_none_is_made_up_for(
    tmp_path: Path,
) -> None:
    """A worker that is restarted loses none; one that is gone for longer does, and says so."""
    scene = scheduled(tmp_path, "2026-06-01T12:00Z", "0 3 * * *", catchup="none")
    scene.look("2026-06-02T03:01:00Z")
    scene.look("2026-06-03T03:01:01Z")

    assert list(scene.started()) == ["2026-06-02T03:00:00Z"]
    assert scene.rows("SELECT count FROM trigger_journal WHERE kind = 'passed'") == [(1,)]
    assert scene.is_sound()


def test_a_backlog_is_bounded_and_what_is_passed_over_is_said(tmp_path: Path) -> None:
    """Of a week of minutes the last thousand are made up for, a hundred a transaction."""
    scene = scheduled(tmp_path, "2026-06-01T00:00Z", "* * * * *")
    scene.look("2026-06-08T00:00:30Z")

    keys = list(scene.started())
    assert (len(keys), keys[0], keys[-1]) == (1_000, "2026-06-07T07:21:00Z", "2026-06-08T00:00:00Z")
    ((count, note),) = scene.rows("SELECT count, note FROM trigger_journal WHERE kind = 'passed'")
    assert count == 7 * 1_440 - 1_000
    assert note == (
        "9,080 ticks passed over, from 2026-06-01T00:01:00Z to 2026-06-07T07:20:00Z:"
        " nobody was there, or the queue was full, and catchup is all"
    )
    assert scene.is_sound()


def test_jitter_is_of_the_tick_and_ends_before_the_next(tmp_path: Path) -> None:
    """Whoever looks finds the same moment; with a jitter longer than the pause, too."""
    scene = scheduled(tmp_path, "2026-06-01T00:00Z", "*/10 * * * *", jitter_ms=60 * MINUTE_MS)
    begins: dict[str, int] = {}
    for _ in range(6 * 60 * 4):
        scene.clock.advance(15_000)
        scene.look()
        for key in scene.started().keys() - begins.keys():
            begins[key] = scene.clock.now_ms() - at_ms(key)

    assert (
        list(begins)
        == [
            f"2026-06-01T{hour:02}:{minute:02}:00Z"
            for hour in range(7)
            for minute in range(0, 60, 10)
            if (hour, minute) > (0, 0)
        ][: len(begins)]
    )
    assert len(begins) in (35, 36)
    late = list(begins.values())
    assert 0 <= min(late) < 3 * MINUTE_MS
    assert 7 * MINUTE_MS < max(late) < 10 * MINUTE_MS + 15_000
    assert len(set(late)) > 10
    assert scene.is_sound()


def test_a_schedule_that_is_changed_begins_anew(tmp_path: Path) -> None:
    """From daily to every minute: the minutes since the last day are not made up for."""
    scene = scheduled(tmp_path, "2026-06-01T00:00Z", "0 3 * * *")
    scene.look("2026-06-01T03:00:00Z")
    scene.set("2026-06-01T20:00:30Z")
    old = scene.watch
    scene.machine = machine(Trigger(name="t", on=Schedule(cron="* * * * *")))
    scene.engine.close()
    scene.engine = scene.other()
    scene.watch = scene.watching()
    scene.look("2026-06-01T20:02:00Z")
    scene.set("2026-06-02T03:00:00Z")
    old.turn()  # a worker that knows it as it was leaves it alone
    old._store.close()

    assert list(scene.started()) == [
        *("2026-06-01T03:00:00Z", "2026-06-01T20:01:00Z", "2026-06-01T20:02:00Z"),
    ]
    kinds = scene.rows("SELECT kind FROM trigger_journal ORDER BY n")
    assert kinds == [("seen",), ("changed",)]
    assert scene.is_sound()
