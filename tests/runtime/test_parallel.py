"""Several calls that share the input of one attempt: together, in order, and of one fate."""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.judging import Validate
from statepipe.machine.tasks import Load, Run
from statepipe.model import Batch, Change, Task
from statepipe.runtime.drive import Drive
from statepipe.runtime.pools import Pools
from statepipe.sqlite import sqlite3
from statepipe.store.opening import open_reader
from statepipe.store.resources import NOBODY, Want, settle
from statepipe.testing import violations
from tests.crash.processes import until
from tests.store import stores

#: A bound for what never comes if the calls are not under way together.
SOON_S: Final = 30
BATCHES: Final = 8

Map = Callable[[Task, Batch], Batch]


def source(_task: Task) -> Iterator[Batch]:
    """Yield some batches; each says its number, and all have one key."""
    for number in range(BATCHES):
        yield Batch([{"key": 1, "number": number}], cursor=number)


def same(_task: Task, batch: Batch) -> Batch:
    """Return the batch as it came."""
    return batch


def nothing(_task: Task) -> None:
    """Do nothing."""


def number_of(batch: Batch) -> int:
    """Return which batch it is."""
    number: int = batch.records[0]["number"]
    return number


class Stage:
    """A machine that reads, maps and loads, and what became of its instance."""

    def __init__(
        self,
        folder: Path,
        mapped: Map,
        *,
        parallel: int = 3,
        threads: int = 3,
        uses: tuple[str, ...] = (),
        **settings: str,
    ) -> None:
        self.folder = folder
        self.config = load_config(start=folder, environ={})
        self.changes: list[Change] = []
        self.wished: Callable[[Change], object] = lambda _: None
        shared = {"executor": "thread", "parallel": parallel, "grace": "10s"}
        self.machine = Machine(
            name="m",
            initial="reading",
            states=(
                state("reading", Run(function=source), to="mapping", settings=shared),
                state(
                    "mapping",
                    Run(function=mapped),
                    to="loading",
                    settings=shared | settings,
                    uses=uses,
                ),
                state(
                    "loading",
                    Load(to="sqlite:///out.db", table="rows", key=("key",)),
                    to="done",
                    settings=shared,
                ),
                State(name="done", final="success"),
            ),
        )
        self.threads = threads

    def run(self) -> str:
        """Drive an instance, or go on with it; return its status."""
        with self.engine() as engine:
            engine.create("m", instance_id="i", if_exists="attach")
            status = engine.run(["i"])["i"]
        assert violations(self.config.store) == []
        return status

    def engine(self) -> Engine:
        """Open an engine that notes what is committed."""
        pools = Pools(threads=self.threads)
        return Engine(self.config, machines=[self.machine], pools=pools, observe=self._observe)

    def _observe(self, _drive: Drive, change: Change) -> None:
        self.changes.append(change)
        self.wished(change)

    def notes(self, kind: str) -> list[str | None]:
        """Return what the journal says of `mapping`'s changes of one kind, in order."""
        return [
            change.detail.note or change.detail.error_class
            for change in self.changes
            if change.source == "mapping" and change.detail and change.detail.kind == kind
        ]

    def rows(self) -> list[tuple[Any, ...]]:
        """Return what was loaded."""
        with closing(sqlite3.connect(self.folder / "out.db")) as out:
            rows: list[tuple[Any, ...]] = out.execute("SELECT * FROM rows").fetchall()
            return rows


def kinds_of(stage: Stage, instance: str) -> set[str]:
    """Return what the journal has of `instance`, by kind."""
    sql = "SELECT kind FROM journal j JOIN instance i ON i.n = j.instance WHERE i.id = ?"
    with closing(open_reader(stage.config.store)) as store:
        return {kind for (kind,) in store.execute(sql, (instance,))}


def slots_of(stage: Stage) -> list[tuple[int]]:
    """Return who holds a slot, or waits for one."""
    with closing(open_reader(stage.config.store)) as store:
        return list(store.execute("SELECT instance FROM slot"))


def state(
    name: str,
    task: Run | Validate | Load,
    *,
    to: str,
    settings: Mapping[str, Any],
    uses: tuple[str, ...] = (),
) -> State:
    """Return an acting state that leads to `to`, and tries again at once."""
    retry = {"interval": "1ms", "errors": ["ConnectionError", "TaskTimeout"]}
    on = (Transition(event="ok", target=to),)
    return State(name=name, task=task, on=on, retry=retry, settings=settings, uses=uses)


IN_ORDER: Final = [f"batch {number}" for number in range(BATCHES)]


def test_batches_are_worked_on_together_and_committed_in_their_order(tmp_path: Path) -> None:
    """The first three can only go on once all three are there, and the first ends last."""
    together = threading.Barrier(3)
    others = threading.Semaphore(0)

    def mapped(_task: Task, batch: Batch) -> Batch:
        if number_of(batch) < 3:
            together.wait(SOON_S)
        if number_of(batch) == 0:
            assert others.acquire(timeout=SOON_S)
            assert others.acquire(timeout=SOON_S)
        elif number_of(batch) < 3:
            others.release()
        return batch

    stage = Stage(tmp_path, mapped)

    assert stage.run() == "done"
    assert stage.notes("batch") == IN_ORDER
    assert stage.rows() == [(1, BATCHES - 1)]


@pytest.mark.parametrize(("parallel", "threads"), [(1, 3), (3, 1), (64, 2)])
def test_no_more_at_once_than_the_policy_and_the_executor_allow(
    tmp_path: Path, parallel: int, threads: int
) -> None:
    """Whoever finds no room beside it works alone."""
    lock = threading.Lock()
    at_once = [0, 0]

    def mapped(_task: Task, batch: Batch) -> Batch:
        with lock:
            at_once[0] += 1
            at_once[1] = max(at_once)
        threading.Event().wait(0.001)
        with lock:
            at_once[0] -= 1
        return batch

    stage = Stage(tmp_path, mapped, parallel=parallel, threads=threads)

    assert stage.run() == "done"
    assert at_once[1] <= min(parallel, threads)
    assert stage.notes("batch") == IN_ORDER


def test_what_one_call_raises_is_how_the_attempt_failed(tmp_path: Path) -> None:
    """The others are asked to stop; what was committed is not done again."""
    failed = threading.Event()
    calls: list[int] = []

    def mapped(task: Task, batch: Batch) -> Batch:
        number = number_of(batch)
        calls.append(number)
        if not failed.is_set() and number == 4:
            failed.set()
            raise ConnectionError("the fourth")
        if number == 3:
            failed.wait(SOON_S)
            while task.attempt == 1 and not task.cancelled:
                threading.Event().wait(0.001)
        return batch

    stage = Stage(tmp_path, mapped)

    assert stage.run() == "done"
    assert stage.notes("retry") == ["ConnectionError"]
    assert stage.notes("batch") == IN_ORDER
    assert all(calls.count(number) == 1 for number in range(3))
    assert len(calls) <= BATCHES + 3
    assert stage.rows() == [(1, BATCHES - 1)]


def test_a_timeout_ends_all_calls_of_the_attempt(tmp_path: Path) -> None:
    """And is what the attempt failed of, whoever of them was too slow."""
    release = threading.Event()

    def mapped(task: Task, batch: Batch) -> Batch:
        if task.attempt == 1 and number_of(batch) > 1:
            release.wait(SOON_S)
        return batch

    stage = Stage(tmp_path, mapped, timeout="300ms")
    stage.wished = lambda change: release.set() if change.event == "timeout" else None

    assert stage.run() == "done"
    assert stage.notes("retry")[0] == "TaskTimeout"
    assert stage.notes("batch") == IN_ORDER


@pytest.mark.parametrize("wish", ["cancel", "pause"])
def test_a_wish_ends_all_calls_and_is_honoured(tmp_path: Path, wish: str) -> None:
    """What was committed stays; after a pause the rest is done."""
    stage = Stage(tmp_path, same)

    def wished(change: Change) -> None:
        if change.detail is not None and change.detail.note == "batch 3":
            stage.wished = lambda _: None
            with Engine(stage.config, machines=[stage.machine]) as other:
                assert not (other.pause if wish == "pause" else other.cancel)("i")

    stage.wished = lambda change: wished(change) if change.source == "mapping" else None

    assert stage.run() == {"cancel": "cancelled", "pause": "paused"}[wish]
    assert stage.notes("batch") == IN_ORDER[: len(stage.notes("batch"))]
    assert len(stage.notes("batch")) < BATCHES
    if wish == "pause":
        with stage.engine() as engine:
            assert engine.resume(["i"]) == {"i": "done"}
        assert stage.notes("batch") == IN_ORDER


def test_what_all_calls_handled_counts_for_the_move(tmp_path: Path) -> None:
    """Records and rejects are those of the whole stay, not of the call that ended it."""
    together = threading.Barrier(2)

    def mapped(task: Task, batch: Batch) -> Batch:
        if number_of(batch) < 2:
            together.wait(SOON_S)
        if number_of(batch) % 2:
            task.reject(batch.records[0], "odd")
            return Batch([])
        return batch

    stage = Stage(tmp_path, mapped)

    assert stage.run() == "done"
    (move,) = [each for each in stage.changes if each.source == "mapping" and each.event == "ok"]
    assert move.detail is not None
    assert (move.detail.records, move.detail.rejected) == (BATCHES / 2, BATCHES / 2)
    assert stage.rows() == [(1, BATCHES - 2)]


def test_a_contract_counts_the_rejects_of_all_calls(tmp_path: Path) -> None:
    """Too many are too many, whoever found them."""
    (tmp_path / "machines").mkdir()
    schema = '{"properties": {"number": {"minimum": 3}}}'
    (tmp_path / "machines" / "c.json").write_text(schema, encoding="utf-8")
    shared = {"executor": "thread", "parallel": 3}
    judged = State(
        name="judging",
        task=Validate(contract="c.json", max_rejects=2),
        on=(Transition(event="ok", target="done"), Transition(event="invalid", target="failed")),
        settings=shared,
    )
    reading = state("reading", Run(function=source), to="judging", settings=shared)
    machine = Machine(
        name="m", initial="reading", states=(reading, judged, State(name="done", final="success"))
    )
    with Engine(load_config(start=tmp_path, environ={}), machines=[machine]) as engine:
        engine.create("m", instance_id="i")
        assert engine.run(["i"]) == {"i": "failed"}
        error = stores.row(engine._store, "i")["error"]
    assert "3 of 8 records were rejected" in error


def test_what_all_calls_print_is_kept_whole(tmp_path: Path) -> None:
    """Lines of calls side by side are the attempt's, each unbroken."""

    def mapped(_task: Task, batch: Batch) -> Batch:
        for _ in range(20):
            sys.stdout.write("one ")
            sys.stdout.write("line\n")
        return batch

    stage = Stage(tmp_path, mapped)

    assert stage.run() == "done"
    with closing(sqlite3.connect(stage.config.store)) as store:
        said = [text for (text,) in store.execute("SELECT text FROM output")]
    assert said == ["one line"] * (20 * BATCHES)


def test_a_load_that_is_shared_gives_back_what_the_destination_has_lost(tmp_path: Path) -> None:
    """What is loaded again has had its turn."""
    stage = Stage(tmp_path, same)

    def wished(change: Change) -> None:
        if change.detail is not None and change.detail.note == f"batch {BATCHES - 1}":
            stage.wished = lambda _: None
            with closing(sqlite3.connect(tmp_path / "out.db")) as out, out:
                out.execute("DELETE FROM _statepipe_ledger WHERE batch IN (0, 2)")
                out.execute("DELETE FROM rows")

    stage.wished = lambda change: wished(change) if change.source == "loading" else None

    assert stage.run() == "done"
    assert len(stage.rows()) == 1


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
