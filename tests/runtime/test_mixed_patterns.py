"""Sequential, event-driven, and a state machine: all in one, under an owned clock."""

from pathlib import Path

import pytest

from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.parameter import Param
from statepipe.machine.states.tasks import Run
from statepipe.machine.states.until import Until
from statepipe.machine.states.waits import Wait
from statepipe.model import Task
from tests.runtime.cluster import EVERY_MS, JOB, PATIENT, cluster
from tests.runtime.waiting import HOUR_MS, INLINE, Waiting, leads, seen, work

tokens: list[str] = []


def order(task: Task) -> dict[str, int]:
    """Ask an outside system for something, and remember how often that was."""
    assert task.callback_token is not None
    tokens.append(task.callback_token)
    return {"asked": len(tokens)}


def mixed() -> Machine:
    """Prices, then a job, then an approval or back to the job once, then the night, then an end."""
    return Machine(
        name="m",
        initial="prices",
        params=(Param(name="day", type="date", default="2023-11-14"),),
        states=(
            State(
                name="prices",
                task=Wait(events=("prices-ready",), key="{params.day}", ms=6 * HOUR_MS),
                on=leads(**{"prices-ready": "computing"}),
            ),
            State(
                name="computing",
                task=JOB,
                on=leads(ok="ordering"),
                retry=PATIENT,
                settings=INLINE,
            ),
            State(
                name="ordering",
                task=Run(function=order),
                on=leads(ok="approval"),
                settings=INLINE,
            ),
            State(
                name="approval",
                task=Wait(events=("approved", "rejected"), until=Until(text="06:00")),
                on=(
                    Transition(event="approved", target="night", when="result.by != 'nobody'"),
                    Transition(event="approved", target="failed"),
                    Transition(event="rejected", target="computing", max_visits=1),
                    Transition(event="rejected", target="failed"),
                ),
            ),
            State(
                name="night",
                task=Wait(until=Until(text="{params.day}T23:30", tz="Europe/Berlin")),
                on=leads(ok="b"),
            ),
            State(name="b", task=Run(function=work), on=leads(ok="done"), settings=INLINE),
            State(name="done", final="success"),
        ),
    )


@pytest.mark.parametrize("crashes", [False, True])
def test_all_patterns_in_one_machine(tmp_path: Path, *, crashes: bool) -> None:
    """Each part as if it were alone; and the same if another process goes on after each rest."""
    tokens.clear()
    cluster.__init__()  # type: ignore[misc]  # as if it were new
    cluster.answers = [None, {"rows": 1}, ConnectionError("busy"), {"rows": 2}]
    scene = Waiting(tmp_path, mixed())
    engine = scene.engine

    def turn() -> tuple[str, str, bool]:
        nonlocal engine
        if crashes:
            scene.dies(engine)
            if engine is not scene.engine:
                engine.close()
            engine = scene.other()
        scene.turn(engine)
        return scene.rests()

    assert turn() == ("prices", "ready", True)
    engine.emit("prices-ready", "2023-11-14", {"price": 3})
    assert turn() == ("computing", "ready", True)
    scene.clock.advance(EVERY_MS)
    assert turn() == ("approval", "ready", True)
    engine.callback(tokens[0], "rejected")
    assert turn() == ("computing", "ready", True)
    scene.clock.advance(1_000)
    assert turn() == ("approval", "ready", True)
    assert engine.callback(tokens[0], "rejected").is_repeated
    engine.callback(tokens[1], "approved", {"by": "ada"})
    assert turn() == ("night", "ready", True)
    scene.clock.advance(15 * 60_000)
    assert turn() == ("night", "ready", True)
    scene.clock.advance(2 * 60_000)
    assert turn()[0] == "done"

    assert cluster.keys == ["i:1:computing:computing:0", "i:1:computing@2:computing:0"]
    assert seen[0]["prices"] == {"price": 3}
    assert seen[0]["computing"] == {"rows": 2}
    assert seen[0]["ordering"] == {"asked": 2}
    assert seen[0]["approval"] == {"by": "ada"}
    if engine is not scene.engine:
        engine.close()
    assert scene.is_sound()
