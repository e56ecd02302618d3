"""
The engine: what the command line and Python programs drive instances with.

    Engine.create     instances, at rest in their machine's initial state
    Engine.run        drive some instances until they rest
    Engine.resume     take unfinished instances back to work, and drive them
    Engine.retry      the same for one task of one
    Engine.work       drive whatever is ready, until told to stop
    Engine.cancel, Engine.kill, Engine.pause, Engine.unpause, Engine.rewind
    Engine.signal, Engine.emit, Engine.replay
    Engine.copies     instances made of another one: restart, fork
    Engine.groups     the same for partitions that belong together
    Engine.triggers   what starts instances by itself: pause, backfill
"""

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from functools import cached_property, partial
from typing import Any, Self

from statepipe.clock import Clock, SystemClock
from statepipe.config import Config
from statepipe.machine.definition import Machine
from statepipe.model import Status
from statepipe.observe import redact
from statepipe.runtime.catalog import Catalog, new_id
from statepipe.runtime.driver import Driver
from statepipe.runtime.driving.observers import Log, Observer, Observers
from statepipe.runtime.driving.pools import Pools
from statepipe.runtime.program import Program, with_children
from statepipe.runtime.sharing import scope_of
from statepipe.runtime.steering.adopting import adoptions, refuse_changed
from statepipe.runtime.steering.again import Adopt, Again, listed
from statepipe.runtime.steering.asking import Asker
from statepipe.runtime.steering.copies import Copies
from statepipe.runtime.steering.creating import IfExists, create
from statepipe.runtime.steering.events import Sender
from statepipe.runtime.steering.groups import Groups
from statepipe.runtime.steering.roster import Roster
from statepipe.runtime.triggers.attending import attending
from statepipe.runtime.triggers.steering import Triggers
from statepipe.sharing import DEFAULT_QUEUE
from statepipe.store.file.connection import Store
from statepipe.store.file.opening import open_store
from statepipe.store.file.stamp import Environment
from statepipe.store.lookups import lookup
from statepipe.store.lookups.lookup import Found
from statepipe.store.stage.directory import Stage, make_for_owner, stage_directory
from statepipe.store.stage.sweep import sweep_finished
from statepipe.store.walk import workers
from statepipe.store.walk.children import Adoption
from statepipe.store.walk.ready import Scope
from statepipe.store.walk.workers import Serves


class Engine(Sender, Asker, Again, Roster):
    """
    One process's access to a store and its machines. For one thread. Opening it runs nothing.

    Args:
        config: Store, machines and policies, from `load_config`.
        machines: Machines built in Python; they win over files of the same name.
        create: Make the store if it is missing, when it is first needed: a request that
            is refused leaves none behind.
        pools: Where tasks run; by default one process a core, and 32 threads.
        in_flight_max: How many instances are driven at a time.
        observe: Told of each change, after its commit.
        log: Told of everything that is journaled, after its commit, and of fences; for
            example `statepipe.observe.lines.log_fact`.
        clock: Time; a test may own it.
        rng: For jitter and new ids; a test may seed it.

    Every method raises StoreUnusable or Busy, as `open_store`, if the store cannot be used;
    close the engine then, or what it drives stays claimed.
    """

    def __init__(  # noqa: PLR0913  (the parts that a program may choose)
        self,
        config: Config,
        *,
        machines: Iterable[Machine] = (),
        create: bool = True,
        pools: Pools | None = None,
        in_flight_max: int = 64,
        observe: Observer | None = None,
        log: Log | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.catalog = Catalog(config, machines)
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()  # noqa: S311  (jitter, not secrets)
        self._config = config
        for secret in config.logging.hidden:
            redact.hide(secret)
        self._create = create
        self._observers = Observers(observe=observe, log=log)
        self._programs: dict[str, Program] = {}
        self._driver = Driver(
            config,
            catalog=self.catalog,
            programs=self._programs,
            pools=pools or Pools(),
            in_flight_max=in_flight_max,
            observers=self._observers,
            rng=self._rng,
            store=lambda: (self._store, self._stage),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Instances

    def create(
        self,
        machine: str,
        *,
        params: Mapping[str, Any] | None = None,
        instance_id: str | None = None,
        if_exists: IfExists = "fail",
        reason: str | None = None,
        priority: int | None = None,
    ) -> str | None:
        """
        Create an instance at rest in the machine's initial state; return its id.

        None if it is not made because of its key (`concurrency`, with `behavior = "skip"`).

        Args:
            machine: Name of the machine.
            params: Values by parameter name; text is converted to the declared type.
            instance_id: Its id, or None to have one made.
            if_exists: If the id is taken: "fail", "attach" (return the id, whatever
                it is doing) or "skip" (return None).
            reason: Why, for the journal.
            priority: In place of the machine's, -100..100; the higher goes first.

        Raises:
            NotFound, DefinitionError: No such machine, or it is wrong.
            BadParameter: A parameter is unknown, missing or of the wrong type.
            Busy: As many of the machine are ready as may be (`ready_max`).
            InstanceExists: The id is taken and `if_exists` is "fail".
        """
        at_ms = self._clock.now_ms()
        encoded = self.catalog.bound(machine, params or {}, at_ms=at_ms)
        made = create(
            self._store,
            self._program(machine),
            params=encoded,
            instance_id=instance_id,
            make_id=lambda: new_id(machine, at_ms=at_ms, rng=self._rng),
            if_exists=if_exists,
            reason=reason,
            priority=priority,
        )
        if made.n is not None:
            self._observers.journaled(self._store, made.n, seq=1)
        for each, done in made.cancelled.items():
            self._observers.asked(self._store, each, kind="cancel" if done else "request")
        return made.id

    def run(self, ids: Sequence[str]) -> dict[str, str]:
        """
        Drive these instances until each has finished or is paused; return their statuses.

        An instance that another live process drives is waited for. After `stop` the
        rest is left resumable.

        Raises:
            NotFound: One of them does not exist.
            DefinitionChanged: One began with another definition, or a child machine below it;
                nothing was changed.
            Busy, StoreUnusable: As `Committer.commit`.
            UsageError: `ids` is one id, and no list.
        """
        given = listed(ids, method="run")
        found = [self._same_definition(self._find(each), adopt="pinned") for each in given]
        for each in found:
            self._below(each, adopt="pinned")
        return self._drive(found)

    def work(
        self,
        machines: Iterable[str] | None = None,
        *,
        queues: Collection[str] = (DEFAULT_QUEUE,),
        until_idle: bool = False,
        turned: Callable[[], None] | None = None,
    ) -> None:
        """
        Drive whatever is ready, and start what triggers ask for, until `stop`. Raises as `run`.

        Args:
            machines: Only instances of these; None for all but those that `left_out` names.
            queues: Only while they are in states of these.
            until_idle: Return once nothing is ready and nothing is to be tried again.
            turned: Called with each turn of the loop: whoever waits for it sees that it lives.
        """
        names = tuple(self._drivable() if machines is None else machines)
        programs = [self._program(name) for name in names]
        driven = with_children(names, self._program)
        sweep_finished(self._stage, self._store.connection)
        known = tuple(sorted(each.definition for each in driven))
        loop = self._driver.loop(serves=Serves(names, tuple(sorted(queues)), known))
        scope = scope_of(driven, queues)
        with attending(
            self._store,
            programs,
            observers=self._observers,
            rng=self._rng,
            trouble=self._driver.trouble,
        ) as again:
            loop.limit_to(scope)
            while True:
                self._driver.turn(lambda: until_idle and loop.is_idle, turned=turned)
                if self._driver.is_stopped or not again():
                    break
                loop.limit_to(scope)  # what there is room for now was started: look at once

    @cached_property
    def copies(self) -> Copies:
        """Instances made of another one: from its start, or from where it was."""
        return Copies(
            self.catalog,
            clock=self._clock,
            observers=self._observers,
            store=lambda: (self._store, self._stage),
            program_of=self._program,
        )

    @cached_property
    def groups(self) -> Groups:
        """Groups of partitions: create, run, resume, pause, unpause and cancel them."""
        return Groups(
            self.catalog,
            clock=self._clock,
            observers=self._observers,
            store=lambda: self._store,
            program_of=self._program,
            drive=self._driver.drive,
        )

    @cached_property
    def triggers(self) -> Triggers:
        """What starts instances by itself: pause it, or start what it missed."""
        return Triggers(
            self.catalog,
            clock=self._clock,
            observers=self._observers,
            rng=self._rng,
            store=lambda: self._store,
            program_of=self._program,
        )

    def stop(self, reason: str) -> None:
        """Make `run`, `resume` or `work` return soon, everything resumable; safe in a signal."""
        self._driver.stop(reason)

    def close(self) -> None:
        """End the executors, tell people what is due, give up the lease, close the store."""
        self._driver.close()
        if "_store" in self.__dict__:
            with closing(self._store) as store:
                if self._driver.worker is not None and not store.in_doubt:
                    workers.stop(store, self._driver.worker)
            if self._driver.worker is not None and not self._driver.trouble.is_told:
                self._driver.trouble.tell()

    # Inside

    @cached_property
    def _store(self) -> Store:
        config = self._config
        environment = Environment(config.env, stamps=config.owns_store)
        return open_store(
            config.store, create=self._create, clock=self._clock, environment=environment
        )

    @cached_property
    def _stage(self) -> Stage:
        directory = stage_directory(self._config.store, store_id=self._store.store_id)
        make_for_owner(directory, store=self._config.store)
        return Stage(directory)

    def _drive(self, found: Sequence[Found]) -> dict[str, str]:
        numbers = frozenset(each.n for each in found)
        statuses = partial(lookup.statuses, self._store.connection, numbers)
        parts = lookup.parts_among(self._store.connection, numbers)
        scope = Scope(instances=numbers, parts=parts)
        self._driver.drive(scope, lambda: Status.READY not in set(statuses().values()))
        return lookup.ended(self._store.connection, found)

    def _program(self, name: str) -> Program:
        if name not in self._programs:
            stage_dir = self._stage.directory
            self._programs[name] = self.catalog.program(name, self._store, stage_dir=stage_dir)
            for child in self._programs[name].children:
                self._program(child)
        return self._programs[name]

    def _find(self, instance_id: str) -> Found:
        return lookup.find_instance(self._store.connection, instance_id)

    def _same_definition(self, found: Found, *, adopt: Adopt, rewind_to: str = "") -> Found:
        """Return `found`, unless its machine is not what it began with."""
        refuse_changed(
            found,
            self._program,
            connection=self._store.connection,
            catalog=self.catalog,
            adopts=adopt == "latest",
            rewind_to=rewind_to,
        )
        return found

    def _below(self, found: Found, *, adopt: Adopt) -> list[Adoption]:
        return adoptions(
            found,
            self._program,
            store=self._store,
            catalog=self.catalog,
            adopts=adopt == "latest",
            me=self._driver.worker,
        )
