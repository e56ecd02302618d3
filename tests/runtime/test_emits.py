"""Events that are emitted to whoever waits for a key: facts, which stay, and reach everybody."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from statepipe.errors import BadParameter, NotFound, StatepipeError
from statepipe.machine.definition import Machine, State
from statepipe.machine.parameter import Param
from statepipe.machine.states.waits import Wait
from statepipe.runtime.driving.group import Group
from statepipe.store.care.prune import Which, prune
from tests.runtime.waiting import HOUR_MS, Waiting, machine, seen


def keyed() -> Machine:
    """Return a machine that waits for what happened of a day."""
    wait = Wait(events=("approved", "rejected"), ms=HOUR_MS, key="{params.day}/x")
    day = Param(name="day", type="date", default=date(2026, 7, 1), required=False)
    return machine(wait, params=(day,))


def test_an_emit_reaches_all_who_wait_for_its_key(tmp_path: Path) -> None:
    """Whoever waits for another key goes on waiting; who comes late finds it there."""
    scene = Waiting(tmp_path, keyed())
    scene.engine.create("m", instance_id="j")
    scene.engine.create("m", instance_id="other", params={"day": "2026-07-02"})
    scene.turn()

    first = scene.engine.emit("approved", "2026-07-01/x", {"n": 1}, reason="all there")
    again = scene.engine.emit("approved", "2026-07-01/x", {"n": 2})
    scene.engine.create("m", instance_id="late")
    scene.turn()

    assert (len(first.woken), first.repeats) == (2, 0)
    assert (again.woken, again.repeats) == ((), 1)
    assert [scene.rests(each)[0] for each in ("i", "j", "late", "other")] == [
        *["done"] * 3,
        "asking",
    ]
    assert seen == [{"asking": {"n": 1}}] * 3
    assert scene.rows("SELECT key FROM awaiting") == [("2026-07-02/x",)] * 2
    assert scene.is_sound()


def test_a_signal_is_for_a_wait_with_a_key_as_well(tmp_path: Path) -> None:
    """A person may let one instance go on, whatever the others wait for."""
    scene = Waiting(tmp_path, keyed())
    scene.turn()

    assert scene.engine.signal("i", "approved", {"n": 3})
    scene.turn()

    assert seen == [{"asking": {"n": 3}}]
    assert scene.rows("SELECT * FROM awaiting") == []
    assert scene.is_sound()


@pytest.mark.parametrize("others", [0, 3])
def test_an_emit_while_the_wait_begins_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """Between the look and the commit of the rest; others of the same commit rest as they would."""
    scene = Waiting(tmp_path, keyed())
    for n in range(others):
        scene.engine.create("m", instance_id=f"o{n}", params={"day": "2026-07-02"})
    emitted: list[int] = []
    commit = Group.commit

    def racing(group: Group) -> object:
        if group and not emitted:
            with scene.other() as other:
                emitted.append(other.emit("approved", "2026-07-01/x").repeats)
        return commit(group)

    monkeypatch.setattr(Group, "commit", racing)
    scene.turn()

    assert emitted == [0]
    assert scene.rests()[0] == "done"
    assert [scene.rests(f"o{n}") for n in range(others)] == [("asking", "ready", True)] * others
    assert scene.is_sound()


def test_an_emit_while_the_time_is_up_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the commit of the timeout: what is there came first, as of a signal."""
    scene = Waiting(tmp_path, keyed())
    scene.turn()
    scene.clock.advance(HOUR_MS)
    emitted: list[int] = []
    commit = Group.commit

    def racing(group: Group) -> object:
        if group and not emitted:
            with scene.other() as other:
                emitted.append(other.emit("approved", "2026-07-01/x").repeats)
        return commit(group)

    monkeypatch.setattr(Group, "commit", racing)
    scene.turn()

    assert emitted == [0]
    assert scene.rests()[0] == "done"
    assert scene.rows("SELECT * FROM awaiting") == []
    assert scene.is_sound()


@pytest.mark.parametrize(
    ("event", "key", "kind", "told"),
    [
        ("aproved", "k", NotFound, 'did you mean "approved"'),
        ("approved", "", BadParameter, "1 to 1,000"),
        ("approved", "k" * 1_001, BadParameter, "1 to 1,000"),
    ],
)
def test_an_emit_that_makes_no_sense_is_refused(
    tmp_path: Path, event: str, key: str, kind: type[StatepipeError], told: str
) -> None:
    """Before anything is written down; also if no instance was ever there."""
    scene = Waiting(tmp_path, keyed())

    with pytest.raises(kind, match=told):
        scene.engine.emit(event, key)

    assert scene.rows("SELECT * FROM emitted") == []
    assert scene.is_sound()


def test_a_wait_without_a_key_is_for_no_emit(tmp_path: Path) -> None:
    """Also of an instance that rested with one before, and was taken back."""
    again = State(name="again", task=keyed().state("asking").task, on=keyed().state("asking").on)
    first = machine(again=True, params=keyed().params)
    states = tuple(again if each.name == "again" else each for each in first.states)
    scene = Waiting(tmp_path, replace(first, states=states))
    scene.engine.signal("i", "approved")
    scene.turn()
    assert scene.rows("SELECT count(*) FROM awaiting") == [(2,)]

    scene.engine.rewind("i", to="asking")
    scene.turn()

    assert scene.rows("SELECT * FROM awaiting") == []
    assert scene.engine.emit("approved", "2026-07-01/x").woken == ()
    assert scene.rests() == ("asking", "ready", True)
    assert scene.is_sound()


def test_an_event_may_be_emitted_before_there_is_an_instance(tmp_path: Path) -> None:
    """The store knows nothing of the machine yet; its definition says that it waits so."""
    scene = Waiting(tmp_path)
    scene.machine = replace(keyed(), name="n")
    with scene.other() as other:
        assert other.emit("approved", "2026-07-01/x").repeats == 0

    assert scene.rows("SELECT event, key FROM emitted") == [("approved", "2026-07-01/x")]
    assert scene.is_sound()


def test_a_pruned_instance_leaves_no_row_of_its_wait(tmp_path: Path) -> None:
    """Neither what it was sent nor what it rested for; what was emitted is for others, too."""
    scene = Waiting(tmp_path, keyed())
    scene.turn()
    scene.engine.signal("i", "rejected")
    scene.engine.cancel("i")
    which = Which(before_ms=scene.clock.now_ms(), statuses=("cancelled",))
    store, stage = scene.engine._store, scene.engine._stage

    assert list(prune(store, stage, which)) == [1]

    assert scene.rows("SELECT * FROM signal") == scene.rows("SELECT * FROM awaiting") == []
    assert scene.is_sound()
