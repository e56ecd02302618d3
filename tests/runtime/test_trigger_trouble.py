"""Triggers, when the store refuses for a while: what is due is put off to the next look."""

from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import Busy
from statepipe.machine.triggers.events import Emitted
from statepipe.machine.triggers.schedules import Schedule
from statepipe.machine.triggers.trigger import Trigger
from statepipe.store.triggers import deciding
from tests.runtime.triggered import Triggered

NIGHTLY = Trigger(name="nightly", on=Schedule(cron="0 2 * * *", catchup="none"))
ON_ORDER = Trigger(name="on_order", on=Emitted(event="order"), params={"key": "{event.key}"})


def refused_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next decision find the store busy."""
    decide, refusals = deciding.decide, [1]

    def deciding_later(*args: Any, **kwargs: Any) -> deciding.Decided | None:  # noqa: ANN401  (as it is called)
        if refusals:
            refusals.pop()
            raise Busy("another process writes", meaning="", next_step="")
        return decide(*args, **kwargs)

    monkeypatch.setattr(deciding, "decide", deciding_later)


def test_a_tick_that_met_a_busy_store_is_started_by_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not put off to the next tick, which passes it over as if nobody had been there."""
    scene = Triggered(tmp_path, NIGHTLY)
    scene.look()
    refused_once(monkeypatch)
    with pytest.raises(Busy):
        scene.look("2026-03-01T02:00:00Z")
    scene.look("2026-03-01T02:00:01Z")

    assert list(scene.started()) == ["2026-03-01T02:00:00Z"]
    scene.look("2026-03-02T02:00:00Z")
    assert scene.rows("SELECT count(*) FROM trigger_journal WHERE kind = 'passed'") == [(0,)]
    assert scene.is_sound()


def test_triggers_behind_one_that_met_a_busy_store_are_looked_at_by_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That somebody wrote is seen once; it must not be forgotten with the look that was cut off."""
    scene = Triggered(tmp_path, NIGHTLY, ON_ORDER)
    scene.look()
    refused_once(monkeypatch)
    scene.engine.emit("order", "k-1")
    with pytest.raises(Busy):
        scene.look("2026-03-01T02:00:00Z")
    scene.look()

    assert list(scene.started()) == ["2026-03-01T02:00:00Z", "k-1"]
    assert scene.is_sound()
