"""Calls that share an attempt make room for other instances."""

import threading
from pathlib import Path

import pytest

from statepipe.batch import Batch
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State
from statepipe.machine.states.tasks import Run
from statepipe.model import Change, Task
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.pools import Pools
from statepipe.store.walk.resources import NOBODY, Want, settle
from statepipe.testing import violations
from tests.crash.processes import until
from tests.runtime.sharing import (
    BATCHES,
    SOON_S,
    Stage,
    kinds_of,
    nothing,
    number_of,
    slots_of,
    state,
)
from tests.store import stores


@pytest.mark.parametrize("uses", [(), ("crm",)])
def test_a_call_beside_others_makes_room_for_an_instance_that_comes_later(
    tmp_path: Path, uses: tuple[str, ...]
) -> None:
    """Two calls of one instance have all there is; another one is done before they are."""
    came, done = threading.Event(), threading.Event()

    def mapped(task: Task, batch: Batch) -> Batch:
        if task.instance == "i" and number_of(batch) == 2:
            assert came.wait(SOON_S)
            until(lambda: "claim" in kinds_of(stage, "later"), "the other's claim")
        if task.instance == "i" and number_of(batch) >= BATCHES - 2:
            assert done.wait(SOON_S), "it waited until the first instance was done"
        return batch

    (tmp_path / "statepipe.toml").write_text("[resources.crm]\nslots = 2", encoding="utf-8")
    stage = Stage(tmp_path, mapped, parallel=2, threads=2, uses=uses)

    def observe(drive: Drive, change: Change) -> None:
        told = change.source == "mapping" and change.detail and change.detail.note
        if told == "batch 1" and not came.is_set():
            with Engine(stage.config, machines=[stage.machine]) as other:
                other.create("m", instance_id="later")
            came.set()
        if drive.id == "later" and change.status == "done":
            done.set()

    pools = Pools(threads=2)
    with Engine(stage.config, machines=[stage.machine], pools=pools, observe=observe) as engine:
        engine.create("m", instance_id="i")
        engine.work(["m"], until_idle=True)
        statuses = [stores.row(engine._store, name)["status"] for name in ("i", "later")]

    assert statuses == ["done", "done"]
    assert violations(stage.config.store) == []


def test_a_call_beside_others_makes_room_for_one_whose_turn_has_come(tmp_path: Path) -> None:
    """It waited for its slot, off every executor; now it waits for a thread."""
    (tmp_path / "statepipe.toml").write_text("[resources.crm]\nslots = 1", encoding="utf-8")
    came, done = threading.Event(), threading.Event()

    def mapped(task: Task, batch: Batch) -> Batch:
        if task.instance == "i" and number_of(batch) == 2:
            assert came.wait(SOON_S)
            until(lambda: not slots_of(stage), "it has given up its turn")
        if task.instance == "i" and number_of(batch) >= BATCHES - 2:
            assert done.wait(SOON_S), "it waited until the first instance was done"
        return batch

    stage = Stage(tmp_path, mapped, parallel=2, threads=2)
    visiting = state(
        "x", Run(function=nothing), to="done", settings={"executor": "thread"}, uses=("crm",)
    )
    done_state = State(name="done", final="success")
    visit = Machine(name="visit", initial="x", states=(visiting, done_state))

    def observe(drive: Drive, change: Change) -> None:
        told = change.source == "mapping" and change.detail and change.detail.note
        if told == "batch 1":
            with engine._store.write() as store:
                store.execute("DELETE FROM slot WHERE worker = ?", (other.n,))
            came.set()
        if drive.id == "v" and change.status == "done":
            done.set()

    machines = [stage.machine, visit]
    with Engine(stage.config, machines=machines, pools=Pools(threads=2), observe=observe) as engine:
        engine.create("visit", instance_id="v")
        other = stores.registered(engine._store)
        n = stores.row(engine._store, "v")["n"]
        want = Want(n, 0, (stage.config.resources["crm"],), "thread")
        held = settle(engine._store, other, [want], end=None, absent=NOBODY, room={"thread": 1})
        assert held.granted
        engine.create("m", instance_id="i")
        engine.work(["m", "visit"], until_idle=True)
        statuses = [stores.row(engine._store, name)["status"] for name in ("i", "v")]

    assert statuses == ["done", "done"]
    assert violations(stage.config.store) == []
