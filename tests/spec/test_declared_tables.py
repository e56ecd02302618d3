"""
A table that is made from a contract, through the engine: what is refused can be resumed.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from statepipe.batch import Batch
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import DefinitionChanged
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Load, Run
from statepipe.model import Task
from statepipe.sqlite import sqlite3
from statepipe.store.file.opening import open_reader
from statepipe.testing import violations

OLD = {"properties": {"id": {"type": "integer"}, "name": {"type": "string"}}, "required": ["id"]}
NEW = {**OLD, "properties": {**OLD["properties"], "price": {"type": "number"}}}  # type: ignore[dict-item]  # JSON


def extract(task: Task) -> Iterator[Batch]:
    """Yield two batches, of records with whatever the contract may know by now."""
    for n in range(task.cursor or 0, 2):
        yield Batch([{"id": n, "name": "x"}], cursor=n + 1)


def machine(columns: str) -> Machine:
    """Return a machine that does `columns` about a column that lacks."""
    settings = {"executor": "inline"}
    load = Load(to="sqlite:///w.db", table="t", key=("id",), contract="row.json", columns=columns)
    return Machine(
        name="m",
        initial="extracting",
        states=(
            State(
                name="extracting",
                task=Run(function=extract),
                on=(Transition(event="ok", target="loading"),),
                settings=settings,
            ),
            State(
                name="loading",
                task=load,
                on=(Transition(event="ok", target="done"),),
                settings=settings,
            ),
            State(name="done", final="success"),
        ),
    )


class Project:
    """A folder with a contract."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = load_config(start=folder, environ={})
        self.say(OLD)

    def say(self, schema: dict[str, Any]) -> None:
        """Write the contract."""
        path = self.folder / "machines" / "row.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(schema), encoding="utf-8")

    def engine(self, *, columns: str = "refuse") -> Engine:
        """Return an engine that knows the machine."""
        return Engine(self.config, machines=[machine(columns)])

    def run(self, name: str, *, columns: str = "refuse") -> str:
        """Run an instance to where it rests."""
        with self.engine(columns=columns) as engine:
            engine.create("m", instance_id=name)
            return engine.run([name])[name]

    def rows(self) -> list[Any]:
        """Return what is in the table."""
        with closing(sqlite3.connect(self.folder / "w.db")) as warehouse:
            return list(warehouse.execute("SELECT * FROM t ORDER BY id"))

    def error(self, name: str) -> str:
        """Return what an instance failed with."""
        with closing(open_reader(self.config.store)) as reader:
            sql = "SELECT error FROM instance WHERE id = ?"
            return str(reader.execute(sql, (name,)).fetchone()[0])


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Make a project; its store must be whole in the end."""
    made = Project(tmp_path)
    yield made
    assert violations(made.config.store) == []


def test_a_load_that_refused_a_column_goes_on_when_it_may_add_it(project: Project) -> None:
    """Nothing was loaded; `columns` is policy, so it is the same machine."""
    assert project.run("first") == "done"
    project.say(NEW)

    assert project.run("second") == "failed"
    assert project.rows() == [(0, "x"), (1, "x")]
    assert "it has 'price', and the table has no such column" in project.error("second")
    with project.engine(columns="add") as engine:
        assert engine.resume(["second"]) == {"second": "done"}

    assert project.rows() == [(0, "x", None), (1, "x", None)]


def test_an_instance_keeps_to_the_contract_it_began_with(project: Project) -> None:
    """A contract of another content is another machine, as that of a state is."""
    project.run("first")
    project.say(NEW)
    project.run("second")
    project.say(OLD)

    with project.engine() as engine, pytest.raises(DefinitionChanged, match="another content"):
        engine.resume(["second"])


def test_a_contract_without_the_key_fails_the_load(project: Project) -> None:
    """Whoever did not check is told when it is loaded, and nothing was."""
    project.say({"properties": {"name": {"type": "string"}}})

    assert project.run("first") == "failed"

    assert "has no property 'id', which is in the key" in project.error("first")
    assert not (project.folder / "w.db").exists()
