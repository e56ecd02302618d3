"""An emit that comes too late for one who waited for it: the machine says what becomes of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from statepipe.machine.events import Late
from statepipe.runtime.driving.group import Group
from statepipe.runtime.reasons.standing import reasons
from statepipe.store.questions.evidence import gathered
from tests.runtime.lateness import KEY, by_cancel, by_time, late_rows, later, scene_of, twice
from tests.runtime.waiting import HOUR_MS, Waiting


def by_another_event(scene: Waiting) -> None:
    """The other event that it waits for is emitted."""
    scene.engine.emit("rejected", KEY)
    scene.turn()


def by_a_signal(scene: Waiting) -> None:
    """A person tells it of the other event."""
    scene.engine.signal("i", "rejected")
    scene.turn()


def by_a_signal_of_it(scene: Waiting) -> None:
    """A person has told it of the very event."""
    scene.engine.signal("i", "approved")
    scene.turn()


def by_kill(scene: Waiting) -> None:
    """A person does not want it any more, at once."""
    scene.engine.kill("i")


@pytest.mark.parametrize("late", ["quarantine", "drop", "accept"])
@pytest.mark.parametrize(
    "end", [by_time, by_another_event, by_a_signal, by_a_signal_of_it, by_cancel, by_kill]
)
def test_an_emit_after_the_wait_goes_by_the_rule(
    tmp_path: Path, end: Callable[[Waiting], None], late: Late
) -> None:
    """However the wait has ended; for who waits just then, or comes later, it is as ever."""
    scene = scene_of(tmp_path, twice(late))
    end(scene)
    before = scene.row()
    scene.engine.create("m", instance_id="j")
    scene.turn()
    if end is by_another_event:  # which is there for `j` as well
        scene.engine.signal("j", "rejected")

    emitted = scene.engine.emit("approved", KEY, {"by": "ada"}, reason="sorry")
    scene.engine.create("m", instance_id="k")
    scene.turn()

    kept = late == "accept"
    is_late_for_j = end is by_another_event and not kept
    assert emitted.late == (() if kept else ((1, late),) + ((2, late),) * is_late_for_j)
    assert len(emitted.woken) == (end is not by_another_event)
    names = ["i", "j"] if is_late_for_j else [] if kept else ["i"]
    assert late_rows(scene) == [(name, "approved", KEY, "sorry", late) for name in names]
    sql = "SELECT DISTINCT params IS NULL FROM late_event"
    assert scene.rows(sql) == ([] if kept else [(int(late == "drop"),)])
    assert scene.row() == before
    assert {scene.rests(each)[0] for each in "jk"} == {"pausing"}
    assert scene.rows("SELECT * FROM waited WHERE event = 'approved'") == []
    assert scene.is_sound()


@pytest.mark.parametrize("late", ["quarantine", "drop", "accept"])
def test_the_next_wait_does_not_take_what_came_too_late(tmp_path: Path, late: Late) -> None:
    """A signal still lets it go on; and `accept` keeps it for that wait."""
    scene = scene_of(tmp_path, twice(late))
    by_time(scene)
    scene.engine.emit("approved", KEY)
    again = scene.engine.emit("approved", KEY)
    later(scene)

    assert (again.repeats, again.late, again.woken) == (1, (), ())
    if late == "accept":
        assert scene.rests()[0] == "done"
        assert scene.is_sound()
        return
    assert scene.rests() == ("again", "ready", True)
    assert len(late_rows(scene)) == 1
    found = gathered(scene.engine._store.connection, "i", state=None, clock=scene.clock)
    said = {each.code: each for each in reasons(found, now_ms=scene.clock.now_ms())}
    assert said["late"].text.startswith(f"approved of {KEY} came too late")

    assert scene.engine.signal("i", "approved")
    scene.turn()
    assert scene.rests()[0] == "done"
    assert scene.is_sound()


def test_another_event_of_the_next_wait_is_taken(tmp_path: Path) -> None:
    """Only what came too late is left out; of `rejected` the machine says nothing."""
    scene = scene_of(tmp_path)
    by_time(scene)
    scene.engine.emit("approved", KEY)
    scene.engine.emit("rejected", KEY)
    later(scene)

    assert scene.rests()[0] == "done"
    assert scene.rows("SELECT event FROM journal WHERE target = 'done'") == [("rejected",)]
    assert scene.is_sound()


def test_the_deadline_ends_a_wait_too(tmp_path: Path) -> None:
    """Nothing is written then but the move, and yet the emit knows."""
    scene = scene_of(tmp_path, replace(twice(), deadline_ms=HOUR_MS // 2))
    scene.clock.advance(HOUR_MS // 2)
    scene.turn()
    assert scene.rests()[0] == "failed"

    assert scene.engine.emit("approved", KEY).late == ((1, "quarantine"),)

    assert scene.is_sound()


def test_a_wait_that_never_rested_has_ended_as_well(tmp_path: Path) -> None:
    """What was sent before it began ended it as it began."""
    scene = Waiting(tmp_path, twice("drop"))
    scene.engine.signal("i", "rejected")
    scene.turn()
    assert scene.rows("SELECT count(*) FROM journal WHERE event = 'wait'") == [(1,)]  # in pausing

    assert scene.engine.emit("approved", KEY).late == ((1, "drop"),)

    assert scene.is_sound()


def racing(
    monkeypatch: pytest.MonkeyPatch, scene: Waiting, *, state: str, event: str = "approved"
) -> list[tuple[tuple[int, str], ...]]:
    """Emit once, between what is decided in `state` and its commit; return for whom too late."""
    late: list[tuple[tuple[int, str], ...]] = []
    commit = Group.commit

    def slow(group: Group) -> object:
        if group and not late and scene.rests()[0] == state:
            with scene.other() as other:
                late.append(other.emit(event, KEY).late)
        return commit(group)

    monkeypatch.setattr(Group, "commit", slow)
    return late


@pytest.mark.parametrize("late", ["quarantine", "drop"])
def test_an_emit_before_the_timeouts_commit_is_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: Late
) -> None:
    """The order of commits decides: the timeout is decided again, and the event is taken."""
    scene = scene_of(tmp_path, twice(late))
    told = racing(monkeypatch, scene, state="asking")
    later(scene)

    assert told == [()]
    assert scene.rests()[0] == "pausing"
    assert late_rows(scene) == []
    assert scene.is_sound()


def test_an_emit_before_the_commit_of_another_event_is_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one came first and is taken; this one, which it still waited for, is next."""
    scene = scene_of(tmp_path)
    scene.engine.signal("i", "rejected")
    told = racing(monkeypatch, scene, state="asking")
    scene.turn()
    assert scene.rests()[0] == "pausing"
    later(scene)

    assert told == [()]
    assert scene.rests()[0] == "done"
    assert scene.is_sound()


def test_who_has_just_entered_another_such_wait_is_told_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its rest is committed: it is in a state that waits for this, and sees it."""
    scene = scene_of(tmp_path)
    by_time(scene)
    told = racing(monkeypatch, scene, state="again")
    later(scene)

    assert told == [()]
    assert scene.rests()[0] == "done"
    assert scene.is_sound()
