"""
Instances that wait, under an owned clock; the loop is turned until everything rests.

    Waiting         a store with machine `m`: asking waits for approved or rejected, then to `b`
    Waiting.turn    drive whatever is ready until nothing is
    Waiting.dies    let a process be dead, and its threads with it
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from statepipe.config import Config, load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.parameter import Param
from statepipe.machine.states.tasks import Run
from statepipe.machine.states.waits import Wait
from statepipe.model import Task
from statepipe.store.walk.ready import Scope
from statepipe.testing import ManualClock, violations
from tests.store import stores

HOUR_MS = 3_600_000
ASKING = Wait(events=("approved", "rejected"), ms=HOUR_MS)

seen: list[Any] = []


def work(task: Task) -> None:
    """Note what came before."""
    seen.append(dict(task.results))


def leads(**targets: str) -> tuple[Transition, ...]:
    """Return transitions by event."""
    return tuple(Transition(event=event, target=target) for event, target in targets.items())


def machine(
    wait: Wait = ASKING, *, first: bool = True, again: bool = False, params: tuple[Param, ...] = ()
) -> Machine:
    """Return a machine that waits in `asking`, first of all or after `a`; perhaps in `again`."""
    after = "again" if again else "b"
    ends = leads(approved=after, rejected="failed") if wait.events else leads(ok=after)
    states = [
        State(name="asking", task=wait, on=ends),
        State(name="b", task=Run(function=work), on=leads(ok="done"), settings=INLINE),
        State(name="done", final="success"),
    ]
    if not first:
        states.append(
            State(name="a", task=Run(function=work), on=leads(ok="asking"), settings=INLINE)
        )
    if again:
        states.append(State(name="again", task=ASKING, on=leads(approved="b", rejected="failed")))
    initial = "asking" if first else "a"
    return Machine(name="m", initial=initial, states=tuple(states), params=params)


INLINE = {"executor": "inline"}


class Waiting:
    """A store, its machine and an engine that drives."""

    def __init__(self, folder: Path, asked: Machine | None = None, **options: Any) -> None:  # noqa: ANN401  (the engine's)
        seen.clear()
        self.clock = ManualClock()
        self.config: Config = load_config(start=folder, environ={})
        self.machine = asked or machine()
        self.engine = self.other(**options)
        self.engine.create("m", instance_id="i")

    def other(self, **options: Any) -> Engine:  # noqa: ANN401  (the engine's)
        """Return another engine on the same store, as another process has one."""
        return Engine(self.config, machines=[self.machine], clock=self.clock, **options)

    def turn(self, engine: Engine | None = None) -> None:
        """Drive whatever is ready until nothing is."""
        engine = engine or self.engine
        engine._program("m")
        loop = engine._driver.loop()
        loop.limit_to(Scope())
        engine._driver.turn(lambda: not loop.drives and loop._agenda.saw_all)

    def dies(self, engine: Engine | None = None) -> None:
        """Let whoever drove until now be dead; no thread of `engine` renews its lease any more."""
        engine = engine or self.engine
        attendants = engine._driver._attendants
        if attendants is not None:
            attendants.stop()
        engine._store.connection.execute("UPDATE worker SET stopped_at_ms = 1")

    def row(self, instance: str = "i") -> dict[str, Any]:
        """Return the instance's row."""
        return stores.row(self.engine._store, instance)

    def rests(self, instance: str = "i") -> tuple[str, str, bool]:
        """Return where the instance is, how, and whether a timer is armed for it."""
        row = self.row(instance)
        return row["state"], row["status"], row["wake_boot_id"] is not None

    def rows(self, sql: str, *values: object) -> Sequence[tuple[Any, ...]]:
        """Return what a query of the store finds."""
        return list(self.engine._store.connection.execute(sql, values))

    def is_sound(self) -> bool:
        """Close the engine; return True if the store keeps every promise."""
        self.engine.close()
        assert violations(self.config.store) == []
        return True
