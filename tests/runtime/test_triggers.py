"""Triggers: one instance for each occasion, whoever looks, and whenever."""

import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from statepipe.clock import SystemClock
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import StoreInDoubt, StoreUnusable
from statepipe.machine.triggers.events import Emitted
from statepipe.machine.triggers.schedules import Schedule
from statepipe.machine.triggers.trigger import Trigger
from statepipe.runtime.beside import Trouble
from statepipe.runtime.triggers.attending import attending
from statepipe.runtime.triggers.kinds import Occasion
from statepipe.runtime.triggers.watch import Watch
from statepipe.store.care.prune import Which, prune
from statepipe.store.triggers import deciding
from statepipe.testing import violations
from tests.runtime.triggered import Triggered, machine

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

#: The thread beside the loop has begun to look; what it started is done.
BEGUN = "SELECT 1 FROM machine_trigger JOIN worker"
DONE = """
SELECT o.key FROM occasion o JOIN instance i ON i.id = o.instance WHERE i.status = 'done'
"""


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
    scene.machine = machine(ON_ORDER)
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


def test_two_workers_start_each_occasion_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the other one decides between a look and its decision."""
    scene = Triggered(tmp_path, NIGHTLY, ON_ORDER)
    other = scene.watching(seed=2)
    scene.engine.emit("order", "k-1")
    scene.set("2026-03-03T12:00:00Z")
    decide, raced = deciding.decide, [False]

    def racing(*args: Any, **kwargs: Any) -> deciding.Decided | None:  # noqa: ANN401  (as it is called)
        if not raced[0]:
            raced[0] = True
            other.turn()
        return decide(*args, **kwargs)

    monkeypatch.setattr(deciding, "decide", racing)
    scene.watch.turn()
    other.turn()
    other._store.close()

    keys = ["2026-03-01T02:00:00Z", "2026-03-02T02:00:00Z", "2026-03-03T02:00:00Z", "k-1"]
    assert sorted(scene.started()) == keys
    assert scene.rows("SELECT count(*) FROM instance") == [(4,)]
    assert scene.is_sound()


def test_a_pause_between_a_look_and_its_decision_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unpaused, it stands as it was seen; what was due then is started all the same, and now."""
    scene = Triggered(tmp_path, NIGHTLY)
    scene.set("2026-03-01T12:00:00Z")
    decide, raced = deciding.decide, [False]

    def racing(*args: Any, **kwargs: Any) -> deciding.Decided | None:  # noqa: ANN401  (as it is called)
        if not raced[0]:
            raced[0] = True
            scene.engine.triggers.pause("m.nightly", reason="wait")
        return decide(*args, **kwargs)

    monkeypatch.setattr(deciding, "decide", racing)
    scene.look()
    assert scene.started() == {}

    scene.engine.triggers.unpause("m.nightly", reason="go on")
    scene.look()

    assert list(scene.started()) == ["2026-03-01T02:00:00Z"]
    assert scene.is_sound()


def test_many_events_are_started_some_at_a_time(tmp_path: Path) -> None:
    """Each some in one transaction, in the order they were emitted; keys as long as may be."""
    scene = Triggered(tmp_path, ON_ORDER)
    keys = [f"{n}{'ü' * (n + 700)}" for n in range(2 * deciding.GROUP + 50)]
    for key in keys:
        scene.engine.emit("order", key[:1_000])
    scene.look()

    assert list(scene.started()) == [key[:1_000] for key in keys]
    assert scene.rows("SELECT count(DISTINCT created_at_ms) FROM instance") == [(1,)]
    assert scene.is_sound()


def test_a_look_at_nothing_asks_the_store_whether_anybody_wrote_and_no_more(
    tmp_path: Path,
) -> None:
    """Five times a second in every worker: a trigger that waits costs next to nothing."""
    scene = Triggered(tmp_path, NIGHTLY, ON_ORDER)
    scene.look()
    asked: list[str] = []
    scene.watch._store.connection.set_trace_callback(asked.append)
    for _ in range(5):
        scene.clock.advance(200)
        scene.look()
    assert asked == ["PRAGMA data_version"] * 5

    scene.engine.create("m", instance_id="somebody")
    scene.look()
    assert len(asked) == 8, "how they stand, and whether the event was emitted"
    assert scene.is_sound()


def test_occasions_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    """In the transaction of the decision; at 0 from the moment the trigger is seen."""
    scene = Triggered(tmp_path, NIGHTLY, ON_ORDER)
    counted = "SELECT state, label, value FROM counter WHERE metric = 'occasions' ORDER BY 1, 2"
    assert [value for *_, value in scene.rows(counted)] == [0] * 8
    scene.engine.emit("order", "k-1", {"day": "no day"})
    scene.engine.emit("order", "k-2")
    scene.look("2028-03-01T00:00:00Z")
    scene.engine.triggers.backfill("m.on_order", [Occasion("k-1", {})], reason="mended")

    assert scene.rows(counted) == [
        *(("nightly", "passed over", 0), ("nightly", "refused", 0)),
        *(("nightly", "skipped", 0), ("nightly", "started", 731)),
        *(("on_order", "passed over", 0), ("on_order", "refused", 1)),
        *(("on_order", "skipped", 0), ("on_order", "started", 2)),
    ]
    assert scene.is_sound()


def test_a_paused_trigger_goes_on_where_it_was(tmp_path: Path) -> None:
    """An event that came meanwhile starts its instance; a schedule makes up by its catchup."""
    scene = Triggered(tmp_path, NIGHTLY, ON_ORDER)
    scene.look()
    for name in ("m.nightly", "m.on_order"):
        scene.engine.triggers.pause(name, reason="the source moves")
    scene.engine.emit("order", "k-1")
    scene.look("2026-03-02T12:00:00Z")
    assert scene.started() == {}

    for name in ("m.nightly", "m.on_order"):
        scene.engine.triggers.unpause(name, reason="it is there")
    scene.look()
    assert list(scene.started()) == ["2026-03-01T02:00:00Z", "2026-03-02T02:00:00Z", "k-1"]
    told = scene.rows("SELECT kind, note FROM trigger_journal WHERE kind LIKE '%pause' ORDER BY n")
    assert told == [("pause", "the source moves")] * 2 + [("unpause", "it is there")] * 2
    assert scene.is_sound()


def test_an_occasion_outlives_its_instance(tmp_path: Path) -> None:
    """What was pruned is not started once more, neither by its trigger nor by a backfill."""
    scene = Triggered(tmp_path, ON_ORDER)
    scene.engine.emit("order", "k-1")
    scene.engine.work(until_idle=True)
    which = Which(before_ms=scene.clock.now_ms(), statuses=("done",))
    assert list(prune(scene.engine._store, scene.engine._stage, which)) == [1]

    occasion = Occasion("k-1", {"event.key": "k-1"})
    assert scene.engine.triggers.backfill("m.on_order", [occasion], reason="again").started == []
    scene.look()
    assert scene.rows("SELECT count(*) FROM instance") == [(0,)]
    assert scene.rows("SELECT count(instance) FROM occasion") == [(1,)]
    assert scene.is_sound()


def test_an_id_that_is_taken_is_made_anew(tmp_path: Path) -> None:
    """Two workers of one seed draw the same ids; the decision is then made once more."""
    scene = Triggered(tmp_path, ON_ORDER)
    scene.engine.emit("order", "k-1")
    scene.look()
    other = scene.watching()
    scene.engine.emit("order", "k-2")
    other.turn()
    other._store.close()

    assert list(scene.started()) == ["k-1", "k-2"]
    assert scene.is_sound()


def test_a_concurrency_key_that_is_too_long_is_a_refusal(tmp_path: Path) -> None:
    """As in `run`; no instance is tried for again and again, and the next occasion has its own."""
    (tmp_path / "statepipe.toml").write_text(
        '[machines.m]\nconcurrency = { key = "{params.key}" }\n', encoding="utf-8"
    )
    said = Trigger(name="said", on=Emitted(event="order"), params={"key": "{event.params.text}"})
    scene = Triggered(tmp_path, said)
    scene.engine.emit("order", "long", {"text": "x" * 1_199})
    scene.engine.emit("order", "short", {"text": "x" * 1_198})
    scene.look()

    assert list(scene.started()) == ["short"]
    assert scene.rows("SELECT concurrency_key, awaits_turn FROM instance") == [
        ("m:" + "x" * 1_198, 1)
    ]
    ((refusal,),) = scene.rows("SELECT refusal FROM occasion WHERE key = 'long'")
    assert "1,201 characters" in refusal
    assert scene.is_sound()


def test_a_trigger_that_listens_to_another_event_begins_anew(tmp_path: Path) -> None:
    """What was emitted of that before is not made up for; what comes is."""
    scene = Triggered(tmp_path, ON_ORDER, Trigger(name="other", on=Emitted(event="paid")))
    scene.engine.emit("order", "k-1")
    scene.engine.emit("paid", "p-1")
    scene.look()
    scene.machine = Triggered(
        tmp_path / "x", Trigger(name="other", on=Emitted(event="order"))
    ).machine
    scene.engine.close()
    scene.engine = scene.other()
    scene.watch._store.close()
    scene.watch = scene.watching()
    scene.look()
    scene.engine.emit("order", "k-2")
    scene.look()

    assert list(scene.started()) == ["k-1", "p-1", "k-2"]
    assert scene.is_sound()


def test_a_worker_starts_what_is_emitted_while_it_works(tmp_path: Path) -> None:
    """The thread beside its loop sees what another process wrote."""
    config, clock = load_config(start=tmp_path, environ={}), SystemClock()
    over = threading.Event()

    def emits() -> None:
        with Engine(config, machines=[machine(ON_ORDER)]) as other:
            until(lambda: bool(other._store.connection.execute(BEGUN).fetchone()))
            other.emit("order", "k-1")
            until(lambda: bool(other._store.connection.execute(DONE).fetchone()))
            worker.stop("the test is over")

    def until(condition: Callable[[], bool]) -> None:
        began_ms = clock.boot_ms()
        while not condition() and not over.wait(0.01):
            assert clock.boot_ms() - began_ms < 45_000

    with Engine(config, machines=[machine(ON_ORDER)]) as worker:
        assert not worker._store.in_doubt, "it is made before two threads want it"
        thread = threading.Thread(target=emits)
        thread.start()
        try:
            worker.work()
        finally:
            over.set()
            thread.join()
        assert worker._store.connection.execute(DONE).fetchone() == ("k-1",)

    assert not [each for each in threading.enumerate() if each.name == "statepipe-triggers"]
    assert violations(config.store) == []


@pytest.mark.parametrize("kind", [StoreInDoubt, StoreUnusable, UnicodeError])
def test_trouble_with_the_store_ends_a_worker_only_if_a_commit_is_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """All else of the store the loop meets as well, and reports; a defect of ours ends it."""
    scene = Triggered(tmp_path, ON_ORDER)
    turned, stopped = threading.Event(), threading.Event()
    looks = [0]

    def turn(_: Watch) -> None:
        looks[0] += 1
        if looks[0] == 2:
            raise kind("it failed")
        if looks[0] == 3:
            turned.set()

    monkeypatch.setattr(Watch, "turn", turn)
    block = attending(
        scene.engine._store,
        [scene.engine._program("m")],
        observers=scene.engine._observers,
        rng=scene.engine._rng,
        trouble=Trouble(scene.engine._store, lambda _: stopped.set()),
    )
    if kind is not StoreUnusable:
        with pytest.raises(kind), block:
            assert stopped.wait(60)
    else:
        with block:
            assert turned.wait(60)
        assert not stopped.is_set()
    assert scene.is_sound()
