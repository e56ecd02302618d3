"""
Processes that live in one thread: each with the real store, worker and loop, and a played task.

    Scene       what all processes of a schedule share
    Process     one worker; it can be turned, stopped, and thrown away in the middle of a commit
    Play        one attempt under way: the test says what the task does next
"""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from typing import Any

from statepipe.config import load_config
from statepipe.errors import StoreInDoubt, TaskTimeout
from statepipe.machine.definition import Machine
from statepipe.model import Change
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.loop import Loop
from statepipe.runtime.driving.observers import Observers
from statepipe.runtime.driving.pools import Pools
from statepipe.runtime.program import Program
from statepipe.runtime.triggers.watch import Watch, registered
from statepipe.store import liveness
from statepipe.store.codec import encode
from statepipe.store.file.connection import Store
from statepipe.store.file.opening import open_store
from statepipe.store.stage.directory import Stage
from statepipe.store.walk import workers
from statepipe.store.walk.ready import Scope
from statepipe.store.walk.workers import Identity
from statepipe.testing import ManualClock
from tests.spec.playing import Died, dying

#: How many attempts may extract at once, in all processes.
AT_ONCE_MAX = 2
LEASE_MS = 30_000


class Play:
    """One attempt under way."""

    def __init__(self, call: Mapping[str, Any], ask: Callable[[dict[str, Any]], Any]) -> None:
        self.call = call
        self.future: Future[Any] = Future()
        self.next: int = call["next"]
        self.question: Any = None  # of the batch that is not answered yet
        self._ask = ask

    @property
    def can_go_on(self) -> bool:
        """Whether the task is running, and not waiting for a commit."""
        return not self.future.done() and (self.question is None or self.question.is_answered)

    def batch(self) -> None:
        """Stage the next batch, and wait for its commit; a refusal ends the attempt."""
        body = str(self.next).encode()
        staged = {
            "number": self.next,
            "records": 1,
            "bytes": len(body),
            "sha256": hashlib.sha256(body).digest(),
            "format": "msgpack",
            "file": None,
            "body": body,
            "cursor": encode(self.next + 1),
            "read": 1,
            "rejects": None,
            "seen": None,
        }
        self.question = self._ask({"ask": "batch", "staged": staged})
        self.next += 1

    def finish(self, outcome: str) -> None:
        """End the attempt."""
        produced = self.call["state"] == "extracting"
        result: dict[str, Any] = {
            "event": outcome,
            "value": None if produced else encode({"by": self.call["attempt"]}),
            "produced": produced,
            "records": self.next,
            "rejected": 0,
        }
        if outcome in ("throttled", "fatal"):
            names = [outcome.capitalize(), "TaskError", "Exception"]
            result = {
                "failed": {
                    "names": names,
                    "message": "played",
                    "traceback": "",
                    "retry_after_ms": None,
                }
            }
        self.future.set_result(result)


class Played(Pools):
    """The pools, but what runs there is played."""

    def __init__(self, process: "Process") -> None:
        super().__init__()
        self._process = process

    def get(self, kind: str) -> Any:  # noqa: ANN401, ARG002  (as the real one)
        """Return the only one there is."""
        return self

    def submit(self, fn: object, call: Mapping[str, Any], ask: Any) -> Future[Any]:  # noqa: ANN401, ARG002  (as the real one)
        """Begin an attempt."""
        play = Play(call, ask)
        self._process.plays.append(play)
        return play.future

    def kill(self, future: Future[Any], error: BaseException, *, grace_ms: int) -> None:  # noqa: ARG002  (as the real one)
        """End an attempt from outside."""
        if not future.done():
            if isinstance(error, TaskTimeout):
                self._process.timed_out.append(future)
            future.set_exception(error)


class Scene:
    """What is the same for all processes of a schedule, and takes longer to make than they do."""

    def __init__(self, folder: Path, machines: Sequence[Machine]) -> None:
        limits = f"[resources.crm]\nslots = {AT_ONCE_MAX}\n"
        (folder / "statepipe.toml").write_text(limits, encoding="utf-8")
        self.config = load_config(start=folder, environ={})
        self.stage = Stage(folder / "stage")
        self.catalog = Catalog(self.config, machines)
        self._machines = machines
        self._programs: list[Program] = []

    def programs(self, store: Store) -> list[Program]:
        """Return the programs of the machines and of their tasks, written down in the store."""
        if not self._programs:
            names, stage_dir = [each.name for each in self._machines], self.stage.directory
            for name in names:
                self._programs.append(self.catalog.program(name, store, stage_dir=stage_dir))
                names += self._programs[-1].children
        return self._programs


class Process:
    """
    One worker.

    Attributes:
        pid: Its made-up process number.
        plays: Its attempts, ended ones included.
        told: What it was told is committed: instance number, seq, event.
        ending: True once it was asked to stop.
    """

    def __init__(self, scene: Scene, clock: ManualClock, *, pid: int) -> None:
        self.pid = pid
        self.plays: list[Play] = []
        self.timed_out: list[Future[Any]] = []
        self.told: list[tuple[int, int, str, str]] = []
        self.ending = False
        self._beside: Store | None = None
        self.clock = clock
        self.store = open_store(scene.config.store, create=True, clock=clock)
        identity = Identity(host="here", pid=pid, pid_started=pid, pid_space=liveness.pid_space())
        self.worker = workers.register(self.store, identity, lease_ms=LEASE_MS)
        self.loop = Loop(
            store=self.store,
            worker=self.worker,
            pools=Played(self),
            stage=scene.stage,
            rng=random.Random(0),
            in_flight_max=64,
            observers=Observers(observe=self._observe),
        )
        self._programs = scene.programs(self.store)
        for program in self._programs:
            self.loop.learn(program)
        self.loop.limit_to(Scope())

    @cached_property
    def watch(self) -> Watch:
        """What it looks at triggers with, by a connection of its own, as beside a loop."""
        self._beside = open_store(self.store.path, create=False, clock=self.clock)
        watched = registered(self._beside, self._programs)
        draws = random.Random(self.pid)
        return Watch(self._beside, watched, observers=Observers(), rng=draws)

    def _observe(self, drive: Drive, change: Change) -> None:
        self.told.append((change.n, change.seq + 1, change.event, change.state))
        assert drive.seq == change.seq + 1, "told after the drive knows"

    def tick_and_die(self, *, nth: int, how: str) -> bool:
        """Turn the wheel, and end at the `nth` commit of the turn; False if it made fewer."""
        return _died(self.loop.tick, self.store, nth=nth, how=how)

    def look_and_die(self, *, nth: int, how: str) -> bool:
        """Look at triggers, and end at the `nth` commit of the look; False if it made fewer."""
        watch = self.watch
        assert self._beside is not None, "it came with the watch"
        return _died(watch.turn, self._beside, nth=nth, how=how)

    def stop(self) -> None:
        """Ask it to let everything go and end, as SIGTERM does."""
        self.ending = True
        self.loop.stop("SIGTERM")

    def vanish(self) -> None:
        """Leave nothing but what is on the disk."""
        for store in filter(None, (self.store, self._beside)):
            store.connection.close()
            if store._guard is not None:
                store._guard.close()


def _died(turn: Callable[[], None], store: Store, *, nth: int, how: str) -> bool:
    dying(store, nth=nth, how=how)
    try:
        turn()
    except (Died, StoreInDoubt):
        return True
    return False
