"""Triggers: one instance for each occasion, whoever looks, and whenever."""

from datetime import date
from pathlib import Path

from statepipe.machine.triggers.events import Emitted
from statepipe.machine.triggers.schedules import Schedule
from statepipe.machine.triggers.trigger import Trigger
from tests.runtime.triggered import Triggered

NIGHTLY = Trigger(
    name="nightly",
    on=Schedule(cron="0 3 * * *", tz="Europe/Berlin"),
    params={"day": "{previous.date}", "key": "of {tick.date}"},
)
ON_ORDER = Trigger(
    name="on_order",
    on=Emitted(event="order"),
    params={"key": "{event.key}", "day": "{event.params.day}"},
)


def test_a_schedule_starts_from_now_on(tmp_path: Path) -> None:
    """The first time it is seen no history is made up for; then each tick starts one instance."""
    scene = Triggered(tmp_path, NIGHTLY, now="2026-03-01T12:00:00Z")
    scene.look()
    assert scene.started() == {}

    scene.look("2026-03-02T01:59:59Z")
    assert scene.started() == {}
    for _ in range(3):
        scene.look("2026-03-02T02:00:00Z")

    assert scene.started() == {
        "2026-03-02T02:00:00Z": {"day": date(2026, 3, 1), "key": "of 2026-03-02"}
    }
    assert scene.is_sound()


def test_an_event_starts_one_instance_a_key(tmp_path: Path) -> None:
    """Also if it was emitted while nobody looked; a repeat starts nothing."""
    scene = Triggered(tmp_path, ON_ORDER)
    assert scene.engine.emit("order", "k-1", {"day": "2026-02-03"}).starts == ("m.on_order",)
    assert scene.engine.emit("order", "k-1", {"day": "2026-02-04"}).starts == ()
    scene.engine.emit("order", "k-2", {"day": date(2026, 2, 5)})
    scene.look()
    scene.look()
    scene.engine.emit("order", "ключ/3")
    scene.look()

    assert scene.started() == {
        "k-1": {"day": date(2026, 2, 3), "key": "k-1"},
        "k-2": {"day": date(2026, 2, 5), "key": "k-2"},
        "ключ/3": {"day": date(2026, 3, 1), "key": "ключ/3"},
    }
    assert scene.is_sound()


def test_an_event_that_was_emitted_before_any_worker_ran_starts_one(tmp_path: Path) -> None:
    """Whoever emits knows the machines, and so writes the trigger down before."""
    scene = Triggered(tmp_path)
    scene.machine = Triggered(tmp_path / "other", ON_ORDER).machine
    with scene.other() as other:
        other.emit("order", "early")
    scene.engine = scene.other()
    scene.watch._store.close()
    scene.watch = scene.watching()
    scene.look()

    assert list(scene.started()) == ["early"]
    assert scene.is_sound()


def test_a_worker_drives_what_triggers_start(tmp_path: Path) -> None:
    """Who works until nothing is left begins with what is due by then."""
    scene = Triggered(tmp_path, ON_ORDER)
    scene.engine.emit("order", "k-1")
    scene.engine.work(until_idle=True)

    assert scene.rows("SELECT status FROM instance") == [("done",)]
    assert scene.is_sound()
