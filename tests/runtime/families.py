"""A machine with a state of several tasks, and what became of an instance of it."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from statepipe.clock import Clock
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.taskgraph import Child, Graph, GraphTask
from statepipe.machine.states.tasks import Run
from statepipe.model import Change
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.pools import Pools
from statepipe.store.file.opening import open_reader
from statepipe.testing import violations

THREAD: Final = {"executor": "thread"}

Function = Callable[..., Any]


def task(name: str, function: Function, *needs: str, **more: Any) -> GraphTask:  # noqa: ANN401  (passed on as it is)
    """Return a task of a graph that runs in a thread."""
    settings = {**THREAD, **more.pop("settings", {})}
    return GraphTask(name=name, function=function, needs=needs, settings=settings, **more)


def acting(name: str, function: Function, to: str = "done") -> State:
    """Return a state with one function that runs in a thread."""
    on = (Transition(event="ok", target=to),)
    return State(name=name, task=Run(function=function), on=on, settings=THREAD)


def working(work: Graph | Child, to: str = "done", **more: Any) -> State:  # noqa: ANN401  (passed on as it is)
    """Return the state whose work is done by others."""
    return State(name="work", task=work, on=(Transition(event="ok", target=to),), **more)


def machine_of(*states: State, name: str = "m", **more: Any) -> Machine:  # noqa: ANN401  (passed on as it is)
    """Return a machine that begins in the first of its states."""
    done = State(name="done", final="success")
    return Machine(name=name, initial=states[0].name, states=(*states, done), **more)


class Scene:
    """
    A folder with a store, and engines that drive instances of machines in it.

    Attributes:
        moves: What was committed: of which instance, by which event, to which state.
        also: Called with each change that was committed.
        clock: Time, if the test owns it.
    """

    def __init__(self, folder: Path, *machines: Machine, config: str = "") -> None:
        (folder / "statepipe.toml").write_text(config, encoding="utf-8")
        self.config = load_config(start=folder, environ={})
        self.machines = machines
        self.moves: list[tuple[str, str, str]] = []
        self.also: Callable[[Drive, Change], None] | None = None
        self.clock: Clock | None = None

    def engine(self) -> Engine:
        """Return an engine of threads."""
        return Engine(
            self.config,
            machines=self.machines,
            pools=Pools(threads=4),
            observe=self._observe,
            clock=self.clock,
        )

    def run(self, instance: str = "i", **params: Any) -> str:  # noqa: ANN401  (passed on as it is)
        """Create an instance, drive it until it rests, and return its status."""
        with self.engine() as engine:
            engine.create(self.machines[0].name, instance_id=instance, params=params)
            return engine.run([instance])[instance]

    def resume(self, instance: str = "i", **how: Any) -> str:  # noqa: ANN401  (passed on as it is)
        """Take an instance back, drive it until it rests, and return its status."""
        with self.engine() as engine:
            return engine.resume([instance], **how)[instance]

    def ask(self, sql: str, *facts: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401  (passed on as it is)
        """Return what the store says."""
        with closing(open_reader(self.config.store)) as store:
            return list(store.execute(sql, facts))

    def children(self) -> dict[str, str]:
        """Return the status of each child by its id."""
        return dict(self.ask("SELECT id, status FROM children ORDER BY id"))

    def sound(self) -> bool:
        """Return True if nothing in the store breaks a promise."""
        assert violations(self.config.store) == []
        return True

    def _observe(self, drive: Drive, change: Change) -> None:
        if change.detail is None or change.detail.kind == "move":
            self.moves.append((drive.id, change.event, change.state))
        if self.also is not None:
            self.also(drive, change)
