"""
A machine that starts after another one, under an owned clock.

    Following           a store, machine `m` with a trigger, and machine `up` that it listens to
    Following.does      instances of `up` that are done
"""

import contextlib
from pathlib import Path
from typing import Any

from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.parameter import Param
from statepipe.machine.partition import Partition
from statepipe.machine.scalars import ParamType
from statepipe.machine.states.tasks import Run
from statepipe.machine.triggers.trigger import Trigger
from statepipe.machine.triggers.upstreams import After
from statepipe.model import Task
from statepipe.sharing import Sharing
from tests.runtime.triggered import Triggered

HOURLY = Partition(by="date", step="hour")
DAILY = Partition(by="date", step="day")
NUMBERS = Partition(by="int", width=10)

failing: set[Any] = set()


def work(task: Task) -> None:
    """Do nothing, unless the value of a parameter is to fail."""
    if set(task.params.values()) & failing:
        raise ValueError("no data")


def upstream(partition: Partition | None) -> Machine:
    """Return machine `up`, whose parameter `at` says which partition an instance is."""
    kind: ParamType = "text"
    if partition is not None and partition.by != "list":
        kind = "int" if partition.by == "int" else "date"
        kind = "datetime" if partition.step == "hour" else kind
    return Machine(
        name="up",
        initial="a",
        states=(
            State(
                name="a",
                task=Run(function=work),
                on=(Transition(event="ok", target="done"),),
                settings={"executor": "inline"},
            ),
            State(name="done", final="success"),
        ),
        params=(Param(name="at", type=kind), Param(name="by", default="ada")),
        partition=partition,
    )


class Following(Triggered):
    """A store, both machines, and a process that looks at the triggers of one."""

    def __init__(
        self,
        folder: Path,
        after: After,
        partition: Partition | None = HOURLY,
        sharing: Sharing | None = None,
        **params: str,
    ) -> None:
        failing.clear()
        self.upstream = upstream(partition)
        super().__init__(folder, Trigger(name="t", on=after, params=params), sharing=sharing)
        self.look()

    def other(self) -> Engine:
        """Return another engine on the same store."""
        machines = [self.machine, self.upstream]
        return Engine(self.config, machines=machines, clock=self.clock)

    def does(self, *values: object) -> None:
        """Make instances of `up` for these values, and drive them to their ends."""
        with self.other() as engine:
            ids = [engine.create("up", params={"at": value}) for value in values]
            with contextlib.suppress(ValueError):
                engine.run([str(each) for each in ids])

    def keys(self) -> list[str]:
        """Look, and return the occasions that had their instance by then."""
        self.look()
        return list(self.started())
