"""Several calls that share the input of one attempt: together, in order, and of one fate."""

import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from statepipe.batch import Batch
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.io.fitting import Fitted
from statepipe.io.loads import LoadBatch
from statepipe.io.sqlite.destination import SqliteDestination
from statepipe.io.table import Column
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.judging import Validate
from statepipe.machine.states.tasks import Run
from statepipe.model import Change, Task
from statepipe.runtime.driving.calls import Calls
from statepipe.runtime.driving.inbox import Question
from statepipe.sqlite import sqlite3
from statepipe.store.walk.committer import Committer
from tests.crash.processes import until
from tests.runtime.sharing import (
    BATCHES,
    SOON_S,
    Stage,
    number_of,
    same,
    source,
    state,
)
from tests.store import stores

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


def test_the_next_batch_is_loaded_while_the_commit_of_the_one_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its turn has come when the destination has that one, and not only the checkpoint."""
    stage = Stage(tmp_path, same, parallel=2, threads=2)
    holds, put, committed = Calls.holds, SqliteDestination.put, Committer.commit
    is_ready = threading.Event()
    waited: list[str | None] = []

    def hold(calls: Calls, question: Question) -> bool:
        is_held = holds(calls, question)
        if is_held and question.request == {"ask": "turn", "number": 2}:
            is_ready.set()
        return is_held

    def write(destination: SqliteDestination, batch: LoadBatch, fitted: Fitted[Column]) -> None:
        # Not the first one: it makes the table, for which the second one looks again.
        if batch.number == 1:
            assert is_ready.wait(SOON_S), "the batch behind it waits for its turn"
        put(destination, batch, fitted)

    def commit(committer: Committer, changes: Sequence[Change], *rest: Any, **more: Any) -> Any:  # noqa: ANN401  (passed on)
        for change in changes:
            note = change.detail and change.detail.note
            if change.source == "loading" and note == "batch 1":
                until(lambda: stage.rows() == [(1, 2)], "the batch behind it has landed")
                waited.append(note)
        return committed(committer, changes, *rest, **more)

    monkeypatch.setattr(Calls, "holds", hold)
    monkeypatch.setattr(SqliteDestination, "put", write)
    monkeypatch.setattr(Committer, "commit", commit)

    assert stage.run() == "done"
    assert waited == ["batch 1"]
    assert stage.rows() == [(1, BATCHES - 1)]
