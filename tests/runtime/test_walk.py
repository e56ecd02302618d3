"""From how attempts end to where an instance goes: retries, limits, wishes, through the engine."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from statepipe.batch import Batch
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import Fatal, Throttled
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Change, Outcome, Task
from statepipe.runtime.driving.drive import Drive
from statepipe.store.file.opening import open_store
from statepipe.store.walk import asking
from statepipe.testing import ManualClock, violations
from tests.store import stores

Function = Callable[..., Any]


def to(target: str, event: str = "ok", **facts: Any) -> Transition:  # noqa: ANN401  (whatever is passed on)
    """Return a transition."""
    return Transition(event=event, target=target, **facts)


def state(name: str, function: Function, *on: Transition, **policy: Any) -> State:  # noqa: ANN401  (whatever is passed on)
    """Return a state that runs in the loop's own thread, unless its policy says otherwise."""
    settings = {"executor": policy.pop("executor", "inline")}
    settings |= {key: policy.pop(key) for key in ("timeout", "heartbeat", "grace") if key in policy}
    task = Run(function=function)
    return State(name=name, task=task, on=on, retry={"jitter": "none", **policy}, settings=settings)


def machine(*states: State, **facts: Any) -> Machine:  # noqa: ANN401  (whatever is passed on)
    """Return a machine of `states`."""
    done = State(name="done", final="success")
    return Machine(name="m", initial=states[0].name, states=(*states, done), **facts)


class Walk:
    """An engine whose clock jumps over every pause, and the journal of what it did."""

    def __init__(self, folder: Path, made: Machine, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.pauses_ms: list[int] = []
        self.seen: list[tuple[str, str, str]] = []
        self.after: Callable[[Change], object] = lambda _: None
        config = load_config(start=folder, environ={})
        self.path = config.store
        self.engine = Engine(config, machines=[made], observe=self._observe, clock=self.clock)

    def _observe(self, drive: Drive, change: Change) -> None:
        self.seen.append((change.source, change.event, change.state))
        detail = change.detail
        if detail is not None and detail.wake_delay_ms is not None:
            self.pauses_ms.append(detail.wake_delay_ms)
            self.clock.advance(detail.wake_delay_ms)
        self.after(change)
        assert drive.seq == change.seq + 1

    def run(self) -> str:
        """Drive one instance to where it rests; return its status."""
        self.engine.create("m", instance_id="i")
        return self.engine.run(["i"])["i"]

    def row(self) -> dict[str, Any]:
        """Return the instance's row."""
        return stores.row(self.engine._store, "i")


Start = Callable[..., Walk]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Open an engine; its store must be whole in the end."""
    walks: list[Walk] = []

    def started(*states: State, **facts: Any) -> Walk:  # noqa: ANN401  (whatever is passed on)
        walks.append(Walk(tmp_path, machine(*states, **facts)))
        return walks[-1]

    yield started
    for walk in walks:
        walk.engine.close()
        assert violations(walk.path) == []


def failing(*errors: BaseException | None) -> Function:
    """Return a task that raises these in turn, and succeeds where there is none."""
    left = list(errors)

    def task(task: Task) -> int:
        error = left.pop(0) if left else None
        if error is not None:
            raise error
        return task.attempt

    return task


def test_a_failed_attempt_is_tried_again_after_a_growing_pause(start: Start) -> None:
    """Each pause is the last one times the rate, until the longest."""
    errors = [ConnectionResetError("no")] * 4
    task = failing(*errors)
    walk = start(
        state(
            "a", task, to("done"), max_attempts=5, interval="2s", backoff_rate=3.0, max_delay="10s"
        )
    )

    assert walk.run() == "done"

    assert walk.pauses_ms == [2_000, 6_000, 10_000, 10_000]
    tried = walk.engine._store.connection.execute(
        "SELECT attempt, outcome, error_class FROM attempts ORDER BY attempt"
    ).fetchall()
    assert [number for number, *_ in tried] == [1, 2, 3, 4, 5]
    assert tried[-1] == (5, "ok", None)


def test_what_the_other_side_asks_for_wins_over_the_computed_pause(start: Start) -> None:
    """Above the longest delay, too."""
    task = failing(Throttled(retry_after=90.5), Throttled())
    walk = start(state("a", task, to("done"), interval="1s", max_delay="1m"))

    assert walk.run() == "done"
    assert walk.pauses_ms == [90_500, 2_000]


@pytest.mark.parametrize(
    ("error", "policy"),
    [
        (Fatal("no"), {"errors": ["*"], "max_attempts": 9}),
        (ValueError("no"), {"errors": ["ConnectionError"], "max_attempts": 9}),
        (ConnectionError("no"), {"max_attempts": 1}),
        (SystemExit(3), {"max_attempts": 9}),
    ],
)
def test_what_is_not_worth_a_retry_fails_at_once(
    start: Start, error: BaseException, policy: dict[str, Any]
) -> None:
    """`failed` says from where and why, and a resume tries again with a fresh budget."""
    walk = start(state("a", failing(error), to("done"), **policy))

    assert walk.run() == "failed"

    row = walk.row()
    assert (row["failed_state"], row["error_class"], walk.pauses_ms) == (
        "a",
        type(error).__name__,
        [],
    )
    assert walk.engine.resume(["i"]) == {"i": "done"}


def test_a_budget_that_is_used_up_fails_and_resume_gives_a_fresh_one(start: Start) -> None:
    """max_attempts counts all tries, the first included."""
    task = failing(*[Throttled()] * 5)
    walk = start(state("a", task, to("done"), max_attempts=3))

    assert walk.run() == "failed"
    assert len(walk.pauses_ms) == 2
    assert walk.engine.resume(["i"]) == {"i": "done"}
    assert len(walk.pauses_ms) == 4


def test_no_new_try_begins_after_max_elapsed(start: Start) -> None:
    """Counted from entering the state."""
    task = failing(*[Throttled()] * 50)
    walk = start(
        state(
            "a",
            task,
            to("done"),
            max_attempts=50,
            interval="4s",
            max_elapsed="10s",
            backoff_rate=1.0,
        )
    )

    assert walk.run() == "failed"
    assert walk.pauses_ms == [4_000, 4_000, 4_000]


def test_a_machine_that_takes_longer_than_its_deadline_times_out(start: Start) -> None:
    """However many attempts are left."""
    task = failing(*[Throttled()] * 50)
    walk = start(state("a", task, to("done"), max_attempts=50, interval="3s"), deadline_ms=5_000)

    assert walk.run() == "failed"

    assert walk.seen[-1] == ("a", "timeout", "failed")
    assert walk.row()["error_class"] == "DeadlineExceeded"


def _note(seen: list[Change], _: Drive, change: Change) -> None:
    seen.append(change)


def test_a_silent_task_is_ended_by_its_heartbeat_and_a_slow_one_by_its_timeout(
    tmp_path: Path,
) -> None:
    """By the event `timeout`, which a machine may give a target of its own."""

    def silent(task: Task) -> None:
        while not task.cancelled:
            task._is_cancelled()

    for name, limit in (("heartbeat", "100ms"), ("timeout", "150ms")):
        limits: dict[str, Any] = {
            "executor": "thread",
            name: limit,
            "errors": [],
            "max_attempts": 1,
        }
        made = machine(
            state("a", silent, to("done"), to("b", "timeout"), **limits),
            state("b", failing(), to("done")),
        )
        seen: list[Change] = []
        config = load_config(start=tmp_path / name, environ={})
        with Engine(config, machines=[made], observe=partial(_note, seen)) as engine:
            assert engine.run([engine.create("m") or ""]).popitem()[1] == "done"
        assert [change.event for change in seen] == ["timeout", "ok"]
        assert seen[0].detail is not None
        assert ("heartbeat" if name == "heartbeat" else "longer than") in (
            seen[0].detail.error or ""
        )


def test_an_error_may_lead_to_a_state_of_its_own_but_not_for_ever(start: Start) -> None:
    """The bounded loop: clean, and try again, twice; then it fails."""
    walk = start(
        state("a", failing(*[ValueError("dirty")] * 9), to("done"), to("b", "error", max_visits=2)),
        state("b", failing(), to("a")),
    )

    assert walk.run() == "failed"
    assert [event for source, event, _ in walk.seen if source == "a"] == ["error"] * 3
    assert walk.row()["failed_state"] == "a"


def test_a_guard_that_breaks_on_an_error_ends_its_instance_and_no_other(start: Start) -> None:
    """Both errors are told."""
    walk = start(
        state(
            "a", failing(ValueError("first")), to("done"), to("done", "error", when="result.n > 1")
        )
    )
    walk.engine.create("m", instance_id="other")

    assert walk.run() == "failed"

    row = walk.row()
    assert row["error_class"] == "GuardError"
    assert "ValueError: first" in row["error"]
    walk.clock.advance(1_000)  # until the next poll
    assert walk.engine.run(["other"]) == {"other": "done"}


def test_guards_choose_by_results_and_counts(start: Start) -> None:
    """The first that holds; a result is there for later states."""

    def judge(task: Task) -> Outcome:
        return Outcome("ok", {"bad": len(task.results)})

    walk = start(
        state("a", failing(), to("b")),
        state("b", judge, to("failed", when="result.bad > 3"), to("done", when="result.bad == 1")),
    )

    assert walk.run() == "done"


def test_results_that_grow_too_large_fail_the_state_that_adds_the_last(start: Start) -> None:
    """Each is small enough; together they are no checkpoint."""

    def large(task: Task) -> bytes:
        return bytes(600_000 + task.attempt)

    walk = start(state("a", large, to("b")), state("b", large, to("done")))

    assert walk.run() == "failed"
    assert (walk.row()["failed_state"], walk.row()["error_class"]) == ("b", "ValueRefused")


def test_an_instance_whose_drivers_keep_dying_is_given_up(tmp_path: Path) -> None:
    """It may be what kills them; a resume tries again."""
    walk = Walk(
        tmp_path, machine(state("a", failing(), to("done"), max_lost=2, errors=["Timeout"]))
    )
    walk.engine.create("m", instance_id="i")
    for born in (1, 2):
        gone = stores.dead(walk.engine._store, pid_started=born)
        assert len(stores.claimed(walk.engine._store, gone)) == 1

    assert walk.engine.run(["i"]) == {"i": "failed"}
    assert walk.row()["error_class"] == "WorkerLost"
    assert walk.engine.resume(["i"]) == {"i": "done"}
    walk.engine.close()
    assert violations(walk.path) == []


# ---- wishes at every boundary ---------------------------------------------------------


def pipeline(executor: str, made: list[str]) -> Machine:
    """Return a machine of 9 commits, which notes what its tasks make."""

    def source(task: Task) -> Iterator[Batch]:
        for number in range(task.cursor or 0, 3):
            made.append(f"source {number}")
            yield Batch([{"n": number}], cursor=number + 1)

    def double(task: Task, batch: Batch) -> Batch:
        made.append(f"{task.state} {batch.records[0]['n']}")
        return Batch([{"n": record["n"] * 2} for record in batch.records])

    def finish(task: Task) -> int:
        made.append(task.state)
        return 3

    return machine(
        state("a", source, to("b"), executor=executor),
        state("b", double, to("c"), executor=executor),
        state("c", finish, to("done"), executor=executor),
    )


@pytest.mark.parametrize("at", range(1, 10))
@pytest.mark.parametrize("wish", ["cancel", "pause", "stop"])
@pytest.mark.parametrize("executor", ["inline", "thread"])
def test_a_wish_at_any_boundary_is_honoured_and_nothing_is_done_twice(
    tmp_path: Path, executor: str, wish: Literal["cancel", "pause", "stop"], at: int
) -> None:
    """R20: whatever was committed stays, and a resume redoes at most the batch in the making."""
    made: list[str] = []
    walk = Walk(tmp_path, pipeline(executor, made))
    other = open_store(walk.path, create=True, clock=walk.clock)

    def wish_now(_: Change) -> None:
        if len(walk.seen) != at:
            return
        walk.clock.advance(1_000)
        if wish == "stop":
            walk.engine.stop("SIGTERM")
        elif walk.seen[-1][2] != "done":
            assert not asking.request(other, instance_id="i", wish=wish, reason=None)

    walk.after = wish_now
    rests = walk.run()
    walk.after = lambda _: None
    expected = {"cancel": "cancelled", "pause": "paused", "stop": "ready"}[wish]
    assert rests == ("done" if at == 9 else expected)
    walk.engine.close()
    other.close()

    again = Walk(tmp_path, pipeline(executor, made), ManualClock())
    if rests != "done":
        assert again.engine.resume(["i"]) == {"i": "done"}
    again.engine.close()
    assert violations(again.path) == []
    assert len(made) - len(set(made)) <= 1, made
    assert len(set(made)) == 7
