"""
A source reads only what is new: from where the last instance that is done had come.

The watermark moves in the commit that ends the instance, after its rows are loaded (R4), and
where an instance starts is fixed with its first batch, whatever others load meanwhile.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from statepipe.batch import Batch
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Load, Run
from statepipe.machine.states.watermark import Incremental
from statepipe.model import Task
from statepipe.sqlite import sqlite3
from statepipe.store.file.opening import open_reader
from statepipe.store.walk import watermarks
from statepipe.testing import ManualClock, violations


class Scene:
    """A growing source, a machine that reads it incrementally, and a warehouse."""

    def __init__(self, folder: Path, **incremental: Any) -> None:  # noqa: ANN401 of Incremental
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        self.started: list[Any] = []
        self.breaks = False
        self.between: Callable[[], object] = lambda: None
        config = load_config(start=folder, environ={})
        self.path = config.store
        self.engine = Engine(
            config,
            machines=[self._machine(Incremental(**{"column": "at", **incremental}))],
            clock=ManualClock(now_ms=1_700_000_000_000),
        )

    def _machine(self, incremental: Incremental) -> Machine:
        settings = {"executor": "inline"}
        load = Load(to="sqlite:///warehouse.db", table="rows", key=("id",))
        return Machine(
            name="m",
            initial="extracting",
            states=(
                State(
                    name="extracting",
                    task=Run(function=self.extract, watermark=incremental),
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

    def extract(self, task: Task) -> Iterator[Batch]:
        """Yield what is new, two rows a batch, as any author would."""
        self.started.append(task.watermark)
        new = [row for row in self.rows if task.watermark is None or row["at"] > task.watermark]
        for start in range(task.cursor or 0, len(new), 2):
            if start and self.breaks:
                raise ValueError("the other side sent nonsense")
            yield Batch(new[start : start + 2], cursor=start + 2)

    def grow(self, *moments: Any) -> None:  # noqa: ANN401 a column's values
        """Let the source have more rows."""
        self.rows += [{"id": len(self.rows) + n, "at": at} for n, at in enumerate(moments)]

    def run(self, name: str) -> str:
        """Run an instance to where it rests."""
        self.engine.create("m", instance_id=name)
        return self.engine.run([name])[name]

    def watermark(self) -> Any:  # noqa: ANN401 a column's value
        """Return where the machine stands."""
        with closing(open_reader(self.path)) as reader:
            return watermarks.current(reader, "m", "extracting").value

    def loaded(self) -> list[int]:
        """Return the ids in the warehouse."""
        with closing(sqlite3.connect(self.folder / "warehouse.db")) as warehouse:
            return [each for (each,) in warehouse.execute("SELECT id FROM rows ORDER BY id")]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Make the scene; its store must be whole in the end."""
    made = Scene(tmp_path)
    yield made
    made.engine.close()
    assert violations(made.path) == []


def test_each_instance_starts_where_the_last_one_ended(scene: Scene) -> None:
    """The first at the beginning; and nothing is read twice."""
    scene.grow(10, 20, 30)
    assert scene.run("first") == "done"
    scene.grow(40, 50)
    assert scene.run("second") == "done"

    assert scene.started == [None, 30]
    assert scene.watermark() == 50
    assert scene.loaded() == [0, 1, 2, 3, 4]


def test_an_empty_run_moves_nothing(scene: Scene) -> None:
    """Neither the very first one, nor one that finds nothing new."""
    assert scene.run("nothing yet") == "done"
    assert scene.watermark() is None
    scene.grow(10)
    scene.run("first")
    scene.run("nothing new")

    assert scene.watermark() == 10
    assert scene.started == [None, None, 10]


def test_what_is_not_loaded_does_not_move_it(scene: Scene) -> None:
    """A failed instance has read, and nothing of it is in the warehouse."""
    scene.grow(10, 20, 30)
    scene.breaks = True

    assert scene.run("first") == "failed"

    assert scene.watermark() is None
    scene.breaks = False
    assert scene.engine.resume(["first"]) == {"first": "done"}
    assert scene.watermark() == 30
    assert scene.loaded() == [0, 1, 2]


def test_a_resume_starts_where_the_instance_did_whatever_others_loaded(scene: Scene) -> None:
    """Otherwise its cursor would count from another place, and rows would be skipped."""
    scene.grow(10, 20, 30)
    scene.breaks = True
    scene.run("first")
    scene.breaks = False
    scene.run("second")

    scene.engine.resume(["first"])

    assert scene.started == [None, None, None]
    assert scene.loaded() == [0, 1, 2]
    assert scene.watermark() == 30


def test_a_rewound_instance_reads_again_what_it_had_read(scene: Scene) -> None:
    """The watermark is its own doing; reading on from it would find nothing."""
    scene.grow(10)
    scene.run("first")
    scene.grow(20, 30)
    scene.run("second")
    scene.engine.rewind("second", to="extracting")

    assert scene.engine.run(["second"]) == {"second": "done"}
    assert scene.started == [None, 10, 10]
    assert scene.watermark() == 30


def test_the_lookback_reads_again_what_may_have_come_late(tmp_path: Path) -> None:
    """The watermark itself does not fall back with it."""
    scene = Scene(tmp_path, lookback=15)
    scene.grow(10, 20, 30)
    scene.run("first")
    scene.grow(25)
    scene.run("second")
    scene.engine.close()

    assert scene.started == [None, 15]
    assert scene.watermark() == 30
    assert scene.loaded() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("moments", "why"),
    [
        ((10, "20"), "its values are of type int, str"),
        ((True,), "its values are of type bool"),
        ((float("nan"),), "a value is NaN"),
        ((Decimal("NaN"),), "a value is NaN"),
        ((Decimal("sNaN"),), "a value is NaN"),
        (([1],), "its values are of type list"),
    ],
)
def test_a_column_that_has_no_order_fails_and_says_why(
    scene: Scene, moments: tuple[Any, ...], why: str
) -> None:
    """Rather than a watermark that means nothing; nothing of the batch is committed."""
    scene.grow(*moments)

    assert scene.run("first") == "failed"

    (row,) = scene.engine._store.connection.execute("SELECT error FROM instance").fetchall()
    assert f'column "at" cannot be a watermark: {why}' in row[0]
    assert scene.watermark() is None


def test_a_column_that_changes_its_type_fails_and_says_so(scene: Scene) -> None:
    """A watermark of numbers says nothing of text."""
    scene.grow(10)
    scene.run("first")
    scene.rows = [{"id": 5, "at": "later"}]
    scene.extract = lambda _task: iter([Batch(scene.rows, cursor=1)])  # type: ignore[assignment,method-assign]  # a test owns it
    scene.engine.catalog._built["m"] = scene._machine(Incremental(column="at"))
    scene.engine._programs.clear()

    assert scene.run("second") == "failed"
    assert scene.watermark() == 10
