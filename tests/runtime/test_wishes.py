"""A wish that was promised is kept, whatever else is wished at the same moment."""

from pathlib import Path
from typing import Literal

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Task
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
