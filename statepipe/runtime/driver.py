"""
What a process drives instances with: its worker row, its executors, its loop; made when needed.

    Driver.loop         the loop, ready for every program known
    Driver.drive        until what is in a scope rests
    Driver.turn         until a condition holds
    Driver.let_all_go   give back everything that is driven
    Driver.stop, Driver.close
"""

import random
from collections.abc import Callable, Mapping

from statepipe.config import Config
from statepipe.runtime.attendants import Attendants
from statepipe.runtime.beside import Trouble
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.driving.agenda import POLL_MS
from statepipe.runtime.driving.loop import Loop
from statepipe.runtime.driving.observers import Observers
from statepipe.runtime.driving.pools import Pools
from statepipe.runtime.program import Program
from statepipe.store.file.connection import Store
from statepipe.store.liveness import Worker
from statepipe.store.stage.directory import Stage
from statepipe.store.walk import workers
from statepipe.store.walk.ready import Scope
from statepipe.store.walk.workers import Identity, Serves


class Driver:
    """
    The driving part of an engine; nothing is registered or started before it is needed.

    Args:
        config: Store, machines and policies.
        catalog: The machines known.
        programs: Those that are ready to be driven; what is added later is learned as well.
        pools: Where tasks run.
        in_flight_max: How many instances are driven at a time.
        observers: Who is told of what was committed.
        rng: For jitter.
        store: The store and its stage, opened when first asked for.

    Attributes:
        worker: This process's row, None until something is driven.
    """

    def __init__(
        self,
        config: Config,
        *,
        catalog: Catalog,
        programs: Mapping[str, Program],
        pools: Pools,
        in_flight_max: int,
        observers: Observers,
        rng: random.Random,
        store: Callable[[], tuple[Store, Stage]],
    ) -> None:
        self.worker: Worker | None = None
        self._config = config
        self._catalog = catalog
        self._programs = programs
        self._pools = pools
        self._in_flight_max = in_flight_max
        self._observers = observers
        self._rng = rng
        self._store_of = store
        self._loop: Loop | None = None
        self._attendants: Attendants | None = None
        self._trouble: Trouble | None = None
        self._stop_reason: str | None = None

    def loop(self, *, serves: Serves | None = None) -> Loop:
        """Return the loop; the first time, register this process as a worker, of what it serves."""
        if self._loop is None:
            store, stage = self._store_of()
            self.worker = workers.register(
                store, Identity.of_this_process(), slots=self._in_flight_max, serves=serves
            )
            self._trouble = Trouble(store, self.stop)
            self._attendants = Attendants(
                store,
                self.worker,
                config=self._config,
                catalog=self._catalog,
                trouble=self._trouble,
            )
            self._loop = Loop(
                store=store,
                worker=self.worker,
                pools=self._pools,
                stage=stage,
                rng=self._rng,
                in_flight_max=self._in_flight_max,
                observers=self._observers,
                staged_bytes_max=self._config.staged_bytes_max,
            )
            if self._stop_reason is not None:
                self._loop.stop(self._stop_reason)
        for program in self._programs.values():
            self._loop.learn(program)
        assert self._attendants is not None, "it came with the loop"
        self._attendants.learn(self._programs)
        return self._loop

    def drive(self, scope: Scope, rests: Callable[[], bool]) -> None:
        """Drive what is in `scope` until it `rests` and nothing is driven any more."""
        loop = self.loop()
        # One that another process resumes with a changed machine meanwhile is left to it.
        known = frozenset(each.definition for each in self._programs.values())
        loop.limit_to(scope._replace(definitions=known))
        self.turn(lambda: not loop.drives and rests())

    def let_all_go(self, reason: str) -> None:
        """Give back everything that is driven, resumable; `reason` is for the journal."""
        (loop := self.loop()).limit_to(Scope(instances=frozenset()))
        loop.let_all_go(reason)
        self.turn(lambda: not loop.drives)

    def turn(
        self, is_over: Callable[[], bool], *, turned: Callable[[], None] | None = None
    ) -> None:
        """
        Turn the wheel until `is_over`, or until everything was let go after a `stop`.

        `turned` is called with each turn, also while everything is let go. What a thread beside
        the loop has met, and ends the process, is raised.
        """
        loop = self.loop()
        store, _ = self._store_of()
        with store.translating():
            while not is_over() and (self._stop_reason is None or loop.drives):
                if self.trouble.is_doubt:
                    break  # what is driven is not even let go: that would be a commit
                loop.tick(wait_ms=POLL_MS)
                if turned is not None:
                    turned()
            else:
                loop.settle()
        self.trouble.tell()

    @property
    def trouble(self) -> Trouble:
        """What the threads beside the loop have met; the loop must have been made."""
        assert self._trouble is not None, "it came with the loop"
        return self._trouble

    @property
    def is_stopped(self) -> bool:
        """True after `stop`."""
        return self._stop_reason is not None

    def stop(self, reason: str) -> None:
        """Make `turn` return soon, everything resumable; safe in a signal."""
        self._stop_reason = reason
        if self._loop is not None:
            self._loop.stop(reason)

    def close(self) -> None:
        """End the executors, tell people what is due; the lease is given up by `workers.stop`."""
        if self._loop is not None:
            self._loop.abandon()
        self._pools.shutdown()
        if self._attendants is not None:
            self._attendants.stop()
