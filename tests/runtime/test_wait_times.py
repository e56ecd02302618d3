"""How long a wait lasts: by which clock, whose timer, and what else may end it."""

from dataclasses import replace
from pathlib import Path

import pytest

from statepipe.machine.states.waits import Wait
from statepipe.store.walk import signals
from tests.runtime.waiting import ASKING, HOUR_MS, Waiting, machine


def test_a_wait_for_a_duration_ends_well(tmp_path: Path) -> None:
    """Nobody needs to do anything, and no event is taken by it."""
    scene = Waiting(tmp_path, machine(Wait(ms=HOUR_MS)))
    scene.turn()
    assert scene.rests() == ("asking", "ready", True)

    scene.clock.advance(HOUR_MS)
    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.is_sound()


@pytest.mark.parametrize("set_by_ms", [-30 * 24 * HOUR_MS, 30 * 24 * HOUR_MS])
def test_setting_the_wall_clock_ends_no_wait_and_prolongs_none(
    tmp_path: Path, set_by_ms: int
) -> None:
    """On the boot that armed it, the boot clock alone decides."""
    scene = Waiting(tmp_path)
    scene.turn()
    scene.clock.set_wall(scene.clock.now_ms() + set_by_ms)
    scene.turn()
    assert scene.rests()[0] == "asking"

    scene.clock.advance(HOUR_MS)
    scene.turn()

    assert scene.rests()[0] == "failed"
    assert scene.is_sound()


def test_a_clock_that_was_set_back_before_the_rest_prolongs_no_wait(tmp_path: Path) -> None:
    """Whoever entered the state died, or was paused, and whoever rests sees a later entry."""
    scene = Waiting(tmp_path)
    scene.clock.set_wall(scene.clock.now_ms() - 30 * 24 * HOUR_MS)
    scene.turn()
    assert scene.rests() == ("asking", "ready", True)

    scene.clock.advance(HOUR_MS)
    scene.turn()

    assert scene.rests()[0] == "failed"
    assert scene.is_sound()


def test_the_deadline_of_the_machine_ends_a_wait(tmp_path: Path) -> None:
    """The instance is looked at then, and not only when the wait's own time is up."""
    scene = Waiting(tmp_path, replace(machine(), deadline_ms=HOUR_MS // 2))
    scene.turn()

    scene.clock.advance(HOUR_MS // 2)
    scene.turn()

    assert (scene.rests()[0], scene.row()["error_class"]) == ("failed", "DeadlineExceeded")
    assert scene.is_sound()


def test_a_deadline_that_is_not_over_yet_ends_no_wait(tmp_path: Path) -> None:
    """Its timer rang, and by the wall clock, which was set back, there is time left: none is up."""
    scene = Waiting(tmp_path, replace(machine(Wait(ms=2 * HOUR_MS)), deadline_ms=HOUR_MS))
    scene.turn()
    scene.clock.set_wall(scene.clock.now_ms() - HOUR_MS // 2)

    scene.clock.advance(HOUR_MS)
    scene.turn()
    assert scene.rests() == ("asking", "ready", True)
    scene.clock.advance(HOUR_MS // 2)
    scene.turn()

    assert (scene.rests()[0], scene.row()["error_class"]) == ("failed", "DeadlineExceeded")
    assert scene.is_sound()


def test_a_wait_that_is_made_longer_lasts_longer(tmp_path: Path) -> None:
    """How long is policy; the timer that rings is still that of the shorter one."""
    scene = Waiting(tmp_path)
    scene.turn()
    scene.engine.close()
    scene.machine = machine(replace(ASKING, ms=2 * HOUR_MS))
    scene.engine = scene.other()

    scene.clock.advance(HOUR_MS)
    scene.turn()
    assert scene.rests() == ("asking", "ready", True)
    scene.clock.advance(HOUR_MS)
    scene.turn()

    assert scene.rests()[0] == "failed"
    assert scene.is_sound()


def test_a_deadline_that_passes_while_an_instance_is_put_to_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the deadline and the one at the timer: it is looked at again."""
    scene = Waiting(tmp_path, replace(machine(), deadline_ms=1_000))
    first = signals.first

    def slow(*args: object) -> signals.Signal | None:
        scene.clock.advance(2_000)
        return first(*args)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(signals, "first", slow)
    scene.turn()
    scene.turn()

    assert (scene.rests()[0], scene.row()["error_class"]) == ("failed", "DeadlineExceeded")
    assert scene.is_sound()


def test_a_wait_outlives_the_machine_it_runs_on(tmp_path: Path) -> None:
    """After a reboot it ends when its time has come by the wall clock."""
    scene = Waiting(tmp_path)
    scene.turn()
    scene.clock.reboot(down_ms=HOUR_MS - 10_000)
    scene.turn()
    assert scene.rests() == ("asking", "ready", True)

    scene.clock.advance(10_000)
    scene.turn()

    assert scene.rests()[0] == "failed"
    assert scene.is_sound()
