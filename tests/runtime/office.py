"""
A machine whose first state uses a resource, and tasks that see who is at work with them.

    Scene       a project with that machine, `m`, and its store
    Office      counts who is inside at once; its door can be kept shut
    created     instances of it; soon: does something come to hold?
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from statepipe.clock import SystemClock
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Change, Task
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.pools import Pools
from statepipe.store.file.opening import open_reader
from statepipe.store.metrics.recount import differences
from statepipe.testing import violations

#: A bound for what never comes if something is wrong.
SOON_S: Final = 30


class Office:
    """Tasks in an office: how many are inside at once, and a door that can be kept shut."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = self.most = 0
        self.order: list[str] = []
        self.at_ms: list[int] = []
        self.came = threading.Condition(self.lock)
        self.door = threading.Event()
        self.door.set()

    def visit(self, task: Task) -> None:
        """Come in, wait until the door is open, and leave."""
        with self.came:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.order.append(task.instance)
            self.at_ms.append(SystemClock().boot_ms())
            self.came.notify_all()
        self.door.wait(SOON_S)
        with self.came:
            self.inside -= 1

    def open_after(self, number: int) -> None:
        """Open the door once so many have come in."""
        self.wait_for(number)
        self.door.set()

    def wait_for(self, number: int) -> None:
        """Return once so many have come in."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.order) >= number, SOON_S)


class Scene:
    """A project with one machine, `m`: a state `a` that uses crm, then `b` that uses nothing."""

    def __init__(self, folder: Path, settings: str, function: Callable[..., Any]) -> None:
        (folder / "statepipe.toml").write_text(settings, encoding="utf-8")
        self.config = load_config(start=folder, environ={})
        self.function = function
        self.changes: list[Change] = []

    def engine(
        self,
        *,
        threads: int = 8,
        uses: tuple[str, ...] = ("crm",),
        settings: Mapping[str, Any] | None = None,
        deadline_ms: int | None = None,
        **more: Any,  # noqa: ANN401  (whatever an Engine takes)
    ) -> Engine:
        """Open an engine."""
        shared: dict[str, Any] = {"executor": "thread"}
        retry = {"interval": "1ms", "errors": ["Throttled", "TimeoutError"], "max_attempts": 20}
        states = (
            State(
                name="a",
                task=Run(function=self.function),
                on=(Transition(event="ok", target="b"),),
                uses=uses,
                retry=retry,
                settings=shared | dict(settings or {}),
            ),
            State(
                name="b",
                task=Run(function=nothing),
                on=(Transition(event="ok", target="done"),),
                settings=shared,
            ),
            State(name="done", final="success"),
        )
        machine = Machine(name="m", initial="a", states=states, deadline_ms=deadline_ms)
        return Engine(
            self.config,
            machines=[machine],
            pools=Pools(threads=threads),
            observe=self._observe,
            **more,
        )

    def _observe(self, _drive: Drive, change: Change) -> None:
        self.changes.append(change)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Query the store, by a connection of its own."""
        with closing(open_reader(self.config.store)) as store:
            return list(store.execute(sql).fetchall())

    def sound(self) -> None:
        """See that the store keeps its promises, and that nothing is held."""
        assert violations(self.config.store) == []
        assert self.ask("SELECT * FROM slot") == []
        with closing(open_reader(self.config.store)) as store:
            assert differences(store) == []


def nothing(_task: Task) -> None:
    """Do nothing."""


def soon(condition: Callable[[], bool]) -> bool:
    """Return whether `condition` comes to hold."""
    pause = threading.Event()
    for _ in range(SOON_S * 100):
        if condition():
            return True
        pause.wait(0.01)
    return False


def created(engine: Engine, count: int) -> list[str]:
    """Create instances; return their ids."""
    return [str(engine.create("m", instance_id=f"i{n}")) for n in range(count)]
