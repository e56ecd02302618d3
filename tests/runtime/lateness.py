"""
Waits for what is emitted with a key, which a machine says may come too late for them.

    twice       a machine that waits in `asking`, for a time in `b` or `pausing`, and in `again`
    scene_of    a store with an instance of it that rests in `asking`
    by_time, by_cancel      how its wait ends
    late_rows   what came too late for whom
"""

from datetime import date
from pathlib import Path

from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State
from statepipe.machine.events import EventRule, Late
from statepipe.machine.parameter import Param
from statepipe.machine.states.waits import Wait
from tests.runtime.waiting import HOUR_MS, Waiting, leads

KEY = "2026-07-01/x"


def twice(late: Late = "quarantine") -> Machine:
    """Return a machine that waits for what happened of a day, then a while, and then again."""
    wait = Wait(events=("approved", "rejected"), ms=HOUR_MS, key="{params.day}/x")
    states = (
        State(
            name="asking", task=wait, on=leads(approved="pausing", rejected="pausing", timeout="b")
        ),
        State(name="b", task=Wait(ms=HOUR_MS), on=leads(ok="again")),
        State(name="pausing", task=Wait(ms=HOUR_MS), on=leads(ok="again")),
        State(name="again", task=wait, on=leads(approved="done", rejected="done")),
        State(name="done", final="success"),
    )
    day = Param(name="day", type="date", default=date(2026, 7, 1), required=False)
    rule = EventRule(event="approved", late=late)
    return Machine(name="m", initial="asking", states=states, params=(day,), events=(rule,))


def scene_of(folder: Path, machine: Machine | None = None) -> Waiting:
    """Return a scene whose instance rests in `asking`."""
    scene = Waiting(folder, machine or twice())
    scene.turn()
    return scene


def later(scene: Waiting, engine: Engine | None = None) -> None:
    """Let the time of a wait pass."""
    scene.clock.advance(HOUR_MS)
    scene.turn(engine)


def late_rows(scene: Waiting) -> list[tuple[object, ...]]:
    """Return what came too late for whom."""
    return list(scene.rows("SELECT id, event, key, reason, became FROM late_events ORDER BY id"))


def by_time(scene: Waiting) -> None:
    """Nothing came."""
    later(scene)


def by_cancel(scene: Waiting) -> None:
    """A person does not want it any more."""
    scene.engine.cancel("i")
