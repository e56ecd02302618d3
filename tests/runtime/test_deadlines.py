"""The attempts that are watched: those under way, and not all there ever were."""

from pathlib import Path

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Checkpoint, Task
from statepipe.runtime.driving import calls
from statepipe.runtime.driving.deadlines import Deadlines
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.program import Program
from statepipe.testing import ManualClock
from tests.store import stores


def work(task: Task) -> None:
    """Do nothing."""


def program_of(folder: Path) -> tuple[Program, Checkpoint]:
    """Return a machine whose deadline is shorter than its timeout, and an instance of it."""
    first = State(name="a", task=Run(function=work), on=(Transition(event="ok", target="done"),))
    states = (first, State(name="done", final="success"))
    machine = Machine(name="m", initial="a", states=states, deadline_ms=60_000)
    with Engine(load_config(start=folder, environ={}), machines=[machine]) as engine:
        engine.create("m", instance_id="i")
        program = engine._program("m")
        worker = stores.registered(engine._store)
        (checkpoint,) = stores.claimed(engine._store, worker)
    return program, checkpoint


def begun(deadlines: Deadlines, clock: ManualClock, program: Program, at: Checkpoint) -> Drive:
    """Let an instance that was just claimed begin its first attempt."""
    drive = Drive(at, program)
    deadlines.claimed(drive)
    drive.attempt_id += 1
    drive.began_boot_ms = drive.heard_boot_ms = clock.boot_ms()
    drive.future = calls.UNDER_WAY
    deadlines.watch(drive)
    return drive


def test_what_is_watched_does_not_grow_while_a_long_attempt_goes_on(tmp_path: Path) -> None:
    """The first to be due holds up the clearing of those behind it."""
    clock = ManualClock()
    program, at = program_of(tmp_path)
    deadlines = Deadlines(clock)
    begun(deadlines, clock, program, at._replace(n=7))
    for _ in range(10_000):
        clock.advance(1)
        begun(deadlines, clock, program, at).future = None

    assert len(deadlines._heap) <= 1_100
