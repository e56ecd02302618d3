"""Instances whose machine's deadline has passed: refused, and whole once it is raised."""

from dataclasses import replace
from pathlib import Path

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import NotFound, Refused, Throttled
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.parameter import Param
from statepipe.machine.partition import Partition
from statepipe.machine.states.taskgraph import Child
from statepipe.machine.states.tasks import Run
from statepipe.model import Task
from statepipe.runtime.reasons.standing import reasons
from statepipe.runtime.reasons.story import told
from statepipe.runtime.steering.lateness import deadline_of, refuse_late
from statepipe.store.care.prune import Which, prune
from statepipe.store.questions.evidence import evidence
from statepipe.store.reading import Reader
from statepipe.testing import ManualClock, violations

HOUR_MS = 3_600_000

broken: set[str] = set()


def work(task: Task) -> None:
    """Fail if it is to."""
    if task.instance in broken or broken == {"all"}:
        raise Throttled(retry_after=1)


def machine(*, partition: Partition | None = None, max_attempts: int = 1) -> Machine:
    """Return a machine with a deadline, and with something to run when it is cancelled."""
    first = State(
        name="a",
        task=Run(function=work),
        on=(Transition(event="ok", target="done"),),
        retry={"max_attempts": max_attempts},
        settings={"executor": "inline"},
    )
    cleans = State(name="cancelling", task=Run(function=work), settings={"executor": "inline"})
    return Machine(
        name="m",
        initial="a",
        states=(first, State(name="done", final="success")),
        params=(Param(name="day", type="date", default="today"),),
        on_cancel=cleans,
        partition=partition,
    )


class Late:
    """A store under an owned clock, and engines of a machine with one deadline or another."""

    def __init__(self, folder: Path, made: Machine) -> None:
        broken.clear()
        self.clock = ManualClock()
        self.config = load_config(start=folder, environ={})
        self.machine = made

    def engine(self, deadline_ms: int | None = HOUR_MS) -> Engine:
        """Return an engine that reads this deadline in the machine's file."""
        made = replace(self.machine, deadline_ms=deadline_ms)
        return Engine(self.config, machines=[made], clock=self.clock)

    def journal(self) -> list[tuple[object, ...]]:
        """Return what is journaled."""
        with self.engine() as engine:
            sql = "SELECT kind, event, attempt, error_class FROM journal ORDER BY instance, seq"
            return list(engine._store.connection.execute(sql))


def test_one_that_failed_is_resumed_once_its_deadline_is_raised(tmp_path: Path) -> None:
    """Until then nothing is changed; a deadline is no part of what it began with."""
    late = Late(tmp_path, machine())
    broken.add("i")
    with late.engine() as engine:
        engine.create("m", instance_id="i")
        assert engine.run(["i"]) == {"i": "failed"}
    broken.clear()
    late.clock.advance(HOUR_MS)
    before = late.journal()
    with late.engine() as engine, pytest.raises(Refused, match="the time of 'i' is over") as caught:
        engine.resume(["i"])
    assert late.journal() == before
    assert "raise `deadline` of m" in caught.value.next_step

    with late.engine(HOUR_MS + 1) as engine:
        assert engine.resume(["i"]) == {"i": "done"}
    with late.engine() as engine, pytest.raises(Refused, match="'i' is done"):
        engine.resume(["i"])
    assert violations(late.config.store) == []


def test_a_paused_one_is_not_taken_back_by_an_unpause(tmp_path: Path) -> None:
    """A machine whose file is gone says nothing of a deadline; one that is not paused is told."""
    late = Late(tmp_path, machine())
    with late.engine() as engine:
        engine.create("m", instance_id="i")
        engine.pause("i")
    late.clock.advance(HOUR_MS)
    with late.engine() as engine, pytest.raises(Refused, match="the time of 'i' is over"):
        engine.unpause("i")
    with late.engine() as engine:
        assert deadline_of(engine.catalog.machine, "nobody") is None
    with late.engine(None) as engine:
        engine.unpause("i")
        with pytest.raises(Refused, match="is ready, not paused"):
            engine.unpause("i")
    assert violations(late.config.store) == []


@pytest.mark.parametrize("params", [None, {"day": "2013-02-08"}])
def test_one_that_is_pruned_while_it_is_looked_at_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: dict[str, str] | None
) -> None:
    """In the moment between where it stands and what else is asked of it, with or without --set."""
    late = Late(tmp_path, machine())
    broken.add("i")
    with late.engine() as engine:
        engine.create("m", instance_id="i")
        assert engine.run(["i"]) == {"i": "failed"}

    with late.engine() as engine:
        found = engine._find("i")
        which = Which(before_ms=late.clock.now_ms(), statuses=("failed",))
        assert sum(prune(engine._store, engine._stage, which)) == 1
        monkeypatch.setattr(engine, "_find", lambda _: found)  # as it stood a moment ago
        with pytest.raises(NotFound, match="there is no instance 'i' in this store"):
            engine.resume(["i"], params=params)
        with pytest.raises(NotFound, match="there is no instance 'i' in this store"):
            refuse_late(engine._store, found, deadline_ms=HOUR_MS)
    assert violations(late.config.store) == []


def test_a_parent_is_resumed_once_its_child_has_time(tmp_path: Path) -> None:
    """It would fail by its child at once; a rewind begins another child, whose time is its own."""
    late = Late(tmp_path, machine())
    on = (Transition(event="ok", target="done"),)
    work = State(name="work", task=Child(machine="m"), on=on)
    end = State(name="done", final="success")
    parent = Machine(name="p", initial="work", states=(work, end))

    def engine(deadline_ms: int | None = HOUR_MS) -> Engine:
        machines = [replace(late.machine, deadline_ms=deadline_ms), parent]
        return Engine(late.config, machines=machines, clock=late.clock)

    broken.add("all")
    with engine() as first:
        for each in ("i", "j"):
            first.create("p", instance_id=each)
            assert first.run([each]) == {each: "failed"}
    broken.clear()
    late.clock.advance(HOUR_MS)
    before = late.journal()
    with engine() as second, pytest.raises(Refused, match="the time of 'i/work' is over") as caught:
        second.resume(["i"])
    assert late.journal() == before
    assert "raise `deadline` of m" in caught.value.next_step
    assert "statepipe rewind i --to work" in caught.value.next_step

    with engine(HOUR_MS + 1) as third:
        assert third.resume(["i"]) == {"i": "done"}
    with engine() as fourth:
        fourth.rewind("j", to="work")
        assert fourth.run(["j"]) == {"j": "done"}
    assert violations(late.config.store) == []


def test_partitions_of_a_group_are_resumed_together_or_not_at_all(tmp_path: Path) -> None:
    """As long as one of them has had its time, none is taken back."""
    late = Late(tmp_path, machine(partition=Partition(by="date", step="day")))
    broken.add("all")
    with late.engine() as engine:
        group = str(engine.groups.create("m", ["2013-02-08..2013-02-09"]))
        engine.groups.run(group)
    broken.clear()
    late.clock.advance(HOUR_MS)
    before = late.journal()
    with late.engine() as engine, pytest.raises(Refused, match="is over"):
        engine.groups.resume(group)
    assert late.journal() == before

    with late.engine(None) as engine:
        assert engine.groups.resume(group) == (2, "done")
    assert violations(late.config.store) == []


def test_what_is_being_cancelled_is_resumed_to_its_end(tmp_path: Path) -> None:
    """What it has left outside is cleaned, however late."""
    late = Late(tmp_path, machine())
    with late.engine() as engine:
        engine.create("m", instance_id="i")
        engine.cancel("i")
    late.clock.advance(HOUR_MS)
    with late.engine() as engine:
        assert engine.resume(["i"]) == {"i": "cancelled"}
    assert violations(late.config.store) == []


@pytest.mark.parametrize("tries", [0, 1])
def test_an_attempt_that_never_began_did_not_fail(tmp_path: Path, tries: int) -> None:
    """The journal names the deadline, and `why` no attempt that it would have ended."""
    late = Late(tmp_path, machine(max_attempts=3))
    with late.engine() as engine:
        n = engine.create("m", instance_id="i")
        if tries:
            broken.add("i")
            engine._take_back("i", reason=None)
            loop = engine._driver.loop()
            while loop.drives:
                loop.tick()
        late.clock.advance(HOUR_MS)
        assert engine.run([str(n)]) == {"i": "failed"}
    with Reader(late.config.store, clock=late.clock) as reader:
        known = evidence(reader, "i")
    said = reasons(known, now_ms=late.clock.now_ms())

    attempt = 2 if tries else None
    assert late.journal()[-1] == ("move", "timeout", attempt, "DeadlineExceeded")
    assert said[0].text.startswith("a failed: DeadlineExceeded: the instance took longer")
    assert told(known.journal.rows[-1]).startswith("timeout of a led to failed: the instance took")
    assert violations(late.config.store) == []
