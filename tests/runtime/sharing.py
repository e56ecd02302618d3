"""A machine that reads, maps and loads, whose calls share an attempt; and what became of it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from statepipe.batch import Batch
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.judging import Validate
from statepipe.machine.states.tasks import Load, Run
from statepipe.model import Change, Task
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.pools import Pools
from statepipe.sqlite import sqlite3
from statepipe.store.file.opening import open_reader
from statepipe.testing import violations

#: A bound for what never comes if the calls are not under way together.
SOON_S: Final = 30
BATCHES: Final = 8

Map = Callable[[Task, Batch], Batch]


def source(_task: Task) -> Iterator[Batch]:
    """Yield some batches; each says its number, and all have one key."""
    for number in range(BATCHES):
        yield Batch([{"key": 1, "number": number}], cursor=number)


def same(_task: Task, batch: Batch) -> Batch:
    """Return the batch as it came."""
    return batch


def nothing(_task: Task) -> None:
    """Do nothing."""


def number_of(batch: Batch) -> int:
    """Return which batch it is."""
    number: int = batch.records[0]["number"]
    return number


class Stage:
    """A machine that reads, maps and loads, and what became of its instance."""

    def __init__(
        self,
        folder: Path,
        mapped: Map,
        *,
        parallel: int = 3,
        threads: int = 3,
        uses: tuple[str, ...] = (),
        **settings: str,
    ) -> None:
        self.folder = folder
        self.config = load_config(start=folder, environ={})
        self.changes: list[Change] = []
        self.wished: Callable[[Change], object] = lambda _: None
        shared = {"executor": "thread", "parallel": parallel, "grace": "10s"}
        self.machine = Machine(
            name="m",
            initial="reading",
            states=(
                state("reading", Run(function=source), to="mapping", settings=shared),
                state(
                    "mapping",
                    Run(function=mapped),
                    to="loading",
                    settings=shared | settings,
                    uses=uses,
                ),
                state(
                    "loading",
                    Load(to="sqlite:///out.db", table="rows", key=("key",)),
                    to="done",
                    settings=shared,
                ),
                State(name="done", final="success"),
            ),
        )
        self.threads = threads

    def run(self) -> str:
        """Drive an instance, or go on with it; return its status."""
        with self.engine() as engine:
            engine.create("m", instance_id="i", if_exists="attach")
            status = engine.run(["i"])["i"]
        assert violations(self.config.store) == []
        return status

    def engine(self) -> Engine:
        """Open an engine that notes what is committed."""
        pools = Pools(threads=self.threads)
        return Engine(self.config, machines=[self.machine], pools=pools, observe=self._observe)

    def _observe(self, _drive: Drive, change: Change) -> None:
        self.changes.append(change)
        self.wished(change)

    def notes(self, kind: str) -> list[str | None]:
        """Return what the journal says of `mapping`'s changes of one kind, in order."""
        return [
            change.detail.note or change.detail.error_class
            for change in self.changes
            if change.source == "mapping" and change.detail and change.detail.kind == kind
        ]

    def rows(self) -> list[tuple[Any, ...]]:
        """Return what was loaded."""
        with closing(sqlite3.connect(self.folder / "out.db")) as out:
            rows: list[tuple[Any, ...]] = out.execute("SELECT * FROM rows").fetchall()
            return rows


def kinds_of(stage: Stage, instance: str) -> set[str]:
    """Return what the journal has of `instance`, by kind."""
    sql = "SELECT kind FROM journal j JOIN instance i ON i.n = j.instance WHERE i.id = ?"
    with closing(open_reader(stage.config.store)) as store:
        return {kind for (kind,) in store.execute(sql, (instance,))}


def slots_of(stage: Stage) -> list[tuple[int]]:
    """Return who holds a slot, or waits for one."""
    with closing(open_reader(stage.config.store)) as store:
        return list(store.execute("SELECT instance FROM slot"))


def state(
    name: str,
    task: Run | Validate | Load,
    *,
    to: str,
    settings: Mapping[str, Any],
    uses: tuple[str, ...] = (),
) -> State:
    """Return an acting state that leads to `to`, and tries again at once."""
    retry = {"interval": "1ms", "errors": ["ConnectionError", "TaskTimeout"]}
    on = (Transition(event="ok", target=to),)
    return State(name=name, task=task, on=on, retry=retry, settings=settings, uses=uses)
