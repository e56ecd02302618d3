"""Triggers that come to listen to something else: they begin anew, and swallow nothing."""

from dataclasses import replace
from pathlib import Path

from statepipe.machine.triggers.arrivals import Arriving
from statepipe.machine.triggers.events import Emitted
from statepipe.machine.triggers.listening import Listens
from statepipe.machine.triggers.trigger import Trigger
from statepipe.machine.triggers.upstreams import After
from statepipe.runtime.triggers.asking import missing
from tests.runtime.following import HOURLY, Following, upstream
from tests.runtime.triggered import Triggered

STARTED = "SELECT key FROM occasion WHERE instance IS NOT NULL ORDER BY n"


def change(scene: Triggered, on: Listens) -> None:
    """Let the trigger `t` listen to something else, as a worker that begins now sees it."""
    scene.machine = replace(scene.machine, triggers=(Trigger(name="t", on=on),))
    scene.engine.close()
    scene.engine = scene.other()
    scene.watch._store.close()
    scene.watch = scene.watching()
    scene.look()


def test_a_key_of_another_event_is_another_occasion(tmp_path: Path) -> None:
    """Also if the event before had it, and once more if that one comes back; each key once."""
    scene = Triggered(tmp_path, Trigger(name="t", on=Emitted(event="ready")))
    scene.engine.emit("ready", "day1")
    scene.look()
    change(scene, Emitted(event="complete"))
    for key in ("day1", "day2"):
        assert scene.engine.emit("complete", key).starts == ("m.t",)
    scene.look()

    assert scene.rows(STARTED) == [("day1",), ("day1",), ("day2",)]
    change(scene, Emitted(event="ready"))
    scene.engine.emit("ready", "day2")
    scene.look()
    assert scene.rows(STARTED) == [("day1",), ("day1",), ("day2",), ("day2",)]
    assert scene.is_sound()


def test_only_what_a_trigger_started_for_its_event_of_now_has_its_instance(tmp_path: Path) -> None:
    """Also as long as the store does not know yet that it has changed."""
    other = Trigger(name="other", on=Emitted(event="complete"))
    scene = Triggered(tmp_path, Trigger(name="t", on=Emitted(event="ready")), other)
    period = {"from_ms": 0, "until_ms": scene.clock.now_ms(), "now_ms": scene.clock.now_ms()}
    scene.engine.emit("ready", "day1")
    scene.engine.emit("complete", "day1")
    scene.look()
    connection = scene.engine._store.connection
    ready, _ = scene.machine.triggers
    complete = Trigger(name="t", on=Emitted(event="complete"))
    assert missing(scene.machine, ready, connection, **period).taken == 1
    assert missing(scene.machine, complete, connection, **period).taken == 0

    change(scene, complete.on)
    connection = scene.engine._store.connection
    found = missing(scene.machine, complete, connection, **period)
    assert (len(found.occasions), found.taken) == (1, 0)
    scene.engine.triggers.backfill("m.t", found.occasions, reason="it was emitted before")
    assert missing(scene.machine, complete, connection, **period).taken == 1
    assert scene.rows(STARTED) == [("day1",), ("day1",), ("day1",)]
    assert scene.is_sound()


def test_a_partition_of_another_machine_is_another_occasion(tmp_path: Path) -> None:
    """It has the same key, and other data."""
    scene = Following(tmp_path, After(machine="up", partition="each"))
    scene.does("2013-02-08T01:00:00Z")
    assert scene.keys() == ["2013-02-08T01"]
    scene.upstream = replace(upstream(HOURLY), name="other")
    change(scene, After(machine="other", partition="each"))
    with scene.other() as engine:
        for hour in ("01", "02"):
            at = f"2013-02-08T{hour}:00:00Z"
            engine.run([str(engine.create("other", params={"at": at}))])
    scene.look()

    assert scene.rows(STARTED) == [("2013-02-08T01",), ("2013-02-08T01",), ("2013-02-08T02",)]
    assert scene.is_sound()


def test_a_file_is_the_same_whatever_the_trigger_listened_to_meanwhile(tmp_path: Path) -> None:
    """Its position begins at the beginning, and nothing is started a second time."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "a.csv").write_text("a\n")
    marked = Arriving(file="inbox/*", marker=".done")
    (inbox / "a.csv.done").touch()
    scene = Triggered(tmp_path, Trigger(name="t", on=marked))
    scene.look()
    change(scene, Emitted(event="ready"))
    scene.engine.emit("ready", "day1")
    scene.look()
    (inbox / "b.csv").write_text("b\n")
    (inbox / "b.csv.done").touch()
    change(scene, Arriving(file="inbox/*.csv", marker=".done"))
    scene.look("2026-03-02T00:00:00Z")

    names = [key.split(" ")[0] for (key,) in scene.rows(STARTED)]
    assert names == ["inbox/a.csv", "day1", "inbox/b.csv"]
    assert scene.is_sound()
