"""
A machine that loads one good batch and then meets trouble.

    Scene       the machine, and what became of its instance
    is_whole    the good batch is there, and nothing else
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from statepipe.batch import Batch
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Load, Run
from statepipe.model import Task
from statepipe.store.reading import Reader
from statepipe.testing import violations
from tests.io.warehouse import Warehouse

GOOD = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]

Rows = Sequence[dict[str, Any]]


class Scene:
    """
    A machine that loads batches, and what became of its instance.

    Attributes:
        batches: What its source yields, the good one first; a test may change them.
    """

    def __init__(self, folder: Path, load: Load, batches: Sequence[Rows]) -> None:
        self.batches = [GOOD, *batches]
        config = load_config(start=folder, environ={})
        self.path = config.store
        settings = {"executor": "inline"}
        states = (
            State(
                name="extracting",
                task=Run(function=self._extract),
                on=(Transition(event="ok", target="loading"),),
                settings=settings,
            ),
            State(
                name="loading",
                task=load,
                on=(Transition(event="ok", target="done"),),
                settings=settings,
                retry={"max_attempts": 2, "interval": "1ms"},
            ),
            State(name="done", final="success"),
        )
        self.engine = Engine(
            config, machines=[Machine(name="m", initial="extracting", states=states)]
        )

    def _extract(self, task: Task) -> Iterator[Batch]:
        for number in range(task.cursor or 0, len(self.batches)):
            yield Batch(list(self.batches[number]), cursor=number + 1)

    def run(self) -> str:
        """Run the instance to where it rests."""
        self.engine.create("m", instance_id="i")
        return self.engine.run(["i"])["i"]

    def fails(self) -> list[str]:
        """Run it, or resume it, to its failure; return the lines of the error, its kind first."""
        known = self.path.exists()
        assert (self.resume() if known else self.run()) == "failed"
        with Reader(self.path) as reader:
            failure = reader.inspect("i").failure
        assert failure is not None
        lines = f"{failure.error_class}: {failure.error}".splitlines()
        if failure.error_class != "BadAnswer":  # which may pass by itself
            assert lines[-1].startswith("next: "), lines
            assert len(lines) == 3, lines
        return lines

    def resume(self) -> str:
        """Resume it; return where it rests then."""
        self.engine.resume(["i"])
        return self.engine.run(["i"])["i"]

    def rejects(self) -> list[tuple[Any, str]]:
        """Return the records in quarantine, with the reason."""
        with Reader(self.path) as reader:
            found = list(reader.rejected("i", limit=100))
        return [(each.record, f"{each.path}: {each.message}") for each in found]

    def close(self) -> None:
        """Close the engine; its store is whole."""
        self.engine.close()
        assert violations(self.path) == []


Make = Callable[..., Scene]


def is_whole(warehouse: Warehouse) -> bool:
    """Return True if the good batch is there, rows and ledger, and nothing else is."""
    rows = warehouse.query("SELECT id, name FROM t ORDER BY id")
    ledger = warehouse.query("SELECT batch, records, rejected FROM _statepipe_ledger")
    return rows == [(1, "a"), (2, "b")] and ledger == [(0, 2, 0)]
