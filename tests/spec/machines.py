"""
The machines that schedules are played with, and what they are made of.

    MODEL       what `promises` describes
"""

from collections.abc import Callable
from typing import Any

from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.events import EventRule
from statepipe.machine.parameter import Param
from statepipe.machine.tasks import Run
from statepipe.machine.waits import Wait
from statepipe.model import Batch, Outcome, Task
from tests.spec import promises

TIMEOUT_MS = 60_000
SETTINGS = {"executor": "thread", "timeout": f"{TIMEOUT_MS}ms"}


def extract(task: Task) -> list[Batch]:
    """Stand for a source; it is never called, the test plays it."""
    raise NotImplementedError(task)


def decide(task: Task) -> Outcome:
    """Stand for a task that is called once."""
    raise NotImplementedError(task)


def machine() -> Machine:
    """Return the machine that `promises` describes."""
    retry = {
        "errors": ["Throttled", "TaskTimeout"],
        "max_attempts": promises.MAX_ATTEMPTS,
        "interval": f"{promises.INTERVAL_MS}ms",
        "jitter": "none",
        "max_lost": promises.MAX_LOST,
    }

    def acting(
        name: str, function: Callable[..., Any], *on: Transition, uses: tuple[str, ...] = ()
    ) -> State:
        return State(
            name=name,
            task=Run(function=function),
            on=on,
            retry=retry,
            settings=SETTINGS,
            uses=uses,
        )

    again, more = (
        Transition(event=event, target="extracting", max_visits=promises.AGAIN_MAX)
        for event in ("again", "more")
    )
    wait = Wait(events=promises.EVENTS, ms=promises.WAIT_MS, key="{params.key}")
    ends = tuple(Transition(event=event, target="done") for event in ("approved", "arrived"))
    return Machine(
        name="model",
        initial="extracting",
        states=(
            acting("extracting", extract, Transition(event="ok", target="deciding"), uses=("crm",)),
            acting("deciding", decide, Transition(event="ok", target="approving"), again),
            State(name="approving", task=wait, on=(*ends, more)),
            State(name="done", final="success"),
        ),
        params=(Param(name="key", default=""),),
        events=(EventRule(event=promises.RULED[0], late=promises.RULED[1]),),
    )


#: It checks itself and never changes: once is enough.
MODEL = machine()
