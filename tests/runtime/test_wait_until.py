"""Waits until a moment: the wall clock alone tells it, however it is set and whoever looks."""

from dataclasses import replace
from pathlib import Path

import pytest

from statepipe.machine.parameter import Param
from statepipe.machine.states.until import Until
from statepipe.machine.states.waits import Wait
from statepipe.store.snapshot import read_snapshot
from tests.runtime.waiting import ASKING, HOUR_MS, Waiting, machine

#: 22:13:20 UTC, where the owned clock begins.
NOW_MS = 1_700_000_000_000
SIX_MS = NOW_MS + 7 * HOUR_MS + 46 * 60_000 + 40_000

SIX = Wait(until=Until(text="06:00"))


def resting(folder: Path, wait: Wait = SIX) -> Waiting:
    """Return a scene whose instance rests in `wait`."""
    scene = Waiting(folder, machine(wait))
    scene.turn()
    assert scene.rests() == ("asking", "ready", True)
    return scene


def queued(scene: Waiting) -> int:
    """Return how many instances wait for a driver, as a scrape counts them."""
    found = read_snapshot(scene.config.store, clock=scene.clock, exemplars=False, most_ms=60_000)
    return found.queue_depth


def test_a_wait_ends_at_its_moment(tmp_path: Path) -> None:
    """And not a millisecond before."""
    scene = resting(tmp_path)
    assert scene.row()["wake_at_ms"] == SIX_MS

    scene.clock.advance(SIX_MS - NOW_MS - 1)
    scene.turn()
    assert (scene.rests(), queued(scene)) == (("asking", "ready", True), 0)
    scene.clock.advance(1)
    assert queued(scene) == 1
    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.rows("SELECT note FROM journal WHERE event IN ('wait', 'ok') LIMIT 2") == [
        ("until 2023-11-15T06:00:00+00:00",),
        ("waited until 2023-11-15T06:00:00+00:00",),
    ]
    assert scene.is_sound()


def test_a_clock_that_is_set_forward_past_the_moment_ends_the_wait(tmp_path: Path) -> None:
    """It is that moment, whatever the boot clock says: nobody else can know."""
    scene = resting(tmp_path)

    scene.clock.set_wall(SIX_MS)
    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.is_sound()


def test_a_clock_that_is_set_back_prolongs_the_wait(tmp_path: Path) -> None:
    """And does not move the moment, which was fixed when the state was entered."""
    scene = resting(tmp_path)
    scene.clock.advance(SIX_MS - NOW_MS - 1_000)
    scene.clock.set_wall(NOW_MS - 48 * HOUR_MS)

    scene.clock.advance(2_000)
    scene.turn()
    assert scene.rests() == ("asking", "ready", True)
    assert scene.row()["wake_at_ms"] == SIX_MS
    scene.clock.set_wall(SIX_MS)
    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.is_sound()


def test_a_pause_moves_no_moment(tmp_path: Path) -> None:
    """Who is resumed when it is past goes on at once."""
    scene = resting(tmp_path)
    scene.engine.pause("i")
    scene.clock.advance(30 * HOUR_MS)

    scene.engine._take_back("i", reason=None, definition="pinned")
    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.is_sound()


@pytest.mark.parametrize("down_ms", [60_000, 8 * HOUR_MS])
def test_a_wait_outlives_the_boot_that_began_it(tmp_path: Path, down_ms: int) -> None:
    """On each boot the wall clock says the same moment; one that passed meanwhile ends it."""
    scene = resting(tmp_path)
    scene.clock.reboot(down_ms=down_ms)
    scene.turn()
    assert (scene.rests()[0] == "done") == (NOW_MS + down_ms >= SIX_MS)

    scene.clock.set_wall(SIX_MS)
    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.is_sound()


def test_a_moment_of_the_past_is_not_waited_for(tmp_path: Path) -> None:
    """The instance goes on at once, through no rest."""
    scene = Waiting(tmp_path, machine(Wait(until=Until(text="2020-01-01T06:00"))))
    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.rows("SELECT 1 FROM journal WHERE event = 'wait'") == []
    assert scene.is_sound()


def test_an_event_or_a_moment(tmp_path: Path) -> None:
    """Whichever comes first; the moment ends it as its timeout would."""
    late = replace(ASKING, ms=0, until=Until(text="18:00", tz="Europe/Berlin"))
    scene = resting(tmp_path, late)
    scene.engine.create("m", instance_id="j")
    scene.turn()

    scene.engine.signal("i", "approved")
    scene.turn()
    scene.clock.set_wall(scene.row("j")["wake_at_ms"])
    scene.turn()

    assert scene.rests()[0] == "done"
    row = scene.row("j")
    assert (row["state"], row["error_class"]) == ("failed", "timeout")
    assert row["error"].endswith("came until 2023-11-15T18:00:00+01:00")
    assert scene.is_sound()


def test_a_deadline_before_the_moment(tmp_path: Path) -> None:
    """The machine's deadline ends the instance, by the boot clock as ever."""
    scene = Waiting(tmp_path, replace(machine(SIX), deadline_ms=HOUR_MS))
    scene.turn()

    scene.clock.advance(HOUR_MS)
    scene.turn()

    assert (scene.rests()[0], scene.row()["error_class"]) == ("failed", "DeadlineExceeded")
    assert scene.is_sound()


@pytest.mark.parametrize("given", ["tomorrow", "2062-01-01T06:00"])
def test_a_parameter_that_is_no_moment_fails_the_instance(tmp_path: Path, given: str) -> None:
    """It waits neither for ever nor for nothing, and the loop goes on."""
    wait = Wait(until=Until(text="{params.at}"))
    scene = Waiting(tmp_path, machine(wait, params=(Param(name="at", default=given),)))
    scene.turn()

    row = scene.row()
    assert (row["state"], row["error_class"]) == ("failed", "BadParameter")
    assert given in row["error"]
    assert scene.is_sound()
