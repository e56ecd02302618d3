"""
Machines that start by themselves, under an owned clock.

    Triggered           a store, machine `m` with some triggers, and engines on it
    Triggered.look      look at its triggers once, as a worker does five times a second
    Triggered.started   what was started, by the key of the occasion
"""

import datetime as dt
import random
from pathlib import Path
from typing import Any

from statepipe.config import Config, load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.parameter import Param
from statepipe.machine.states.tasks import Run
from statepipe.machine.triggers.trigger import Trigger
from statepipe.model import Task
from statepipe.runtime.triggers.watch import Watch, registered
from statepipe.sharing import Sharing
from statepipe.store.codec import decode
from statepipe.store.file.opening import open_store
from statepipe.testing import ManualClock, violations

DAY = Param(name="day", type="date", default="today")
KEY = Param(name="key", default="")


def at_ms(text: str) -> int:
    """Return a moment with its offset, in milliseconds."""
    moment = dt.datetime.fromisoformat(text)
    assert moment.tzinfo is not None
    return round(moment.timestamp() * 1_000)


def nothing(_: Task) -> None:
    """Do nothing."""


def machine(
    *triggers: Trigger,
    params: tuple[Param, ...] = (DAY, KEY),
    name: str = "m",
    sharing: Sharing | None = None,
) -> Machine:
    """Return a machine that does nothing, and what starts it."""
    on = (Transition(event="ok", target="done"),)
    return Machine(
        name=name,
        initial="a",
        states=(
            State(name="a", task=Run(function=nothing), on=on, settings={"executor": "inline"}),
            State(name="done", final="success"),
        ),
        params=params,
        triggers=triggers,
        sharing=sharing or Sharing(),
    )


class Triggered:
    """A store, a machine, and a process that looks at its triggers; or several."""

    def __init__(
        self,
        folder: Path,
        *triggers: Trigger,
        now: str = "2026-03-01T00:00:00Z",
        sharing: Sharing | None = None,
    ) -> None:
        self.clock = ManualClock(now_ms=at_ms(now))
        self.config: Config = load_config(start=folder, environ={})
        self.machine = machine(*triggers, sharing=sharing)
        self.engine = self.other()
        self.watch = self.watching()

    def other(self) -> Engine:
        """Return another engine on the same store, as another process has one."""
        return Engine(self.config, machines=[self.machine], clock=self.clock)

    def watching(self, seed: int = 1) -> Watch:
        """Return what a worker that begins now looks at the triggers with."""
        program = self.engine._program(self.machine.name)
        store = open_store(self.config.store, create=False, clock=self.clock)
        return Watch(
            store,
            registered(store, [program]),
            observers=self.engine._observers,
            rng=random.Random(seed),
        )

    def look(self, at: str | None = None) -> None:
        """Look at the triggers, after the wall clock went on, or was set, to `at`."""
        if at is not None:
            self.set(at)
        self.watch.turn()

    def set(self, at: str) -> None:
        """Let time go by until `at`; if that is in the past, the clock is set back."""
        ms = at_ms(at)
        self.clock.advance(max(0, ms - self.clock.now_ms()))
        self.clock.set_wall(ms)

    def started(self) -> dict[str, dict[str, Any]]:
        """Return the parameters of each instance, by the key of its occasion."""
        sql = """
SELECT o.key, i.params FROM occasion o JOIN instance i ON i.id = o.instance ORDER BY o.n
"""
        return {key: decode(params) for key, params in self.rows(sql)}

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what a query of the store finds."""
        return list(self.engine._store.connection.execute(sql, values))

    def is_sound(self) -> bool:
        """Close everything; return True if the store keeps every promise."""
        self.watch._store.close()
        self.engine.close()
        assert violations(self.config.store) == []
        return True
