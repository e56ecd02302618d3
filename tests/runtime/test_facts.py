"""Everything that is journaled is told, once, after its commit, as the journal has it."""

import json
import logging
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path

import jsonschema_rs
import pytest

from statepipe.batch import Batch
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Change, Task
from statepipe.observe.lines import JsonFormatter, log_fact, schema
from statepipe.runtime.driving.drive import Drive
from statepipe.said import Fact
from statepipe.store.reading import Reader
from statepipe.testing import ManualClock, violations
from tests.store import stores

BROKEN: set[str] = set()

#: What a fact and a row of the journal have in common.
FIELDS = attrgetter(
    "kind", "event", "at_ms", "source", "target", "seq", "epoch", "generation", "attempt",
    "took_ms", "records", "bytes", "rejected", "error_class", "error", "note",
)  # fmt: skip


def extract(task: Task) -> Iterator[Batch]:
    """Yield two batches; reject a record of the second."""
    for number in range(task.cursor or 0, 2):
        if number:
            task.reject({"n": -1}, "negative")
        yield Batch([{"n": number}], cursor=number + 1)


def transform(task: Task, batch: Batch) -> Batch:
    """Fail as long as the instance is broken."""
    if task.instance in BROKEN:
        raise ConnectionError("hung up")
    return batch


def machine() -> Machine:
    """Return a machine of two states, whose second one is tried twice."""

    def state(name: str, function: Callable[..., object], target: str) -> State:
        return State(
            name=name,
            task=Run(function=function),
            on=(Transition(event="ok", target=target),),
            retry={"max_attempts": 2, "interval": "1ms", "jitter": "none"},
            settings={"executor": "inline"},
        )

    return Machine(
        name="m",
        initial="extracting",
        states=(
            state("extracting", extract, "transforming"),
            state("transforming", transform, "done"),
            State(name="done", final="success"),
        ),
    )


class Told:
    """Engines on one store, and what they told: as facts, and as log lines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "checkpoints" / "statepipe.db"
        self.facts: list[Fact] = []
        self.stop_after: int | None = None
        self.pause_after: int | None = None

    def engine(self) -> Engine:
        """Open one."""
        clock = ManualClock()

        def observe(_drive: Drive, change: Change) -> None:
            if change.detail is not None and change.detail.wake_delay_ms is not None:
                clock.advance(change.detail.wake_delay_ms)
            if change.seq == self.stop_after:
                engine.stop("enough")
            if change.seq == self.pause_after:
                clock.advance(1_000)  # so that the wish is looked for at once
                engine.pause("i", reason="the source is down")

        def told(fact: Fact) -> None:
            self.facts.append(fact)
            log_fact(fact)

        engine = Engine(
            load_config(start=self.folder, environ={}),
            machines=[machine()],
            observe=observe,
            log=told,
            clock=clock,
        )
        return engine

    def check(self) -> list[tuple[str, str]]:
        """Compare with the journal; return kinds and events of what instance "i" was told."""
        assert violations(self.path) == []
        with Reader(self.path) as reader:
            journal = [FIELDS(entry) for entry in reader.history("i")]
            status = reader.status("i")
        told = [FIELDS(fact) for fact in self.facts if fact.kind != "fenced"]
        assert told == journal
        assert {(each.machine, each.instance) for each in self.facts} == {("m", "i")}
        assert self.facts[-1].status == status
        return [(kind, event) for kind, event, *_ in journal]


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    """Every line that is logged meanwhile conforms to the schema."""
    validator = jsonschema_rs.validator_for(schema())
    logger, handler, formatter = logging.getLogger("statepipe"), logging.Handler(), JsonFormatter()
    lines: list[str] = []

    def emit(record: logging.LogRecord) -> None:
        lines.append(formatter.format(record))

    handler.emit = emit  # type: ignore[method-assign]  # a test owns it
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    BROKEN.clear()
    told = Told(tmp_path)
    yield told
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
    BROKEN.clear()
    assert len(lines) == len(told.facts) > 0
    for line in lines:
        validator.validate(json.loads(line))


def test_a_run_is_told_from_its_creation_to_its_end(told: Told) -> None:
    """Batches with their records and bytes, moves with what they took."""
    with told.engine() as engine:
        engine.create("m", instance_id="i", reason="it is Monday")
        engine.run(["i"])

    assert told.check() == [
        ("create", "create"),
        ("claim", "claim"),
        ("batch", "staged"),
        ("batch", "staged"),
        ("move", "ok"),
        ("batch", "staged"),
        ("batch", "staged"),
        ("move", "ok"),
    ]
    assert told.facts[0].note == "it is Monday"
    assert [fact.rejected for fact in told.facts if fact.kind == "batch"] == [0, 1, 0, 0]


def test_a_failure_is_told_with_its_traceback_and_going_on_with_its_reason(told: Told) -> None:
    """Retry, failure, resume, rewind: each with what a person needs to know."""
    BROKEN.add("i")
    with told.engine() as engine:
        engine.create("m", instance_id="i")
        engine.run(["i"])
        BROKEN.clear()
        engine.resume(["i"], reason="mended")

    assert told.check()[5:] == [
        ("retry", "error"),
        ("claim", "claim"),
        ("move", "error"),
        ("resume", "resume"),
        ("batch", "staged"),
        ("batch", "staged"),
        ("move", "ok"),
    ]
    retry, _, failed, resumed = told.facts[5:9]
    for fact in (retry, failed):
        assert fact.traceback is not None
        assert fact.traceback.endswith("ConnectionError: hung up\n")
    assert retry.wake_at_ms == retry.at_ms + 1
    assert (failed.status, failed.source, failed.target) == ("failed", "transforming", "failed")
    assert resumed.note == "mended"


def test_what_people_ask_is_told_by_whoever_asked_and_honoured_by_the_driver(told: Told) -> None:
    """A pause of a driven instance is a wish first; a cancel at rest is done at once."""
    told.pause_after = 3
    with told.engine() as engine:
        engine.create("m", instance_id="i")
        engine.run(["i"])
        assert engine.cancel("i", reason="no longer needed")
        engine.rewind("i", to="extracting", reason="needed after all")

    assert told.check()[3:] == [
        ("batch", "staged"),
        ("request", "pause"),
        ("move", "ok"),
        ("pause", "pause"),
        ("cancel", "cancel"),
        ("rewind", "rewind"),
    ]
    assert [fact.note for fact in told.facts[-5:]] == [
        "the source is down",
        None,
        None,
        "no longer needed",
        "needed after all",
    ]
    assert [fact.status for fact in told.facts[-3:]] == ["paused", "cancelled", "ready"]


def test_a_stop_and_a_takeover_are_told(told: Told) -> None:
    """The next process says from whom it takes the instance, and that is a warning."""
    told.stop_after = 2
    with told.engine() as engine:
        engine.create("m", instance_id="i")
        engine.run(["i"])
    store = stores.opened(told.path.parent)
    ghost = stores.dead(store)
    with store.write() as connection:
        connection.execute(
            "UPDATE instance SET seq = seq + 1, epoch = epoch + 1, worker = ?, change = 'claim'",
            (ghost.n,),
        )
        connection.execute(
            "INSERT INTO journal (instance, seq, epoch, generation, at_ms, kind, event, source,"
            " target) SELECT n, seq, epoch, generation, 1, 'claim', 'claim', state, state"
            " FROM instance"
        )
    with Reader(told.path) as reader:
        claim = reader.history("i")[-1]
    stores.close_all()
    told.stop_after = None
    before = len(told.facts)
    with told.engine() as engine:
        engine.run(["i"])

    took = told.facts[before]
    assert told.facts[before - 1].kind == "interrupt"
    assert (took.kind, took.event, took.epoch) == ("claim", "takeover", claim.epoch + 1)
    assert took.note is not None
    assert f"from {ghost.name}" in took.note
