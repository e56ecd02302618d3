"""A wish that was promised is kept, whatever else is wished at the same moment."""

from pathlib import Path
from typing import Literal

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Task
from statepipe.runtime.reasons.standing import reasons
from statepipe.runtime.reasons.story import told
from statepipe.store.questions.evidence import evidence
from statepipe.store.reading import Reader
from statepipe.testing import violations
from tests.store import stores


def work(task: Task) -> None:
    """Do nothing."""


@pytest.mark.parametrize(("wish", "status"), [("pause", "paused"), ("cancel", "cancelled")])
def test_a_wish_that_comes_while_its_driver_stops_is_honoured(
    tmp_path: Path, wish: Literal["pause", "cancel"], status: str
) -> None:
    """Its driver was asked to and will: a stop on the way must not make it forget."""
    config = load_config(start=tmp_path, environ={})
    first = State(name="a", task=Run(function=work), on=(Transition(event="ok", target="done"),))
    final = State(name="done", final="success")
    machine = Machine(name="m", initial="a", states=(first, final))
    with Engine(config, machines=[machine]) as engine:
        engine.create("m", instance_id="i")
        engine._take_back("i", reason=None, definition="pinned")
        loop = engine._driver.loop()
        loop.let_all_go("it is over")
        with Engine(config, machines=[machine]) as other:
            assert not (other.pause if wish == "pause" else other.cancel)("i")
        while loop.drives:
            loop.tick()
        assert stores.row(engine._store, "i")["status"] == status

    assert violations(config.store) == []


def test_an_attempt_that_fails_while_a_pause_is_asked_for_leaves_its_trace(
    tmp_path: Path,
) -> None:
    """In the history, in `inspect` and `why`, and in the figures; a resume begins afresh."""
    config = load_config(start=tmp_path, environ={})
    tries: list[int] = []

    def fails(task: Task) -> None:
        tries.append(task.attempt)
        if len(tries) == 1:
            with Engine(config, machines=[machine]) as other:
                assert not other.pause("i", reason="look at it")
            raise ValueError("no such day")

    on = (Transition(event="ok", target="done"),)
    first = State(name="a", task=Run(function=fails), on=on, settings={"executor": "inline"})
    machine = Machine(name="m", initial="a", states=(first, State(name="done", final="success")))
    with Engine(config, machines=[machine]) as engine:
        engine.create("m", instance_id="i")
        assert engine.run(["i"]) == {"i": "paused"}
        row = engine._store.connection.execute(
            "SELECT event, source, target, task, attempt, error_class, error, took_ms IS NULL,"
            " policy IS NULL FROM journal WHERE kind = 'pause'"
        ).fetchone()
        assert row == ("error", "a", "a", "a", 1, "ValueError", "no such day", 0, 0)
        with Reader(config.store) as reader:
            known = evidence(reader, "i")
        failure = known.found.failure
        assert failure is not None
        assert (failure.error_class, failure.attempt) == ("ValueError", 1)
        assert known.found.tallies[1, "a"].attempts == 1
        said = [each.text for each in reasons(known, now_ms=0)]
        assert said == [
            "somebody paused it in a: look at it",
            "attempt 1 of a failed: ValueError: no such day",
        ]
        story = told(known.journal.rows[-1])
        assert "failed, and it was paused as somebody had asked: ValueError: no such day" in story
        counted = "SELECT metric, state, label, value FROM counter WHERE metric IN ('attempts')"
        assert engine._store.connection.execute(counted).fetchall() == [
            ("attempts", "a", "error", 1)
        ]

        assert engine.resume(["i"]) == {"i": "done"}
        assert tries == [1, 1]

    assert violations(config.store) == []
