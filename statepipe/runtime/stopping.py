"""
Jobs elsewhere that nobody waits for any more: their `cancel` is called, beside the loop.

    Stopper.turn    stop one, if there is one
    Stopping        a thread that does so for as long as this process works

An instance may be cancelled, put back or have had its time while nobody drives it, or in the
middle of whatever else. So stopping its job is nothing that it waits for: the store says which
jobs are lost (`store.walk.jobs`), and whoever has the functions calls `cancel` once; once more
if it dies in the middle. What goes wrong is noted with the job, and not tried again.
"""

from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from statepipe.clock import Clock
from statepipe.errors import TaskTimeout
from statepipe.observe import redact
from statepipe.runtime.beside import Beside, Trouble, Turn
from statepipe.runtime.executors.process import ProcessExecutor
from statepipe.runtime.executors.thread import ThreadExecutor
from statepipe.runtime.failure import message_of
from statepipe.runtime.picture import Picture
from statepipe.runtime.program import Part, Program
from statepipe.runtime.tasks.attempts import perform
from statepipe.store.codec import decode
from statepipe.store.file.connection import Store
from statepipe.store.walk import claims, jobs
from statepipe.store.walk.jobs import Job
from statepipe.units import format_duration

#: How often lost jobs are looked for.
POLL_MS: Final = 1_000
_WAIT_S: Final = 0.1


def can_stop(program: Program) -> bool:
    """Return True if a state of the machine has a job that can be stopped."""
    return any(part.work == "job" and part.call["job"]["cancel"] for part in program.parts.values())


class Stopper:
    """
    Stops lost jobs, one at a time.

    Args:
        store: The open store; for the thread that calls `turn`.
        worker: Number of this process's row.
        programs: The machines it knows.
        is_over: Tells that no call is to be waited for any longer.
    """

    def __init__(
        self,
        store: Store,
        worker: int,
        programs: Mapping[str, Program],
        *,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._worker = worker
        self._programs = programs
        self._is_over = is_over
        self._pools: dict[str, ProcessExecutor | ThreadExecutor] = {}

    def turn(self) -> bool:
        """Stop one job; return False if none was lost."""
        programs = {each.definition: each for each in list(self._programs.values())}
        job = jobs.take_lost(self._store, self._worker, tuple(programs))
        if job is None:
            return False
        now = claims.find_checkpoint(self._store.connection, job.instance)
        if now is None:  # we slept: another process stopped it, and the instance is pruned
            return True
        part = programs[now.definition].parts.get(job.state)
        if part is None or part.work != "job" or part.call["job"]["cancel"] is None:
            note: str | None = "not stopped: its machine says no more how"
        else:
            picture = Picture.read(now.picture)
            call = _call(job, part, {"instance": now.id, "params": decode(now.params)}, picture)
            future = self._pool(part).submit(perform, call, _unasked)
            if not self._ended(future, part):
                return False  # to whoever comes next
            note = _note(future)
        jobs.stopped(self._store, job, note=note)
        return True

    def close(self) -> None:
        """End the executors."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _pool(self, part: Part) -> ProcessExecutor | ThreadExecutor:
        kind = "process" if part.policy.executor == "process" else "thread"
        if kind not in self._pools:
            self._pools[kind] = ProcessExecutor(1) if kind == "process" else ThreadExecutor(1)
        return self._pools[kind]

    def _ended(self, future: Future[dict[str, Any]], part: Part) -> bool:
        """Wait for a call, at most as long as its policy grants; False if nobody waits longer."""
        policy, clock = part.policy, self._store.clock
        due_ms = clock.boot_ms() + policy.timeout_ms
        while not wait([future], timeout=_WAIT_S).done:
            late = clock.boot_ms() >= due_ms
            if late or self._is_over():
                error = TaskTimeout(f"it took longer than {format_duration(policy.timeout_ms)}")
                grace_ms = policy.grace_ms if late else 0
                self._pool(part).kill(future, error, grace_ms=grace_ms)
                wait([future])
                return late
        return True


class Stopping:
    """
    Stops lost jobs while this process works.

    Args:
        path: The store's file.
        worker: Number of this process's row.
        programs: The machines it knows.
        clock: Time.
        trouble: Of the loop that it is beside.
    """

    def __init__(
        self,
        path: Path,
        worker: int,
        programs: Mapping[str, Program],
        *,
        clock: Clock,
        trouble: Trouble,
    ) -> None:
        self._worker = worker
        self._programs = programs
        self._beside = Beside(
            "stop",
            path,
            trouble=trouble,
            turning=self._turning,
            pause_ms=POLL_MS,
            clock=clock,
            finishes=True,
        )
        self._beside.start()

    def stop(self, *, patience_ms: int) -> None:
        """End, after stopping what is lost; whatever takes longer than `patience_ms` is left."""
        self._beside.end(patience_ms=patience_ms)

    @contextmanager
    def _turning(self, store: Store) -> Generator[Turn]:
        stopper = Stopper(store, self._worker, self._programs, is_over=lambda: self._beside.is_over)

        def turn(_is_last: bool) -> bool:  # noqa: FBT001  (as Turn says)
            with store.translating():
                return stopper.turn()

        with closing(stopper):
            yield turn


def _call(job: Job, part: Part, whose: Mapping[str, Any], picture: Picture) -> dict[str, Any]:
    return {
        **part.call,
        **whose,
        "does": "cancel",
        "function": part.call["job"]["cancel"],
        "handle": decode(job.handle),
        "attempt": 1,
        "generation": job.generation,
        "visit": job.visit,
        "cursor": None,
        "results": picture.results,
        "given": None,
        "mark": None,
        "replays": picture.replays,
        "next": job.number,
        "batch_size": part.policy.batch_size,
    }


def _unasked(request: Mapping[str, Any]) -> None:
    """Answer what a task asks on its way; of a call that stops a job there is only a beat."""
    assert request["ask"] == "beat", request


def _note(future: Future[dict[str, Any]]) -> str | None:
    """Return what went wrong, or None."""
    error = future.exception()
    if error is not None:
        return f"cancel failed: {type(error).__name__}: {message_of(error)}"
    failed = future.result().get("failed")
    return failed and f"cancel failed: {failed['names'][0]}: {redact.redacted(failed['message'])}"
