"""
A machine whose work is done elsewhere, and the elsewhere: a cluster that a test owns.

    Cluster      the jobs it was given, and what it says of them
    scene_of     a store with an instance of machine `m`, whose state `asking` has such a job
    stop_lost    what a worker's thread does about jobs that nobody waits for
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from statepipe.machine.definition import Machine, State
from statepipe.machine.states.jobs import Job
from statepipe.machine.states.tasks import Run
from statepipe.model import Task
from statepipe.runtime.stopping import Stopper
from tests.runtime.waiting import HOUR_MS, INLINE, Waiting, leads, work

EVERY_MS = 30_000


@dataclass
class Cluster:
    """
    What is known of the jobs there.

    `answers` are given to polls, the last one for ever; an exception is raised, and what can be
    called is asked.
    """

    keys: list[str] = field(default_factory=list)
    polled: list[Any] = field(default_factory=list)
    cancelled: list[Any] = field(default_factory=list)
    answers: list[Any] = field(default_factory=lambda: [None])
    breaks: set[str] = field(default_factory=set)


cluster = Cluster()


def submit(task: Task) -> dict[str, Any]:
    """Begin a job; one that is asked for under the same key again is the same job."""
    if task.idempotency_key not in cluster.keys:
        cluster.keys.append(task.idempotency_key)
    if "submit" in cluster.breaks:
        raise ConnectionError("the answer was lost")
    return {"job": cluster.keys.index(task.idempotency_key)}


def poll(task: Task, handle: dict[str, Any]) -> Any:  # noqa: ANN401 as a test has it
    """Say how the job stands."""
    assert task.idempotency_key == cluster.keys[handle["job"]]
    cluster.polled.append(handle["job"])
    answer = cluster.answers.pop(0) if len(cluster.answers) > 1 else cluster.answers[0]
    if isinstance(answer, Exception):
        raise answer
    return answer() if callable(answer) else answer


def cancel(task: Task, handle: dict[str, Any]) -> None:
    """End the job."""
    assert task.idempotency_key == cluster.keys[handle["job"]]
    cluster.cancelled.append(handle["job"])
    if "cancel" in cluster.breaks:
        raise ConnectionError("nobody answers")


JOB = Job(submit=submit, poll=poll, cancel=cancel, every_ms=EVERY_MS, timeout_ms=HOUR_MS)
PATIENT = {"max_attempts": 3, "interval": "1s", "jitter": "none", "errors": ["Exception"]}


def machine(job: Job = JOB, **more: str) -> Machine:
    """Return a machine that has its work done elsewhere, looks at the result, and is done."""
    states = (
        State(
            name="asking",
            task=job,
            on=leads(ok="b", empty="done", **more),
            retry=PATIENT,
            settings=INLINE,
        ),
        State(name="b", task=Run(function=work), on=leads(ok="done"), settings=INLINE),
        State(name="done", final="success"),
    )
    return Machine(name="m", initial="asking", states=states)


def scene_of(folder: Path, *answers: Any, job: Job = JOB, **more: str) -> Waiting:  # noqa: ANN401 as a test has it
    """Return a scene whose cluster gives `answers`, the last one for ever."""
    cluster.__init__()  # type: ignore[misc]  # as if it were new
    cluster.answers = list(answers) or [None]
    return Waiting(folder, machine(job, **more))


def stop_lost(scene: Waiting) -> int:
    """Stop what is lost, as a worker's thread does; return how many that were."""
    stopper = Stopper(scene.engine._store, 1, scene.engine._programs)
    count = 0
    while stopper.turn():
        count += 1
    stopper.close()
    return count
