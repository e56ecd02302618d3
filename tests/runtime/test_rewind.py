"""A rewind into loading loads again, from the batches that are still staged."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from statepipe.batch import Batch
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import Refused
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Load, Run
from statepipe.model import Task
from statepipe.sqlite import sqlite3
from statepipe.testing import violations


def source(task: Task) -> Iterator[Batch]:
    """Yield three batches of one record."""
    for number in range(task.cursor or 0, 3):
        yield Batch([{"id": number}], cursor=number + 1)


def undecided(task: Task) -> None:
    """Fail, so that there is something to rewind."""
    raise ValueError(task.name)


def test_a_rewind_into_a_load_that_replaces_replaces_again(tmp_path: Path) -> None:
    """Without a key, and still nothing is doubled: what the last generation loaded goes."""
    inline = {"executor": "inline"}
    states = (
        State(
            name="extracting",
            task=Run(function=source),
            on=(Transition(event="ok", target="loading"),),
            settings=inline,
        ),
        State(
            name="loading",
            task=Load(to="sqlite:///warehouse.db", table="t", mode="replace"),
            on=(Transition(event="ok", target="checking"),),
            settings=inline,
        ),
        State(
            name="checking",
            task=Run(function=undecided),
            on=(Transition(event="ok", target="done"),),
            settings=inline,
            retry={"max_attempts": 1},
        ),
        State(name="done", final="success"),
    )
    machine = Machine(name="m", initial="extracting", states=states)
    config = load_config(start=tmp_path, environ={})
    with Engine(config, machines=[machine]) as engine:
        engine.create("m", instance_id="i")
        assert engine.run(["i"]) == {"i": "failed"}
        with closing(sqlite3.connect(tmp_path / "warehouse.db")) as warehouse, warehouse:
            warehouse.execute("INSERT INTO t VALUES (7)")

        engine.rewind("i", to="loading")
        assert engine.run(["i"]) == {"i": "failed"}

    with closing(sqlite3.connect(tmp_path / "warehouse.db")) as warehouse:
        assert warehouse.execute("SELECT id FROM t ORDER BY id").fetchall() == [(0,), (1,), (2,)]
    assert violations(config.store) == []


def test_a_rewind_into_loading_loads_every_batch_again(tmp_path: Path) -> None:
    """The new generation has a plan of its own: without one, nothing would be loaded."""
    warehouse = tmp_path / "warehouse.db"
    inline = {"executor": "inline"}
    states = (
        State(
            name="extracting",
            task=Run(function=source),
            on=(Transition(event="ok", target="loading"),),
            settings=inline,
        ),
        State(
            name="loading",
            task=Load(to=f"sqlite:///{warehouse}", table="t", key=("id",)),
            on=(Transition(event="ok", target="done"),),
            settings=inline,
            retry={"max_attempts": 1},
        ),
        State(name="done", final="success"),
    )
    machine = Machine(name="m", initial="extracting", states=states)
    config = load_config(start=tmp_path, environ={})
    with Engine(config, machines=[machine]) as engine:
        engine.create("m", instance_id="i")
        warehouse.mkdir()  # so that loading fails
        assert engine.run(["i"]) == {"i": "failed"}
        warehouse.rmdir()

        engine.rewind("i", to="loading")
        assert engine.run(["i"]) == {"i": "done"}

    with closing(sqlite3.connect(warehouse)) as connection:
        assert connection.execute("SELECT id FROM t ORDER BY id").fetchall() == [(0,), (1,), (2,)]
    assert violations(config.store) == []


def test_what_was_appended_is_found_under_another_name_of_its_state(tmp_path: Path) -> None:
    """The machine as it is now may call the state otherwise; the table is the same."""

    def machine(load: str) -> Machine:
        inline = {"executor": "inline"}
        task = Load(to=f"sqlite:///{tmp_path}/w.db", table="t")
        ok = {name: (Transition(event="ok", target=name),) for name in (load, "done")}
        source_ = State(name="s", task=Run(function=source), on=ok[load], settings=inline)
        loading = State(name=load, task=task, on=ok["done"], settings=inline)
        states = (source_, loading, State(name="done", final="success"))
        return Machine(name="m", initial="s", states=states)

    config = load_config(start=tmp_path, environ={})
    with Engine(config, machines=[machine("one")]) as engine:
        engine.create("m", instance_id="i")
        assert engine.run(["i"]) == {"i": "done"}

    with (
        Engine(config, machines=[machine("other")]) as engine,
        pytest.raises(Refused, match=r"^3 batches of 'i' were appended to 't'"),
    ):
        engine.rewind("i", to="s", definition="latest")
