"""
Attempts that need a slot or a permit before they begin: who waits, and who does not.

Real engines and threads; what happens at once is seen by the tasks themselves.
"""

import threading
from pathlib import Path

import pytest

from statepipe.clock import SystemClock
from statepipe.errors import DefinitionError, Throttled
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Change, Task
from statepipe.runtime.driving.drive import Drive
from statepipe.store.file.opening import open_store
from tests.runtime.office import SOON_S, Office, Scene, created, nothing, soon
from tests.store import stores


@pytest.fixture
def office() -> Office:
    """Build an office."""
    return Office()


def test_no_more_attempts_run_at_once_than_there_are_slots(tmp_path: Path, office: Office) -> None:
    """All of them come in, in their order, and what each waited is written down."""
    scene = Scene(tmp_path, "[resources.crm]\nslots = 2", office.visit)
    office.door.clear()
    with scene.engine() as engine:
        ids = created(engine, 8)
        opener = threading.Thread(target=office.open_after, args=(2,))
        opener.start()
        assert set(engine.run(ids).values()) == {"done"}
        opener.join(SOON_S)

    assert office.most == 2
    assert office.order == ids
    scene.sound()
    waited = scene.ask("SELECT count(waited_ms) FROM journal WHERE source = 'a' AND kind = 'move'")
    assert waited[0][0] >= 6
    (total,) = scene.ask("SELECT value FROM counter WHERE metric = 'waited_ms'")[0]
    assert total > 0


def test_one_that_waits_takes_no_thread_from_others(tmp_path: Path, office: Office) -> None:
    """One thread is left, and the instance that needs no slot gets it."""
    scene = Scene(tmp_path, "[resources.crm]\nslots = 1", office.visit)
    office.door.clear()
    done = threading.Event()

    def observe(_drive: Drive, change: Change) -> None:
        if change.machine == "other":
            done.set()
            office.door.set()

    first = State(
        name="x",
        task=Run(function=nothing),
        on=(Transition(event="ok", target="done"),),
        settings={"executor": "thread"},
    )
    other = Machine(name="other", initial="x", states=(first, State(name="done", final="success")))
    with scene.engine(threads=2, in_flight_max=3) as engine:
        engine.catalog._built["other"] = other
        engine._observers._observe = observe
        ids = created(engine, 6)
        last = engine.create("other", instance_id="last")
        assert last is not None
        assert set(engine.run([*ids, last]).values()) == {"done"}

    assert done.is_set()
    assert office.most == 1
    scene.sound()


def test_waiting_makes_no_loop_spin(tmp_path: Path, office: Office) -> None:
    """In a second of waiting the wheel turns a few times, not thousands, and writes nothing."""
    scene = Scene(tmp_path, "[resources.crm]\nslots = 1", office.visit)
    office.door.clear()
    turns = 0
    with scene.engine() as engine:
        ids = created(engine, 4)
        loop = engine._driver.loop()
        tick = loop.tick

        def counted(*, wait_ms: int = 0) -> None:
            nonlocal turns
            turns += 1
            tick(wait_ms=wait_ms)

        loop.tick = counted  # type: ignore[method-assign]  # a test owns it
        written = []

        def watch() -> None:
            office.wait_for(1)
            threading.Event().wait(0.3)
            written.append((turns, scene.ask("SELECT max(n), count(*) FROM slot")))
            threading.Event().wait(1.0)
            written.append((turns, scene.ask("SELECT max(n), count(*) FROM slot")))
            office.door.set()

        watcher = threading.Thread(target=watch)
        watcher.start()
        assert set(engine.run(ids).values()) == {"done"}
        watcher.join(SOON_S)

    (before, rows), (after, same) = written
    assert after - before <= 60  # it glances at the store 20 times
    assert rows == same


def test_whoever_waits_can_be_cancelled_and_let_go(tmp_path: Path, office: Office) -> None:
    """It need not have its turn for that; its place is gone, and its wait is told."""
    scene = Scene(tmp_path, "[resources.crm]\nslots = 1", office.visit)
    office.door.clear()
    with scene.engine() as engine:
        ids = created(engine, 3)

        def disturb() -> None:
            office.wait_for(1)
            with scene.engine() as second:
                assert second.cancel(ids[1]) is False
            cancelled = "SELECT 1 FROM instance WHERE id = 'i1' AND status = 'cancelled'"
            assert soon(lambda: bool(scene.ask(cancelled)))
            engine.stop("enough")
            office.door.set()

        disturber = threading.Thread(target=disturb)
        disturber.start()
        engine.run(ids)
        disturber.join(SOON_S)

    assert office.order == ["i0"]
    assert dict(scene.ask("SELECT id, status FROM instance"))["i1"] == "cancelled"
    kinds = dict(
        scene.ask("SELECT kind, min(waited_ms) FROM journal WHERE waited_ms > 0 GROUP BY 1")
    )
    assert {"cancel", "interrupt"} <= set(kinds)
    scene.sound()


def test_one_that_is_taken_over_while_it_waits_is_let_go(tmp_path: Path, office: Office) -> None:
    """Its place is the new owner's affair; here it must not be called any more."""
    scene = Scene(tmp_path, "[resources.crm]\nslots = 1", office.visit)
    office.door.clear()
    with scene.engine() as engine:
        ids = created(engine, 2)

        def steal() -> None:
            office.wait_for(1)
            other = open_store(scene.config.store, create=False, clock=SystemClock())
            stores.stolen(other, "i1", state="a")
            other.close()
            assert soon(
                lambda: engine._driver._loop is not None and engine._driver._loop.fenced == ["i1"]
            )
            engine.stop("enough")
            office.door.set()

        thief = threading.Thread(target=steal)
        thief.start()
        engine.run(ids)
        thief.join(SOON_S)

    assert engine._driver._loop is not None
    assert engine._driver._loop.fenced == ["i1"]
    assert office.order == ["i0"]


def test_a_deadline_ends_the_wait_for_a_slot(tmp_path: Path, office: Office) -> None:
    """An instance that is late fails in its queue, and holds up nobody behind it."""
    scene = Scene(tmp_path, "[resources.crm]\nslots = 1", office.visit)
    office.door.clear()

    def open_door() -> None:
        office.wait_for(1)
        assert engine._driver._loop is not None
        (first,) = [each for each in tuple(engine._driver._loop.drives.values()) if each.id == "i0"]
        first.ends_boot_ms = None  # or its end, a moment before, might let the other one in
        failed = "SELECT 1 FROM instance WHERE id = 'i1' AND status = 'failed'"
        assert soon(lambda: bool(scene.ask(failed)))
        office.door.set()

    opener = threading.Thread(target=open_door)
    with scene.engine(deadline_ms=1_500) as engine:
        ids = created(engine, 2)
        opener.start()
        assert engine.run(ids)["i1"] == "failed"
        opener.join(SOON_S)

    assert office.order == ["i0"]
    assert scene.ask("SELECT error_class FROM instance WHERE id = 'i1'") == [("DeadlineExceeded",)]
    scene.sound()


def test_attempts_begin_no_faster_than_the_rate(tmp_path: Path, office: Office) -> None:
    """Each costs a permit, and waits for it without a thread."""
    scene = Scene(tmp_path, '[resources.crm]\nrate = "20/s"', office.visit)
    with scene.engine(threads=1) as engine:
        assert set(engine.run(created(engine, 6)).values()) == {"done"}

    spent = office.at_ms[-1] - office.at_ms[0]
    assert spent >= 5 * 50 - 10, office.at_ms
    assert spent < 5_000
    scene.sound()


def test_a_task_asks_for_a_permit_for_each_request(tmp_path: Path) -> None:
    """In its attempts of all instances together, and its waits are counted."""
    clock = SystemClock()
    asked_us: list[int] = []

    def ask(task: Task) -> None:
        for _ in range(4):
            task.acquire("crm")
            asked_us.append(clock.boot_us())

    scene = Scene(tmp_path, '[resources.crm]\nrate = "50/s"', ask)
    with scene.engine() as engine:
        assert set(engine.run(created(engine, 3)).values()) == {"done"}

    # 12 permits, and 3 for the attempts; each is seen a little after it was given.
    assert max(asked_us) - min(asked_us) >= 11 * 20_000 - 20_000
    (waited,) = scene.ask("SELECT sum(waited_ms) FROM journal WHERE kind = 'move'")[0]
    assert waited > 0
    scene.sound()


@pytest.mark.parametrize("executor", ["inline", "thread", "process"])
def test_a_permit_can_be_asked_for_in_every_executor(tmp_path: Path, executor: str) -> None:
    """Also where the task runs in the loop's own thread, which must answer meanwhile."""
    scene = Scene(tmp_path, '[resources.crm]\nrate = "50/s"', acquires_twice)
    with scene.engine(settings={"executor": executor}) as engine:
        assert engine.run(created(engine, 1)) == {"i0": "done"}


def acquires_twice(task: Task) -> None:
    """Ask for two permits."""
    task.acquire("crm")
    task.acquire("crm")


def test_a_permit_of_what_the_state_does_not_use_is_refused(tmp_path: Path) -> None:
    """Nobody would see in the machine that it is used."""

    def ask(task: Task) -> None:
        task.acquire("warehouse")

    settings = "[resources.crm]\nslots = 1\n[resources.warehouse]\nslots = 1"
    scene = Scene(tmp_path, settings, ask)
    with scene.engine() as engine:
        assert engine.run(created(engine, 1)) == {"i0": "failed"}

    ((error,),) = scene.ask("SELECT error FROM instance")
    assert error.startswith("acquire('warehouse'): the state uses crm; add uses = [\"warehouse\"]")


def test_an_attempt_that_waits_for_a_permit_can_be_stopped(tmp_path: Path) -> None:
    """Its permit is due in a minute; it is gone at once."""
    began = threading.Event()

    def ask(task: Task) -> None:
        began.set()
        task.acquire("crm")

    scene = Scene(tmp_path, '[resources.crm]\nrate = "1/min"', ask)
    clock = SystemClock()
    with scene.engine() as engine:
        ids = created(engine, 1)

        def stop() -> None:
            began.wait(SOON_S)
            engine.stop("enough")

        stopper = threading.Thread(target=stop)
        stopper.start()
        began_ms = clock.boot_ms()
        assert engine.run(ids) == {"i0": "ready"}
        stopper.join(SOON_S)

    assert clock.boot_ms() - began_ms < 20_000
    scene.sound()


def test_a_servers_pause_holds_for_all_who_use_it(tmp_path: Path) -> None:
    """One was told, and the others wait as well: none of them comes before its end."""
    clock = SystemClock()
    told = threading.Event()
    came_ms: list[int] = []
    until_ms: list[int] = []

    def ask(task: Task) -> None:
        if task.instance == "i0" and not told.is_set():
            told.set()
            until_ms.append(clock.boot_ms() + 700)
            raise Throttled("slow down", retry_after=0.7)
        came_ms.append(clock.boot_ms())

    scene = Scene(tmp_path, "[resources.crm]\nslots = 1", ask)
    with scene.engine() as engine:
        assert set(engine.run(created(engine, 4)).values()) == {"done"}

    assert len(came_ms) == 4
    assert min(came_ms) >= until_ms[0]
    scene.sound()


def test_a_failure_gives_the_slot_back_while_the_instance_pauses(
    tmp_path: Path, office: Office
) -> None:
    """Who waits to try again holds nothing."""
    failed = threading.Event()

    def ask(task: Task) -> None:
        if task.instance == "i0" and not failed.is_set():
            failed.set()
            raise Throttled
        office.visit(task)

    scene = Scene(tmp_path, "[resources.crm]\nslots = 1", ask)
    with scene.engine() as engine:
        assert set(engine.run(created(engine, 3)).values()) == {"done"}

    assert sorted(office.order) == ["i0", "i1", "i2"]
    assert office.most == 1
    scene.sound()


def test_a_resource_that_nobody_declared_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """It would be used without a limit."""
    scene = Scene(tmp_path, "[resources.crn]\nslots = 1", nothing)
    with (
        scene.engine() as engine,
        pytest.raises(DefinitionError, match='no resource "crm"; did you mean "crn"'),
    ):
        engine.create("m", instance_id="i")
