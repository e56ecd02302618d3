"""What triggers start is admitted like what people make: by its key, and if there is room."""

import logging
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import Busy
from statepipe.machine.triggers.events import Emitted
from statepipe.machine.triggers.schedules import Schedule
from statepipe.machine.triggers.trigger import Trigger
from statepipe.machine.triggers.upstreams import After
from statepipe.runtime.triggers.asking import missing
from statepipe.runtime.triggers.watch import Watch
from statepipe.sharing import Concurrency, Sharing
from statepipe.store.triggers import deciding
from statepipe.terms import Behavior
from tests.runtime.following import Following
from tests.runtime.test_after import hours
from tests.runtime.test_file_triggers import Inbox
from tests.runtime.triggered import Triggered, at_ms

ON_ORDER = Trigger(name="on_order", on=Emitted(event="order"), params={"key": "{event.key}"})
HOURLY = Trigger(
    name="hourly", on=Schedule(cron="0 * * * *", catchup="last"), params={"key": "at {tick.at}"}
)

OCCASIONS = "SELECT key, instance IS NOT NULL, refusal, skipped FROM occasion ORDER BY n"
COUNTED = """
SELECT label, value FROM counter WHERE metric = 'occasions' AND state = ? AND value > 0 ORDER BY 1
"""
STATUSES = "SELECT status, count(*) FROM instance GROUP BY 1 ORDER BY 1"


def one_at_a_time(behavior: Behavior, ready_max: int | None = None) -> Sharing:
    """Return that only one instance may be under way."""
    return Sharing(concurrency=Concurrency(key="one", behavior=behavior), ready_max=ready_max)


def emitted(scene: Triggered, *keys: str) -> None:
    """Emit an order for each key."""
    for key in keys:
        scene.engine.emit("order", key)


def run_all(scene: Triggered) -> None:
    """Drive what is there to its end."""
    ids = [id_ for (id_,) in scene.rows("SELECT id FROM instance WHERE status = 'ready'")]
    scene.engine.run(ids)


def test_an_occasion_whose_key_is_taken_is_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Written down with who has the key, told, counted, and never tried again by the trigger."""
    caplog.set_level(logging.INFO)
    scene = Triggered(tmp_path, ON_ORDER, sharing=one_at_a_time("skip"))
    emitted(scene, "a", "b")
    scene.look()
    ((first,),) = scene.rows("SELECT id FROM instance")
    emitted(scene, "c")
    scene.look()
    run_all(scene)
    scene.watching(seed=2).turn()
    emitted(scene, "d")
    scene.look()

    taken = f"key 'one' is taken by {first}"
    assert scene.rows(OCCASIONS) == [
        ("a", 1, None, None),
        ("b", 0, None, taken),
        ("c", 0, None, taken),
        ("d", 1, None, None),
    ]
    assert scene.rows(COUNTED, "on_order") == [("skipped", 2), ("started", 2)]
    assert scene.rows("SELECT started, refused, skipped FROM triggers") == [(2, 0, 2)]
    assert f"trigger m.on_order skipped b: {taken}" in caplog.messages
    assert scene.is_sound()


def test_a_partition_that_was_skipped_and_is_done_again_is_not_tried_again(tmp_path: Path) -> None:
    """It was decided; done again it is no new occasion."""
    each = After(machine="up", partition="each")
    scene = Following(tmp_path, each, sharing=one_at_a_time("skip"))
    scene.does(*hours("2013-02-08", 1, 2))
    assert scene.keys() == ["2013-02-08T01"]
    run_all(scene)

    scene.does("2013-02-08T02:00:00Z")

    assert scene.keys() == ["2013-02-08T01"]
    assert scene.rows(COUNTED, "t") == [("skipped", 1), ("started", 1)]
    assert scene.is_sound()


def test_a_person_may_start_what_was_skipped(tmp_path: Path) -> None:
    """A backfill starts what has no instance, and is admitted as well: in vain while it is."""
    scene = Triggered(tmp_path, ON_ORDER, sharing=one_at_a_time("skip"))
    emitted(scene, "a", "b")
    scene.look()
    now_ms = scene.clock.now_ms()
    connection = scene.engine._store.connection
    period = {"from_ms": now_ms - 1, "until_ms": now_ms, "now_ms": now_ms}
    found = missing(scene.machine, ON_ORDER, connection, **period).occasions
    assert [each.key for each in found] == ["b"]

    in_vain = scene.engine.triggers.backfill("m.on_order", found, reason="it is needed")
    run_all(scene)
    filled = scene.engine.triggers.backfill("m.on_order", found, reason="it is needed")

    assert (in_vain.started, list(in_vain.skipped)) == ([], ["b"])
    assert (len(filled.started), filled.skipped) == (1, {})
    assert [row[:2] for row in scene.rows(OCCASIONS)] == [("a", 1), ("b", 1)]
    assert scene.is_sound()


def test_an_occasion_cancels_those_that_have_its_key(tmp_path: Path) -> None:
    """In its own transaction; the one before it of the same look as well."""
    facts: list[Any] = []
    scene = Triggered(tmp_path, ON_ORDER, sharing=one_at_a_time("cancel"))
    scene.engine._observers._log = facts.append
    emitted(scene, "a")
    scene.look()
    emitted(scene, "b", "c")
    scene.look()

    assert scene.rows("SELECT status FROM instance ORDER BY n") == [
        ("cancelled",),
        ("cancelled",),
        ("ready",),
    ]
    ids = [id_ for (id_,) in scene.rows("SELECT id FROM instance ORDER BY n")]
    said = [(each.instance, each.note) for each in facts if each.kind == "cancel"]
    assert said == [(ids[0], f"{ids[1]} has its key"), (ids[1], f"{ids[2]} has its key")]
    run_all(scene)
    assert scene.rows(STATUSES) == [("cancelled", 2), ("done", 1)]
    assert scene.is_sound()


def test_events_wait_for_room_in_their_order(tmp_path: Path) -> None:
    """None is decided while as many are ready as may be; each is once some were driven."""
    scene = Triggered(tmp_path, ON_ORDER, sharing=Sharing(ready_max=2))
    emitted(scene, *"abcde")
    order = []
    for there in (["a", "b"], ["a", "b", "c", "d"], ["a", "b", "c", "d", "e"]):
        scene.look()
        scene.look()
        order.append(list(scene.started()) == there)
        run_all(scene)

    assert order == [True, True, True]
    assert scene.rows(STATUSES) == [("done", 5)]
    assert scene.rows(COUNTED, "on_order") == [("started", 5)]
    assert scene.is_sound()


def test_a_look_at_a_full_queue_looks_at_nothing_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is written meanwhile: a worker does not spin."""
    scene = Triggered(tmp_path, ON_ORDER, sharing=Sharing(ready_max=1))
    emitted(scene, "a", "b")
    scene.look()
    looks = []
    start_all = Watch._start_all

    def noting(watch: Watch, *args: Any) -> None:  # noqa: ANN401  (as it is called)
        looks.append(args)
        start_all(watch, *args)

    monkeypatch.setattr(Watch, "_start_all", noting)
    for key in "cdef":
        emitted(scene, key)
        scene.look()
    assert looks == []
    run_all(scene)
    scene.look()

    assert len(looks) == 1
    assert list(scene.started()) == ["a", "b"]
    assert scene.is_sound()


def test_triggers_of_one_machine_take_turns_at_its_room(tmp_path: Path) -> None:
    """However much one of them has, the other one is not kept waiting; nor is another machine."""
    other = Trigger(name="on_return", on=Emitted(event="return"), params={"key": "{event.key}"})
    scene = Triggered(tmp_path, ON_ORDER, other, sharing=Sharing(ready_max=1))
    emitted(scene, "a", "b", "c")
    for key in "xy":
        scene.engine.emit("return", key)
    for _ in range(5):
        scene.look()
        run_all(scene)

    assert list(scene.started()) == ["a", "x", "b", "y", "c"]
    assert scene.is_sound()


def test_ticks_that_find_the_queue_full_keep_their_catchup(tmp_path: Path) -> None:
    """Of several that came meanwhile the last is started, and the others are told of."""
    scene = Triggered(tmp_path, HOURLY, sharing=Sharing(ready_max=1))
    scene.look("2026-03-01T01:00:00Z")
    for hour in (2, 3, 4):
        scene.look(f"2026-03-01T{hour:02}:00:00Z")
    assert list(scene.started()) == ["2026-03-01T01:00:00Z"]
    run_all(scene)
    scene.look()

    assert list(scene.started()) == ["2026-03-01T01:00:00Z", "2026-03-01T04:00:00Z"]
    ((note,),) = scene.rows("SELECT note FROM trigger_journal WHERE kind = 'passed'")
    assert note.startswith("2 ticks passed over, from 2026-03-01T02:00:00Z")
    assert "or the queue was full" in note
    assert scene.is_sound()


def test_a_file_waits_for_room_and_is_not_lost(tmp_path: Path) -> None:
    """However long it takes, and whoever looks then."""
    scene = Inbox(tmp_path, stable_ms=1, sharing=Sharing(ready_max=1))
    for name in ("1.csv", "2.csv", "3.csv"):
        scene.put(name)
    assert scene.looks(20) == ["1.csv"]
    run_all(scene)
    assert scene.looks(20) == ["1.csv", "2.csv"]
    run_all(scene)
    scene.watch._store.close()
    scene.watch = scene.watching(seed=2)

    assert scene.looks(2) == ["1.csv", "2.csv", "3.csv"]
    assert scene.is_sound()


@pytest.mark.parametrize(
    ("after", "days"),
    [
        (After(machine="up", covers="day"), ["2013-02-07", "2013-02-08", "2013-02-09"]),
        (After(machine="up", partition="each"), None),
    ],
)
def test_what_comes_after_another_machine_waits_for_room(
    tmp_path: Path, after: After, days: list[str] | None
) -> None:
    """Each period, and each partition, in order, one at a time."""
    scene = Following(tmp_path, after, sharing=Sharing(ready_max=1))
    asked = [hour for day in (7, 8, 9) for hour in hours(f"2013-02-{day:02}", 0, 23)]
    asked = asked if days else asked[:3]
    scene.does(*asked)
    wanted = days or ["2013-02-07T00", "2013-02-07T01", "2013-02-07T02"]
    for count in (1, 2, 3, 3):
        assert scene.keys() == wanted[:count]
        run_all(scene)

    assert scene.is_sound()


def test_two_workers_never_make_more_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room is counted again in the transaction: who was overtaken decides nothing."""
    scene = Triggered(tmp_path, ON_ORDER, HOURLY, sharing=Sharing(ready_max=2))
    other = scene.watching(seed=2)
    emitted(scene, "a", "b")
    scene.set("2026-03-01T01:00:00Z")
    decide, raced = deciding.decide, [False]

    def racing(*args: Any, **kwargs: Any) -> deciding.Decided | None:  # noqa: ANN401  (as it is called)
        if not raced[0]:
            raced[0] = True
            scene.engine.create("m")
        return decide(*args, **kwargs)

    monkeypatch.setattr(deciding, "decide", racing)
    scene.look()
    other.turn()
    assert scene.rows(STATUSES) == [("ready", 2)]
    assert list(scene.started()) == ["a"]
    for _ in range(2):
        run_all(scene)
        scene.look()
    run_all(scene)

    assert scene.rows(STATUSES) == [("done", 4)]
    assert scene.is_sound()


def test_a_worker_that_works_until_nothing_is_left_starts_what_waited_for_room(
    tmp_path: Path,
) -> None:
    """Whoever has emptied the queue looks again before it ends."""
    scene = Triggered(tmp_path, ON_ORDER, sharing=Sharing(ready_max=1))
    emitted(scene, *"abcdefgh")
    scene.engine.work(until_idle=True)

    assert scene.rows(STATUSES) == [("done", 8)]
    assert list(scene.started()) == list("abcdefgh")
    assert scene.is_sound()


def test_a_backfill_that_finds_the_queue_full_says_how_far_it_came(tmp_path: Path) -> None:
    """What was started stays, and the same command goes on with what is missing still."""
    scene = Triggered(tmp_path, HOURLY, sharing=Sharing(ready_max=3))
    scene.set("2026-03-02T00:00:00Z")

    def filled() -> list[str]:
        until_ms = at_ms("2026-03-01T05:00:00Z")
        period = {"from_ms": at_ms("2026-03-01T01:00:00Z"), "until_ms": until_ms}
        connection, now_ms = scene.engine._store.connection, scene.clock.now_ms()
        found = missing(scene.machine, HOURLY, connection, **period, now_ms=now_ms)
        return scene.engine.triggers.backfill("m.hourly", found.occasions, reason="r").started

    with pytest.raises(Busy, match="ready_max = 3") as refused:
        filled()
    assert refused.value.meaning == "3 were created"
    with pytest.raises(Busy) as again:
        filled()
    assert again.value.meaning == "nothing was created"
    run_all(scene)

    assert len(filled()) == 2
    assert scene.rows("SELECT count(DISTINCT key), count(instance) FROM occasion") == [(5, 5)]
    assert scene.is_sound()
