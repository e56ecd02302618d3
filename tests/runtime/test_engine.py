"""One engine used again and again: what it drives, what it lets go, and how soon."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from statepipe.clock import SystemClock
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import NotFound, StoreUnusable, TaskCancelled
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Task
from statepipe.runtime.driving.agenda import POLL_MS
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.inbox import Inbox
from statepipe.runtime.driving.loop import Loop
from statepipe.sqlite import sqlite3
from statepipe.testing import ManualClock

CALLS: list[str] = []
PATIENCE_MS: list[int] = []
LOOPS: list[Loop] = []


def note(task: Task) -> None:
    """Remember who called."""
    CALLS.append(task.instance)


def late(task: Task) -> None:
    """Fail once as "one", so that it waits for a moment; else let it come, and watch the loop."""
    note(task)
    if task.instance == "one":
        if task.attempt == 1:
            raise ConnectionError("no")
        return
    LOOPS[0]._store.clock.advance(30)  # type: ignore[attr-defined]  # the test owns it
    while not patience_ms():
        threading.Event().wait(0.001)
    while len(PATIENCE_MS) < 20:
        PATIENCE_MS.append(patience_ms())
        threading.Event().wait(0.01)


def patience_ms() -> int:
    """Return how long the loop would wait now."""
    return LOOPS[0]._agenda.patience_ms(None)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Open an engine with a machine of one state."""
    CALLS.clear()
    first = State(
        name="a",
        task=Run(function=note),
        on=(Transition(event="ok", target="done"),),
        settings={"executor": "thread"},
    )
    machine = Machine(name="m", initial="a", states=(first, State(name="done", final="success")))
    with Engine(load_config(start=tmp_path, environ={}), machines=[machine]) as engine:
        yield engine


def holders(engine: Engine) -> list[tuple[str, int | None]]:
    """Return the ids and workers of all instances."""
    rows = engine._store.connection.execute("SELECT id, worker FROM instance ORDER BY n")
    return [tuple(row) for row in rows]


def test_a_second_round_of_work_looks_for_what_came_since(engine: Engine) -> None:
    """What the last round knew, of another scope and another time, says nothing."""
    engine.create("m", instance_id="one")
    engine.run(["one"])
    for name in ("two", "three"):
        engine.create("m", instance_id=name)
        engine.work(until_idle=True)

    assert CALLS == ["one", "two", "three"]


def test_work_until_idle_returns_as_soon_as_it_is(engine: Engine) -> None:
    """Not only at the next poll."""
    engine.create("m", instance_id="warm")
    engine.run(["warm"])
    clock = SystemClock()
    began = clock.boot_ms()
    for number in range(5):
        engine.create("m", instance_id=f"i{number}")
        engine.work(until_idle=True)

    assert clock.boot_ms() - began < 3 * POLL_MS


def test_a_resume_that_is_refused_holds_on_to_nothing(engine: Engine) -> None:
    """Those before the refused one are let go: nobody would drive them."""
    engine.create("m", instance_id="one")
    with pytest.raises(NotFound):
        engine.resume(["one", "nobody"])

    assert holders(engine) == [("one", None)]
    assert CALLS == []
    assert engine.resume(["one"]) == {"one": "done"}
    assert CALLS == ["one"]


def test_an_instance_named_twice_is_driven_once(engine: Engine) -> None:
    """By one attempt."""
    engine.create("m", instance_id="one")

    assert engine.resume(["one", "one"]) == {"one": "done"}
    assert CALLS == ["one"]


def test_a_moment_that_comes_while_there_is_no_room_is_not_waited_for_in_a_spin(
    tmp_path: Path,
) -> None:
    """Whoever could be woken has to wait for room, which takes as long as it takes."""
    first = State(
        name="a",
        task=Run(function=late),
        on=(Transition(event="ok", target="done"),),
        settings={"executor": "thread"},
        retry={"interval": "30ms", "jitter": "none"},
    )
    machine = Machine(name="m", initial="a", states=(first, State(name="done", final="success")))
    config = load_config(start=tmp_path, environ={})
    CALLS.clear()
    PATIENCE_MS.clear()
    with Engine(config, machines=[machine], clock=ManualClock(), in_flight_max=1) as engine:
        for name in ("one", "two"):
            engine.create("m", instance_id=name)
        LOOPS[:] = [engine._driver.loop()]
        engine.work(until_idle=True)

    assert CALLS == ["one", "two", "one"]
    assert sum(each == 0 for each in PATIENCE_MS) < 5


def test_an_attempt_that_asks_after_the_end_is_refused() -> None:
    """A thread cannot be killed; without an answer it would wait for ever."""
    inbox = Inbox()
    inbox.refuse_all()

    with pytest.raises(TaskCancelled):
        inbox.ask(Drive.__new__(Drive), 1, {"ask": "beat"})


def test_a_close_that_fails_leaves_no_descriptor_behind(engine: Engine) -> None:
    """Saying goodbye needs the store; closing it does not."""
    engine.create("m", instance_id="one")
    engine.run(["one"])
    engine._store.path.rename(engine._store.path.with_name("moved.db"))

    with pytest.raises(StoreUnusable, match="removed or replaced"):
        engine.close()

    with pytest.raises(sqlite3.ProgrammingError):
        engine._store.connection.execute("SELECT 1")
    del engine._store


def test_ids_that_are_made_up_never_collide(engine: Engine) -> None:
    """Thirty-two random bits are few for a hundred thousand instances a day."""
    drawn = iter([7, 7, 7, 8])
    engine._rng.getrandbits = lambda _bits: next(drawn)  # type: ignore[method-assign]  # a test owns it

    first, second = engine.create("m"), engine.create("m")

    assert first is not None
    assert second is not None
    assert (first[-8:], second[-8:]) == ("00000007", "00000008")
