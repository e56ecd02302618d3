"""
What holds work back as it goes on: slots for further calls, room for batches, smaller batches.
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from statepipe.batch import Batch
from statepipe.engine import Engine
from statepipe.errors import Throttled
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Change, Task
from statepipe.policy import Policy
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.pools import Pools
from statepipe.runtime.picture import Picture
from tests.runtime.office import SOON_S, Scene, created, soon


def test_calls_that_share_an_attempt_have_a_slot_each(tmp_path: Path) -> None:
    """Of four that the policy allows two begin, because there are two slots."""
    lock = threading.Lock()
    inside = most = 0

    def mapped(_task: Task, batch: Batch) -> Batch:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        threading.Event().wait(0.02)
        with lock:
            inside -= 1
        return batch

    scene = Scene(tmp_path, "[resources.crm]\nslots = 2", mapped)
    shared = {"executor": "thread"}
    machine = Machine(
        name="m",
        initial="read",
        states=(
            State(
                name="read",
                task=Run(function=_eight),
                on=(Transition(event="ok", target="map"),),
                settings=shared,
            ),
            State(
                name="map",
                task=Run(function=mapped),
                on=(Transition(event="ok", target="done"),),
                settings=shared | {"parallel": 4},
                uses=("crm",),
            ),
            State(name="done", final="success"),
        ),
    )
    with Engine(scene.config, machines=[machine], pools=Pools(threads=8)) as engine:
        assert engine.run(created(engine, 1)) == {"i0": "done"}

    assert most == 2
    scene.sound()


def _eight(task: Task) -> Iterator[Batch]:
    """Yield eight batches."""
    for number in range(task.cursor or 0, 8):
        yield Batch([{"n": number}], cursor=number + 1)


def test_without_room_nothing_new_begins_and_what_has_begun_goes_on(tmp_path: Path) -> None:
    """The first one fills the stage; the others wait until its batches are given back."""
    lock = threading.Lock()
    staged: set[str] = set()
    overlap: list[set[str]] = []

    def read(task: Task) -> Iterator[Batch]:
        with lock:
            staged.add(task.instance)
            overlap.append(set(staged))
        for number in range(task.cursor or 0, 3):
            yield Batch([{"noise": os.urandom(2_000)}], cursor=number + 1)

    scene = Scene(tmp_path, 'staged_max = "1kB"\n[resources.crm]\nslots = 5', read)
    done = scene._observe

    def observe(drive: Drive, change: Change) -> None:
        done(drive, change)
        if change.status == "done":
            with lock:
                staged.discard(drive.id)

    with scene.engine(threads=8) as engine:
        engine._observers._observe = observe
        first = created(engine, 1)
        loop = engine._driver.loop()
        ids = [*first, *(str(engine.create("m", instance_id=f"j{n}")) for n in range(3))]
        loop._claiming._in_flight_max = 1
        assert set(engine.run(ids).values()) == {"done"}

    assert max(map(len, overlap)) == 1
    scene.sound()


def test_with_room_no_more_begin_than_executors_can_run_at_once(tmp_path: Path) -> None:
    """Else they would wait inside an executor, where their timeout goes on."""
    busy: list[int] = []

    def read(_task: Task) -> Iterator[Batch]:
        busy.append(pools.busy["thread"])
        yield Batch([{"n": 1}], cursor=1)

    scene = Scene(tmp_path, 'staged_max = "1GB"', read)
    with scene.engine(threads=2, uses=()) as engine:
        pools = engine._driver._pools
        assert set(engine.run(created(engine, 12)).values()) == {"done"}

    assert len(busy) == 12
    assert max(busy) <= 2
    scene.sound()


def test_what_waits_for_room_can_be_seen(tmp_path: Path) -> None:
    """It has a row of its own, and its wait is written down when it ends."""
    filled, seen = threading.Event(), threading.Event()

    def read(task: Task) -> Iterator[Batch]:
        if task.instance == "i0":
            yield Batch([{"noise": os.urandom(2_000)}], cursor=1)
            filled.set()
            assert seen.wait(SOON_S)
        yield Batch([{"text": "y"}], cursor=2)

    scene = Scene(tmp_path, 'staged_max = "1kB"', read)

    def look() -> None:
        assert filled.wait(SOON_S)
        with scene.engine(uses=()) as second:
            second.create("m", instance_id="i1")
        waits = "SELECT id FROM slots WHERE resource = '(staging)'"
        if soon(lambda: scene.ask(waits) == [("i1",)]):
            seen.set()

    looker = threading.Thread(target=look)
    with scene.engine(uses=()) as engine:
        created(engine, 1)
        looker.start()
        engine.work(until_idle=True)
        looker.join(SOON_S)

    assert seen.is_set()
    assert set(scene.ask("SELECT status FROM instance")) == {("done",)}
    waited = scene.ask(
        "SELECT i.id FROM journal j JOIN instance i ON i.n = j.instance"
        " WHERE j.waited_ms > 0 AND j.kind = 'move'"
    )
    assert waited == [("i1",)]
    scene.sound()


def test_a_batch_size_halves_when_the_other_side_throttles_and_recovers(tmp_path: Path) -> None:
    """It is remembered by the checkpoint: another process goes on with it."""
    sizes: list[int] = []
    failures = iter([Throttled(), TimeoutError("slow"), Throttled()])

    def read(task: Task) -> Iterator[Batch]:
        for number in range(task.cursor or 0, 6):
            sizes.append(task.batch_size)
            if number == 2 and (failure := next(failures, None)) is not None:
                raise failure
            yield Batch([{"n": number}], cursor=number + 1)

    scene = Scene(tmp_path, "", read)
    settings = {"batch_size": 1_000, "batch_size_min": 200}
    with scene.engine(uses=(), settings=settings) as engine:
        engine.create("m", instance_id="i")

        def observe(_drive: Drive, change: Change) -> None:
            if change.detail is not None and change.detail.kind == "retry":
                engine.stop("another process goes on")

        engine._observers._observe = observe
        engine.run(["i"])
    assert sizes == [1_000, 1_000, 1_000]
    with scene.engine(uses=(), settings=settings) as engine:
        engine.resume(["i"])

    # 500 and 250 after the next two failures, and 200 is the least there is; then, with each
    # batch, a twentieth of the policy's size more.
    assert sizes[3:] == [500, 250, 200, 250, 300, 350]
    ((picture,),) = scene.ask("SELECT picture FROM instance")
    assert Picture.read(picture).sizes == {"a": 400}
    scene.sound()


def test_a_size_that_may_not_adapt_stays(tmp_path: Path) -> None:
    """Without a minimum it is what the policy says, and nothing is remembered."""
    sizes: list[int] = []
    failures = iter([Throttled()])

    def read(task: Task) -> Iterator[Batch]:
        sizes.append(task.batch_size)
        for failure in failures:
            raise failure
        yield Batch([{"n": 1}], cursor=1)

    scene = Scene(tmp_path, "", read)
    with scene.engine(uses=()) as engine:
        engine.create("m", instance_id="i")
        engine.run(["i"])

    assert sizes == [Policy().batch_size] * 2
    assert all(
        not change.detail.learned
        for change in scene.changes
        if change.detail and change.detail.kind in ("retry", "batch")
    )
