"""States that wait: moved by an event, by their time, or by nobody; never twice, never lost."""

from collections.abc import Callable
from pathlib import Path

import pytest

from statepipe.errors import BadParameter, NotFound, Refused, StatepipeError
from statepipe.machine.states.waits import Wait
from statepipe.runtime.driving import waits
from statepipe.store.codec import encode
from statepipe.store.steering import instances as steering
from statepipe.store.steering.instances import NewInstance
from statepipe.store.walk import signals
from statepipe.store.walk.ready import Scope
from tests.runtime.waiting import ASKING, HOUR_MS, Waiting, machine, seen


def test_an_event_moves_on_and_brings_its_parameters(tmp_path: Path) -> None:
    """They are the state's result, for whatever comes after."""
    scene = Waiting(tmp_path)
    scene.turn()
    assert scene.rests() == ("asking", "ready", True)

    assert scene.engine.signal("i", "approved", {"by": "ada"}, reason="looks fine")
    scene.turn()

    assert scene.rests() == ("done", "done", False)
    assert seen == [{"asking": {"by": "ada"}}]
    assert scene.rows(
        "SELECT kind, event, note FROM journal WHERE event IN ('signal', 'wait')"
    ) == [
        ("interrupt", "wait", "for approved or rejected"),
        ("request", "signal", "approved: looks fine"),
    ]
    assert scene.is_sound()


def test_an_event_that_comes_first_is_kept(tmp_path: Path) -> None:
    """Before the wait began, even before anybody drove the instance: the first that was sent."""
    scene = Waiting(tmp_path)

    assert scene.engine.signal("i", "approved", {"n": 1})
    scene.engine.signal("i", "rejected")
    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.rows("SELECT event, taken_seq IS NULL FROM signal") == [
        ("approved", 0),
        ("rejected", 1),
    ]
    assert scene.is_sound()


def test_each_event_is_taken_once(tmp_path: Path) -> None:
    """Of two waits for the same the second needs one of its own."""
    scene = Waiting(tmp_path, machine(again=True))
    scene.engine.signal("i", "approved", {"n": 1})
    scene.turn()
    assert scene.rests() == ("again", "ready", True)

    scene.engine.signal("i", "approved", {"n": 2})
    scene.turn()

    assert seen == [{"asking": {"n": 1}, "again": {"n": 2}}]
    assert scene.is_sound()


def test_the_time_is_up(tmp_path: Path) -> None:
    """The wait ends with `timeout`, which the instance is told to have failed by."""
    scene = Waiting(tmp_path)
    scene.turn()

    scene.clock.advance(HOUR_MS - 1)
    scene.turn()
    assert scene.rests()[0] == "asking"
    scene.clock.advance(1)
    scene.turn()

    row = scene.row()
    assert (row["state"], row["failed_state"], row["error_class"]) == (
        "failed",
        "asking",
        "timeout",
    )
    assert row["error"] == "no 'approved' or 'rejected' came within 1h 0m"
    with pytest.raises(Refused, match="already failed"):
        scene.engine.signal("i", "approved")
    assert scene.is_sound()


def test_a_resume_after_the_timeout_waits_afresh(tmp_path: Path) -> None:
    """As for every failed state: a fresh budget, here of time."""
    scene = Waiting(tmp_path)
    scene.turn()
    scene.clock.advance(HOUR_MS)
    scene.turn()

    scene.engine._take_back("i", reason=None, definition="pinned")
    scene.turn()
    assert scene.rests() == ("asking", "ready", True)
    assert scene.row()["wake_at_ms"] == scene.clock.now_ms() + HOUR_MS
    scene.engine.signal("i", "approved")
    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.is_sound()


def test_a_pause_does_not_prolong_a_wait(tmp_path: Path) -> None:
    """What is left of the time is what was left; an event that came meanwhile is there."""
    scene = Waiting(tmp_path)
    scene.turn()
    scene.clock.advance(1_000)
    assert scene.engine.pause("i")
    scene.clock.advance(1_000)
    scene.turn()
    assert scene.rests() == ("asking", "paused", False)

    scene.engine._take_back("i", reason=None, definition="pinned")
    scene.turn()
    assert scene.row()["wake_delay_ms"] == HOUR_MS - 2_000
    assert scene.engine.pause("i")
    scene.engine.signal("i", "approved")
    scene.turn()
    assert scene.rests() == ("asking", "paused", False)
    scene.engine._take_back("i", reason=None, definition="pinned")
    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.is_sound()


def test_a_waiting_instance_can_be_cancelled(tmp_path: Path) -> None:
    """At once, for nobody drives it; then it takes no events."""
    scene = Waiting(tmp_path)
    scene.turn()

    assert scene.engine.cancel("i")

    with pytest.raises(Refused, match="already cancelled"):
        scene.engine.signal("i", "approved")
    assert scene.rests() == ("cancelled", "cancelled", False)
    assert scene.is_sound()


def test_a_rewind_asks_again(tmp_path: Path) -> None:
    """What was said before the rewind was said of what is now to be done again."""
    scene = Waiting(tmp_path, machine(first=False))
    scene.turn()
    scene.engine.signal("i", "approved")
    scene.turn()
    assert scene.rests()[0] == "done"

    scene.engine.rewind("i", to="a")
    scene.turn()
    assert scene.rests() == ("asking", "ready", True)
    scene.engine.signal("i", "approved")
    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.is_sound()


@pytest.mark.parametrize(
    ("send", "kind", "told"),
    [
        (lambda scene: scene.engine.signal("nobody", "approved"), NotFound, "nobody"),
        (lambda scene: scene.engine.signal("i", "aproved"), NotFound, 'did you mean "approved"'),
        (lambda scene: scene.engine.signal("i", "timeout"), NotFound, "waits for no event"),
        (
            lambda scene: scene.engine.signal("i", "approved", {"x": "y" * 70_000}),
            BadParameter,
            "more than",
        ),
        (lambda scene: scene.engine.signal("i", "approved", {"x": object()}), StatepipeError, "x"),
    ],
    ids=["instance", "event", "ours", "size", "value"],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, send: Callable[[Waiting], object], kind: type[StatepipeError], told: str
) -> None:
    """Before anything is written down."""
    scene = Waiting(tmp_path)
    scene.turn()
    before = scene.row()

    with pytest.raises(kind, match=told) as refused:
        send(scene)

    assert refused.value.next_step
    assert scene.row() == before
    assert scene.rows("SELECT * FROM signal") == []
    assert scene.is_sound()


def test_too_many_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that sends and sends fills no store."""
    monkeypatch.setattr(signals, "KEPT_MAX", 3)
    scene = Waiting(tmp_path)
    for n in range(3):
        scene.engine.signal("i", "approved", {"n": n})

    with pytest.raises(Refused, match="has 3 events"):
        scene.engine.signal("i", "approved")
    assert scene.is_sound()


@pytest.mark.parametrize("moment", ["before it looks", "after it looked"])
def test_a_signal_while_the_wait_begins_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Whether before the look at what was sent, or between that and the commit of the rest."""
    scene = Waiting(tmp_path)
    sent: list[bool] = []
    look = waits.turn

    def racing(*args: object, **facts: object) -> waits.Turn:
        def send() -> None:
            if not sent:
                with scene.other() as other:
                    sent.append(other.signal("i", "approved", {"n": 1}))

        if moment == "before it looks":
            send()
        turn = look(*args, **facts)  # type: ignore[arg-type]  # handed through
        send()
        return turn

    monkeypatch.setattr(waits, "turn", racing)
    scene.turn()

    assert sent == [True]
    assert scene.rests()[0] == "done"
    assert seen == [{"asking": {"n": 1}}]
    assert scene.is_sound()


def test_an_event_wins_over_a_time_that_is_up(tmp_path: Path) -> None:
    """It was committed before anybody noticed the time; and is not taken by both."""
    scene = Waiting(tmp_path)
    scene.turn()
    scene.clock.advance(2 * HOUR_MS)
    scene.engine.signal("i", "approved")

    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.is_sound()


def test_a_driver_that_dies_before_its_move_took_nothing(tmp_path: Path) -> None:
    """The event is taken in the transaction of the move, so the next driver finds it."""
    scene = Waiting(tmp_path)
    scene.turn()
    scene.engine.signal("i", "approved", {"n": 1})
    zombie = scene.other()
    zombie._program("m")
    loop = zombie._driver.loop()
    loop.limit_to(Scope())
    loop._claim()
    loop._dispatch()
    assert loop._group, "its move is decided"

    scene.clock.advance(60_000)
    with scene.engine._store.write() as connection:
        connection.execute("UPDATE worker SET deadline_boot_ms = 0, pid_started = 1 WHERE n = 2")
    scene.turn()
    loop._commit()

    assert zombie._driver._loop is not None
    assert zombie._driver._loop.fenced == ["i"]
    zombie.close()
    assert scene.rests()[0] == "done"
    assert scene.rows("SELECT count(*) FROM journal WHERE event = 'approved'") == [(1,)]
    assert scene.is_sound()


def test_thousands_that_wait_cost_a_poll_nothing(tmp_path: Path) -> None:
    """No row of theirs is read, none is in memory, and a full executor holds up no wait."""
    scene = Waiting(tmp_path, in_flight_max=500)
    store = scene.engine._store
    steering.create(
        store,
        machine="m",
        definition=scene.engine._program("m").definition,
        initial="asking",
        instances=[NewInstance(f"w{n}", encode({})) for n in range(2_000)],
    )
    scene.turn()
    loop = scene.engine._driver.loop()
    assert loop.drives == {}
    assert scene.rows("SELECT count(*) FROM instance WHERE wake_boot_id IS NOT NULL") == [(2_001,)]

    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    store.connection.set_progress_handler(count, 100)
    for _ in range(10):
        loop._agenda.look_at_once()
        loop.tick()
    store.connection.set_progress_handler(None, 100)

    assert steps < 10 * 20, "a poll takes some hundred steps of SQLite, however many wait"
    assert scene.is_sound()


def test_a_machine_that_waits_says_so_in_its_digest() -> None:
    """What is waited for is part of the machine; how long is policy."""
    assert ASKING.raises == ("approved", "rejected", "timeout")
    assert Wait(ms=1).raises == ("ok",)
