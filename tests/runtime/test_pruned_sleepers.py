"""
Who sleeps until its instance is done elsewhere, and pruned: it is told so, and all else goes on.

The sleep is a jump of an owned clock, in the middle of which another engine does the work.
"""

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from statepipe.batch import Batch
from statepipe.errors import Fenced
from statepipe.machine.definition import Machine, State
from statepipe.machine.states.taskgraph import Graph
from statepipe.machine.states.tasks import Run
from statepipe.model import Task
from statepipe.resources import Resource
from statepipe.runtime.program import Part
from statepipe.runtime.stopping import Stopper
from statepipe.said import Fact
from statepipe.store.care import prune
from statepipe.store.care.prune import Which
from statepipe.store.walk import claims, jobs, resources
from statepipe.store.walk.jobs import Job
from statepipe.store.walk.ready import Scope
from statepipe.store.walk.resources import Want
from tests.runtime import cluster
from tests.runtime.families import task
from tests.runtime.waiting import INLINE, Waiting, leads
from tests.store import stores


def machine(function: object) -> Machine:
    """Return a machine of one state."""
    states = (
        State(name="a", task=Run(function=function), on=leads(ok="done"), settings=INLINE),  # type: ignore[arg-type]  # of any kind
        State(name="done", final="success"),
    )
    return Machine(name="m", initial="a", states=states)


def pruned_meanwhile(scene: Waiting, *ids: str) -> None:
    """Sleep for longer than the lease; meanwhile instances are done by another, and pruned."""
    scene.dies()
    scene.clock.advance(60_000)
    with scene.other() as heir:
        assert set(heir.resume(ids).values()) == {"done"}
        assert sum(prune.prune(heir._store, heir._stage, Which(before_ms=10**15))) >= len(ids)


def test_run_says_that_it_was_taken_over(tmp_path: Path) -> None:
    """With exit code 76, and not with a traceback; the destination has a fence of its own."""
    slept: list[str] = []

    def sleep(task: Task) -> None:
        if not slept:
            slept.append(task.instance)
            pruned_meanwhile(scene, "i")

    scene = Waiting(tmp_path, machine(sleep))

    with pytest.raises(Fenced, match="taken 'i' over and ended it; it is pruned") as fenced:
        scene.engine.run(["i"])

    assert fenced.value.exit_code == 76
    assert scene.rows("SELECT id FROM pruned") == [("i",)]
    assert scene.is_sound()


def test_a_worker_drops_that_one_and_goes_on(tmp_path: Path) -> None:
    """What else it drives is nobody else's, and moves."""
    slept: list[str] = []

    def sleep(task: Task) -> None:
        if not slept:
            slept.append(task.instance)
            pruned_meanwhile(scene, "i")

    scene = Waiting(tmp_path, machine(sleep))
    scene.engine.create("m", instance_id="j")

    scene.turn()

    loop = scene.engine._driver.loop()
    assert (slept, loop.fenced, loop.drives) == (["i"], ["i"], {})
    assert scene.rests("j")[0] == "done"
    assert scene.rows("SELECT value FROM counter WHERE metric = 'fenced'") == [(1,)]
    assert scene.is_sound()


def test_its_claim_is_told_to_nobody(tmp_path: Path) -> None:
    """It slept between the commit of the claim and the line in the log."""
    facts: list[Fact] = []
    scene = Waiting(tmp_path, machine(lambda _task: None), log=facts.append)
    scene.engine._program("m")
    loop = scene.engine._driver.loop()
    assert scene.engine._driver.worker is not None
    (claimed,) = claims.claim_ready(
        scene.engine._store, scene.engine._driver.worker, scope=Scope(), limit=1
    )
    pruned_meanwhile(scene, "i")
    facts.clear()

    loop.adopt(claimed)
    scene.turn()

    assert [fact.kind for fact in facts] == ["fenced"]
    assert loop.fenced == ["i"]
    assert scene.is_sound()


@pytest.mark.parametrize("asleep", ["staged", "claim"])
def test_the_batches_that_it_reads_may_be_gone(tmp_path: Path, asleep: str) -> None:
    """They are those of another task of its parent, which is done and pruned with its parts."""

    def read(_task: Task) -> Iterator[Batch]:
        for n in range(2):
            yield Batch([{"n": n}], cursor=n)

    def double(_task: Task, batch: Batch) -> Batch:
        return batch

    tasks = (
        task("read", read),
        task("double", double, "read"),
    )
    states = (
        State(name="work", task=Graph(tasks=tasks), on=leads(ok="done")),
        State(name="done", final="success"),
    )
    slept: list[str] = []

    def log(fact: Fact) -> None:
        if fact.event == asleep and "double" in fact.instance and not slept:
            slept.append(fact.instance)
            pruned_meanwhile(scene, "i")

    scene = Waiting(tmp_path, Machine(name="m", initial="work", states=states), log=log)

    scene.turn()

    loop = scene.engine._driver.loop()
    assert (loop.fenced, loop.drives) == (slept, {})
    assert slept
    assert scene.is_sound()


@pytest.mark.parametrize("uses", [(), (Resource(name="crm", slots=1),)])
def test_it_asks_for_nothing(tmp_path: Path, uses: tuple[Resource, ...]) -> None:
    """Neither for a slot nor for room: there is no instance that could wait."""
    store = stores.opened(tmp_path)
    me = stores.registered(store)
    want = Want(instance=7, epoch=1, uses=uses, kind="inline")

    settled = resources.settle(
        store, me, [want], end=None, absent=resources.NOBODY, room={"inline": 1}
    )

    assert (settled.places, settled.fenced, settled.granted) == ([()], [0], [])
    assert stores.count(store, "slot") == 0


def test_it_does_not_wait_for_room(tmp_path: Path) -> None:
    """What waits for room in the stage is let go, though there is none."""
    scene = Waiting(tmp_path, machine(lambda _task: None))
    scene.engine._program("m")
    loop = scene.engine._driver.loop()
    loop.limit_to(Scope())
    loop._permits._staged_bytes_max = 0
    loop._claim()
    assert [drive.id for drive in loop.drives.values()] == ["i"]
    pruned_meanwhile(scene, "i")

    loop.tick()

    assert (loop.fenced, loop.drives) == (["i"], {})
    assert scene.is_sound()


def test_a_job_that_another_has_stopped_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was to stop it slept until that was done, and its instance pruned."""
    scene = cluster.scene_of(tmp_path)
    scene.turn()
    scene.engine.cancel("i")
    take = jobs.take_lost

    def slow(*asked: object) -> Job | None:
        job = take(*asked)  # type: ignore[arg-type]  # as they came
        if job is not None:
            jobs.stopped(scene.engine._store, job, note=None)
            which = Which(before_ms=10**15, statuses=("cancelled",))
            assert list(prune.prune(scene.engine._store, scene.engine._stage, which)) == [1]
        return job

    monkeypatch.setattr(jobs, "take_lost", slow)

    assert cluster.stop_lost(scene) == 1
    assert cluster.cluster.cancelled == []
    assert scene.is_sound()


def test_who_stops_a_job_says_nothing_of_one_that_has_its_number_now(tmp_path: Path) -> None:
    """It slept in the middle of `cancel`, and the job's row went with its instance."""
    scene = cluster.scene_of(tmp_path)
    scene.turn()
    scene.engine.cancel("i")
    engine = scene.engine
    stopper = Stopper(engine._store, 1, engine._programs)
    ended = stopper._ended
    numbers = "SELECT j.n, i.id, j.over_at_ms FROM job j JOIN instance i ON i.n = j.instance"
    ((number, *_),) = scene.rows(numbers)

    def sleep(future: Future[dict[str, Any]], part: Part) -> bool:
        with engine._store.write() as connection:  # another process has stopped it, too
            connection.execute("UPDATE job SET over_at_ms = 1")
        which = Which(before_ms=10**15, statuses=("cancelled",))
        assert list(prune.prune(engine._store, engine._stage, which)) == [1]
        engine.create("m", instance_id="j")
        scene.turn()
        return ended(future, part)

    stopper._ended = sleep  # type: ignore[method-assign]  # a test owns it

    assert stopper.turn()
    stopper.close()
    assert scene.rows(numbers) == [(number, "j", None)]
    assert scene.is_sound()
