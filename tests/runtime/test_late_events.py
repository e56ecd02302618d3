"""Events that come too late, in a wrong shape, or in an order: what each machine says of them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from statepipe.errors import BadParameter, DefinitionError, NotFound, Refused
from statepipe.machine.definition import Machine
from statepipe.machine.events import EventRule, Late
from statepipe.machine.parameter import Param
from statepipe.machine.states.waits import Wait
from tests.runtime.waiting import ASKING, HOUR_MS, Waiting, machine, seen

SCHEMA = {"type": "object", "required": ["by"], "properties": {"by": {"type": "string"}}}


def scene_of(folder: Path, asked: Machine, **rule: str) -> Waiting:
    """Return a scene whose machine has a rule for `approved`, and a schema beside it."""
    contracts = folder / "machines" / "contracts"
    contracts.mkdir(parents=True)
    (contracts / "approved@1.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    ruled = EventRule(event="approved", **rule)  # type: ignore[arg-type]  # a Late
    return Waiting(folder, replace(asked, events=(ruled,)))


@pytest.mark.parametrize("late", ["quarantine", "drop"])
def test_an_event_after_its_wait_is_not_taken_by_the_next(tmp_path: Path, late: Late) -> None:
    """It answers what is no longer asked; what is quarantined can still be read."""
    asked = machine(again=True)
    rest = Wait(ms=HOUR_MS)
    ends = asked.state("b").on
    states = tuple(replace(s, task=rest, settings={}) if s.name == "b" else s for s in asked.states)
    assert ends
    scene = scene_of(tmp_path, replace(asked, states=states), late=late)
    for _ in range(2):
        scene.engine.signal("i", "approved")
        scene.turn()
    assert scene.rests() == ("b", "ready", True)
    before = scene.row()

    sent = scene.engine.send("i", "approved", {"by": "ada"}, reason="sorry")

    assert (sent.late, sent.is_awaited, scene.row()) == (late, False, before)
    assert scene.rows("SELECT id, event, reason, became FROM late_events") == [
        ("i", "approved", "sorry", late)
    ]
    assert scene.rows("SELECT params IS NULL FROM late_event") == [(int(late == "drop"),)]
    assert scene.rows("SELECT count(*) FROM signal") == [(2,)]
    assert scene.is_sound()


def test_an_instance_that_has_ended_has_late_events_counted(tmp_path: Path) -> None:
    """Without a rule it takes none, and says so; a resume does not find what came too late."""
    scene = scene_of(tmp_path, machine(), late="quarantine")
    scene.turn()
    scene.clock.advance(HOUR_MS)
    scene.turn()
    assert scene.rests()[0] == "failed"

    assert scene.engine.send("i", "approved").late == "quarantine"
    with pytest.raises(Refused, match="already failed"):
        scene.engine.send("i", "rejected")
    scene.engine._take_back("i", reason=None, definition="pinned")
    scene.turn()
    assert scene.rests() == ("asking", "ready", True)
    assert scene.engine.send("i", "approved").is_awaited
    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.is_sound()


def test_an_early_event_is_not_late(tmp_path: Path) -> None:
    """Before the wait began, and again after a rewind to before it."""
    scene = scene_of(tmp_path, machine(first=False), late="drop")
    assert scene.engine.send("i", "approved").late is None
    scene.turn()
    assert scene.rests()[0] == "done"

    scene.engine.rewind("i", to="a")
    assert scene.engine.send("i", "approved").late is None
    scene.turn()

    assert scene.rests()[0] == "done"
    assert scene.is_sound()


def test_what_breaks_the_schema_is_refused_with_the_place(tmp_path: Path) -> None:
    """Of a signal, and of an emit; nothing is changed by either."""
    keyed = replace(ASKING, key="{params.day}")
    day = (Param(name="day", type="date", default="2026-07-06"),)
    asked = machine(keyed, params=day)
    scene = scene_of(tmp_path, asked, schema="contracts/approved@1.json")
    scene.turn()
    before = scene.row()

    for send in (
        lambda: scene.engine.signal("i", "approved", {"by": 3}),
        lambda: scene.engine.emit("approved", "2026-07-06", {"by": 3}),
    ):
        with pytest.raises(BadParameter, match=r"contracts/approved@1\.json: /by") as refused:
            send()
        assert refused.value.next_step
    with pytest.raises(BadParameter, match="by"):
        scene.engine.signal("i", "approved")
    assert scene.row() == before
    assert scene.rows("SELECT event FROM signal UNION ALL SELECT event FROM emitted") == []

    scene.engine.emit("approved", "2026-07-06", {"by": "ada"})
    scene.turn()
    assert seen == [{"asking": {"by": "ada"}}]
    assert scene.is_sound()


def test_nobody_sends_unjudged_what_a_machine_wants_judged(tmp_path: Path) -> None:
    """Without the machine at hand it is refused; one without a schema needs no file."""
    scene = scene_of(tmp_path, machine(), schema="contracts/approved@1.json")
    scene.turn()
    scene.engine.catalog._built.clear()

    with pytest.raises(NotFound):
        scene.engine.signal("i", "approved", {"by": "ada"})
    assert scene.is_sound()


def test_events_of_one_key_are_taken_in_the_order_in_which_they_were_emitted(
    tmp_path: Path,
) -> None:
    """Not in that of the wait's list; and what differs from the first is said to."""
    keyed = replace(ASKING, key="{params.day}")
    day = (Param(name="day", type="date", default="2026-07-06"),)
    scene = Waiting(tmp_path, machine(keyed, params=day))
    scene.engine.emit("rejected", "2026-07-06", {"n": 1})
    again = scene.engine.emit("rejected", "2026-07-06", {"n": 2})
    same = scene.engine.emit("rejected", "2026-07-06", {"n": 1})
    scene.engine.emit("approved", "2026-07-06")
    scene.turn()

    assert (again.repeats, again.differs) == (1, True)
    assert (same.repeats, same.differs) == (2, False)
    assert scene.rests()[0] == "failed"
    assert scene.is_sound()


def test_a_rule_for_an_event_that_nobody_waits_for_is_refused() -> None:
    """It is a slip of the pen, or a wait that went."""
    with pytest.raises(DefinitionError, match='did you mean "approved"'):
        replace(machine(), events=(EventRule(event="aproved"),))
    with pytest.raises(DefinitionError, match="late"):
        EventRule(event="approved", late="later")  # type: ignore[arg-type]  # on purpose
