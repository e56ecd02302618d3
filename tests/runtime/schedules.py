"""
A loop whose calls are played, in an order drawn from a seed: what comes first, nobody knows.

    Schedule    a store, a loop, and instances whose input several calls share
    Call        one call under way; the schedule says when it takes its next step
"""

import hashlib
import random
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

from statepipe.batch import Batch
from statepipe.config import load_config
from statepipe.errors import Refused
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Status, Task
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.driving.inbox import Question
from statepipe.runtime.driving.loop import Loop
from statepipe.runtime.driving.observers import Observers
from statepipe.runtime.driving.pools import Pools
from statepipe.store.codec import encode
from statepipe.store.file.opening import open_store
from statepipe.store.stage.directory import Stage
from statepipe.store.steering import instances as steering
from statepipe.store.steering.instances import NewInstance
from statepipe.store.walk import asking, resuming, workers
from statepipe.store.walk.ready import Scope
from statepipe.store.walk.workers import Identity
from statepipe.testing import ManualClock
from tests.store import stores

#: Steps within which all must have ended, once there is no more trouble.
STEPS_MAX: Final = 3_000
_HOUR_MS: Final = 3_600_000


def read(task: Task) -> list[Batch]:
    """Stand for a source; it is never called."""
    raise NotImplementedError(task)


def mapped(task: Task, batch: Batch) -> Batch:
    """Stand for a task that maps batches."""
    raise NotImplementedError(task, batch)


class Call:
    """
    One call under way.

    Attributes:
        is_beside: Whether it is not the first one of its attempt.
        epoch: Under which it was begun.
        future: How it ended.
        killed: What it was killed with, if a process must still die of it.
    """

    def __init__(self, call: Mapping[str, Any], ask: Callable[..., Any], batches: int) -> None:
        self.is_beside = bool(call.get("beside"))
        self.epoch: int = call["epoch"]
        self.future: Future[Any] = Future()
        self.killed: BaseException | None = None
        self._call = call
        self._ask = ask
        self._batches = batches
        self._question: Any = None
        self._life = self._lived()

    @property
    def can_go_on(self) -> bool:
        """Whether it runs, and does not wait for an answer: not even a kill ends that."""
        waits = self._question is not None and not self._question.is_answered
        return not self.future.done() and not waits

    def step(self) -> Any:  # noqa: ANN401  (a question, or None)
        """Ask the next question, and return it, or end."""
        asked, self._question = self._question, None
        if self.killed is not None:
            self.future.set_exception(self.killed)
        elif asked is not None and asked._refusal is not None:
            self.fail("TaskCancelled")
        else:
            try:
                request = self._life.send(None if asked is None else asked._answer)
            except StopIteration:
                result = {"event": "ok", "value": None, "produced": True}
                self.future.set_result({**result, "records": self._batches, "rejected": 0})
            else:
                self._question = self._ask(request)
        return self._question

    def fail(self, name: str) -> None:
        """End by an error."""
        names = [name, "TaskError", "Exception"]
        failed = {"names": names, "message": "played", "traceback": "", "retry_after_ms": None}
        self.future.set_result({"failed": failed})

    def _lived(self) -> Generator[dict[str, Any], Any]:
        """Ask as `perform` does."""
        if self._call["state"] == "reading":
            for number in range(self._call["next"], self._batches):
                yield _batch(number)
            return
        leads = self._call["shares"] and not self.is_beside
        if leads:
            yield {"ask": "share"}
        while (given := (yield {"ask": "next"})) is not None:
            yield {"ask": "beat"}
            yield _batch(given["number"])
        if leads:
            assert (yield {"ask": "join"}) == [self._batches, 0]


class Schedule(Pools):
    """
    One loop, and what happens to it, drawn from a seed.

    Attributes:
        seed: What it is drawn from.
        calls: All there were.
        questions: All they asked.
        loop: What is tested.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.seed = seed
        self.rng = rng = random.Random(seed)
        super().__init__(threads=rng.choice([1, 2, 3, 8]))
        self.calls: list[Call] = []
        self.questions: list[Question] = []
        self._kills_at_once = rng.random() < 0.5  # as threads are, abandoned
        self._batches = {name: rng.choice([0, 1, 2, 5, 9]) for name in "ab"[: rng.choice([1, 2])]}
        self.clock = ManualClock()
        config = load_config(start=folder, environ={})
        self.store = open_store(config.store, create=True, clock=self.clock)
        self.cli = open_store(config.store, create=False, clock=self.clock)
        self._worker = workers.register(self.store, Identity.of_this_process(), lease_ms=_HOUR_MS)
        stage = Stage(folder / "stage")
        self.loop = Loop(
            store=self.store,
            worker=self._worker,
            pools=self,
            stage=stage,
            rng=rng,
            in_flight_max=8,
            observers=Observers(),
        )
        catalog = Catalog(config, [_machine(parallel=rng.choice([2, 3, 5]))])
        program = catalog.program("m", self.store, stage_dir=stage.directory)
        self.loop.learn(program)
        self.loop.limit_to(Scope())
        made = [NewInstance(name, encode({})) for name in self._batches]
        definition = program.definition
        steering.create(
            self.store, machine="m", definition=definition, initial="reading", instances=made
        )

    def play(self) -> None:
        """Let there be trouble for a while, and then let everything come to its end."""
        for _ in range(self.rng.choice([20, 60, 150])):
            self.step(trouble=True)
        self.go_on_until(lambda: self._have_ended() and not self.busy["thread"])

    def go_on_until(self, is_so: Callable[[], bool]) -> None:
        """Go on without trouble until something is so, which must come."""
        for _ in range(STEPS_MAX):
            if is_so():
                return
            self.step()
        raise AssertionError(f"{self.statuses()}, {self.busy}, seed {self.seed}")

    def step(self, *, trouble: bool = False) -> None:
        """Let one thing happen."""
        able = [call for call in self.calls if call.can_go_on]
        chance = self.rng.random()
        if able and chance < 0.45:
            question = self.rng.choice(able).step()
            self.questions += [] if question is None else [question]
        elif chance < 0.9:
            self.loop.tick()
        elif trouble:
            self._trouble([call for call in able if call.killed is None])
        else:
            self.clock.advance(self.rng.choice([10, 200, 1_000]))

    def statuses(self) -> dict[str, str]:
        """Return how all instances stand."""
        return dict(self.cli.connection.execute("SELECT id, status FROM instance"))

    def get(self, kind: str) -> Any:  # noqa: ANN401, ARG002  (as the real one)
        """Return the only pool there is."""
        return self

    def submit(self, fn: object, call: Mapping[str, Any], ask: Any) -> Future[Any]:  # noqa: ANN401, ARG002  (as the real one)
        """Begin a call, for which there must be room."""
        assert self.busy["thread"] <= self.slots["thread"]
        self.calls.append(Call(call, ask, self._batches[call["instance"]]))
        return self.calls[-1].future

    def kill(self, future: Future[Any], error: BaseException, *, grace_ms: int) -> None:  # noqa: ARG002  (as the real one)
        """End a call: now, or when it takes its next step."""
        (call,) = [each for each in self.calls if each.future is future]
        call.killed = call.killed or error
        if self._kills_at_once and not future.done():
            future.set_exception(call.killed)

    def close(self) -> None:
        """Leave nothing open."""
        self.store.close()
        self.cli.close()

    def _trouble(self, able: list[Call]) -> None:
        kind = self.rng.choice(["fail", "fail", "late", "late", "pause", "cancel", "steal"])
        name = self.rng.choice(list(self._batches))
        if kind == "fail" and able:
            self.rng.choice(able).fail(self.rng.choice(["Throttled", "TaskCancelled", "Throttled"]))
        elif kind == "late":
            self.clock.advance(self.rng.choice([100, 20_000, 2 * _HOUR_MS, 5 * _HOUR_MS]))
        elif kind == "pause" or (kind == "cancel" and self.rng.random() < 0.3):
            try:
                wish: Any = kind
                asking.request(self.cli, instance_id=name, wish=wish, reason=None)
            except Refused:
                pass
        elif kind == "steal":
            self._steal(name)

    def steal_all(self) -> None:
        """Let all instances be taken over, by a process that died at once."""
        for name in self._batches:
            self._steal(name)

    def _steal(self, name: str) -> None:
        """Let a process that died at once have taken an instance over from this one."""
        sql = "SELECT state FROM instance WHERE id = ? AND status = 'ready' AND worker IS NOT NULL"
        row = self.cli.connection.execute(sql, (name,)).fetchone()
        if row is not None:
            stores.stolen(self.cli, name, state=row[0], by=stores.dead(self.cli))

    def _have_ended(self) -> bool:
        """Take what is paused or failed up again; return whether nothing is left to do."""
        statuses = self.statuses()
        for name, status in statuses.items():
            if status in (Status.PAUSED, Status.FAILED):
                at = resuming.claim_resume(
                    self.store, self._worker, instance_id=name, reason=None, definition=None
                )
                assert at is not None
                self.loop.adopt(at)
        return {Status.DONE, Status.CANCELLED}.issuperset(statuses.values())


def _machine(*, parallel: int) -> Machine:
    settings = {"executor": "thread", "parallel": parallel, "timeout": "5h", "heartbeat": "2h"}
    errors = ["Throttled", "TaskTimeout"]
    retry = {"errors": errors, "max_attempts": 500, "interval": "1s", "jitter": "none"}

    def acting(name: str, function: Callable[..., Any], to: str) -> State:
        on = (Transition(event="ok", target=to),)
        return State(name=name, task=Run(function=function), on=on, retry=retry, settings=settings)

    states = (
        acting("reading", read, "mapping"),
        acting("mapping", mapped, "again"),
        acting("again", mapped, "done"),
        State(name="done", final="success"),
    )
    return Machine(name="m", initial="reading", states=states)


def _batch(number: int) -> dict[str, Any]:
    body = str(number).encode()
    staged = {
        "number": number,
        "records": 1,
        "bytes": len(body),
        "sha256": hashlib.sha256(body).digest(),
        "format": "msgpack",
        "file": None,
        "body": body,
        "cursor": encode(number + 1),
        "read": 1,
        "rejects": None,
        "seen": None,
    }
    return {"ask": "batch", "staged": staged}
