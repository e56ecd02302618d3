"""
The machines that schedules are played with, and what they are made of.

    MODEL       what `promises` describes; partitioned, and started by an event and a schedule
    FOLLOWER    the same, started after each partition of it
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from statepipe.batch import Batch
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.events import EventRule
from statepipe.machine.parameter import Param
from statepipe.machine.partition import Partition
from statepipe.machine.states.tasks import Run
from statepipe.machine.states.waits import Wait
from statepipe.machine.triggers.events import Emitted
from statepipe.machine.triggers.schedules import Schedule
from statepipe.machine.triggers.trigger import Trigger
from statepipe.machine.triggers.upstreams import After
from statepipe.model import Outcome, Task
from tests.spec import promises

TIMEOUT_MS = 60_000
SETTINGS = {"executor": "thread", "timeout": f"{TIMEOUT_MS}ms"}

#: Instances have one of two keys; who has this one is a partition, after which others start.
PARTITION = "k0"
KEYS = (PARTITION, "k1")
ON_ARRIVED = Trigger(name="on-arrived", on=Emitted(event="arrived"), params={"key": "{event.key}"})
#: Of thirty years that the clock jumps over the last one is left.
YEARLY = Trigger(
    name="yearly", on=Schedule(cron="0 0 1 1 *", catchup="last"), params={"key": KEYS[1]}
)
ON_MODEL = Trigger(
    name="on-model",
    on=After(machine="model", partition="each"),
    params={"key": "{upstream.partition}"},
)


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
        partition=Partition(by="list", param="key", values=(PARTITION,)),
        triggers=(ON_ARRIVED, YEARLY),
    )


#: They check themselves and never change: once is enough.
MODEL = machine()
FOLLOWER = replace(MODEL, name="follower", triggers=(ON_MODEL,))
