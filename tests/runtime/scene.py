"""
Real instances under an owned clock, and what the store then knows of why they are there.

    Scene           a store, a machine `m` with states a, b, c, done, and one instance "i"
    raising         a task that fails
"""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from statepipe.config import Config, load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Change, Task
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.reasons.reason import Reason
from statepipe.runtime.reasons.standing import reasons
from statepipe.runtime.reasons.states import of_state
from statepipe.runtime.reasons.story import told
from statepipe.store.questions.evidence import Evidence, evidence
from statepipe.store.reading import Reader
from statepipe.testing import ManualClock

Function = Callable[[Task], Any]
Policy = Mapping[str, object]

NONE: Policy = MappingProxyType({})


def nothing(_: Task) -> None:
    """Do nothing."""


def raising(error: BaseException) -> Function:
    """Return a task that fails with `error`."""

    def fails(_: Task) -> None:
        raise error

    return fails


class Scene:
    """A store in a folder, looked at from outside."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.config: Config = load_config(start=folder, environ={})

    def machine(self, function: Function, *, version: int, policy: Policy) -> Machine:
        """Return the machine; `a` does the work, under a policy without jitter."""

        def played(task: Task) -> Any:  # noqa: ANN401  (whatever the test's task returns)
            return function(task)  # so that it is the same machine, whatever the task

        settings = {"executor": "inline", "timeout": "1m"}
        to_b, to_c = Transition(event="ok", target="b"), Transition(event="skip", target="c")
        retry = {"jitter": "none", "errors": ["Throttled"], **policy}
        return Machine(
            name="m",
            version=version,
            initial="a",
            states=(
                State(
                    name="a",
                    task=Run(function=played),
                    on=(to_b, to_c, Transition(event="bad", target="failed")),
                    retry=retry,
                    settings=settings,
                ),
                State(
                    name="b",
                    task=Run(function=nothing),
                    on=(Transition(event="ok", target="done"),),
                    settings=settings,
                ),
                State(
                    name="c",
                    task=Run(function=nothing),
                    on=(Transition(event="ok", target="done"),),
                    settings=settings,
                ),
                State(name="done", final="success"),
            ),
        )

    def engine(
        self,
        function: Function = nothing,
        *,
        stop_at: str = "retry",
        version: int = 1,
        policy: Policy = NONE,
    ) -> Engine:
        """Return an engine that stops, in order, at the first change of the kind `stop_at`."""

        def observe(_drive: Drive, change: Change) -> None:
            if change.detail is not None and change.detail.kind == stop_at:
                engine.stop("shut down")

        engine = Engine(
            self.config,
            machines=[self.machine(function, version=version, policy=policy)],
            clock=self.clock,
            rng=random.Random(1),
            observe=observe,
        )
        return engine

    def driven(self, function: Function, *, stop_at: str = "retry", policy: Policy = NONE) -> None:
        """Create the instance, and drive it until it has ended or `stop_at`."""
        with self.engine(function, stop_at=stop_at, policy=policy) as engine:
            engine.create("m", instance_id="i")
            engine.run(["i"])

    def evidence(self, *, state: str | None = None) -> Evidence:
        """Read what the store knows."""
        with Reader(self.config.store, clock=self.clock) as reader:
            return evidence(reader, "i", state=state)

    def why(self, *, state: str | None = None) -> dict[str, Reason]:
        """Return the reasons by code."""
        known = self.evidence(state=state)
        now_ms = self.clock.now_ms()
        if state is None:
            said = reasons(known, now_ms=now_ms)
        else:
            said = of_state(known, state, now_ms=now_ms)
        assert len({each.code for each in said}) == len(said), "each reason is said once"
        return {each.code: each for each in said}

    def story(self) -> list[str]:
        """Return what happened, a sentence each."""
        return [told(row) for row in self.evidence().journal.rows]


def texts(said: Mapping[str, Reason]) -> dict[str, str]:
    """Return the sentences by code."""
    return {code: reason.text for code, reason in said.items()}
