"""
The machines this process knows: files beside `statepipe.toml`, and those built in Python.

    Catalog.machine     a definition by name
    Catalog.sound       the same, if it can be driven
    Catalog.bound       the parameters of an instance of it
    Catalog.program     the same, ready to be driven, its definition written into the store
    Catalog.kind_of, Catalog.batch_size     of a function, of a state
    new_id              an id for an instance of a machine
"""

import hashlib
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from statepipe.config import Config
from statepipe.errors import DefinitionError, UsageError
from statepipe.machine.alerts import Alerts, alerts_of, alerts_of_task
from statepipe.machine.checks.childchecks import check_children
from statepipe.machine.definition import Machine, State
from statepipe.machine.digest import canonical, digest
from statepipe.machine.loading.loader import list_machines, machine_named
from statepipe.machine.names import check_name
from statepipe.machine.params import bind_params
from statepipe.machine.states.judging import Validate
from statepipe.machine.states.tasks import Load, Run
from statepipe.machine.table import Table
from statepipe.machine.taskmachine import graph_task, task_machine, task_machines
from statepipe.machine.triggers.arrivals import below
from statepipe.runtime.agreement import disagreements
from statepipe.runtime.brood import Brood, ChildKind, brood_of, children_of
from statepipe.runtime.parts import part_of
from statepipe.runtime.policies import policy_of, timeout_of
from statepipe.runtime.program import Program
from statepipe.runtime.sharing import queues_of, sharing_of
from statepipe.runtime.tasks.functions import Kind, kind_of, resolve
from statepipe.sharing import Sharing
from statepipe.store.codec import encode
from statepipe.store.file.connection import Store
from statepipe.store.steering.instances import define
from statepipe.store.walk.resources import declare
from statepipe.store.walk.routes import route
from statepipe.tables import refusal
from statepipe.tasknames import task_of


class Catalog:
    """
    Definitions by name.

    Args:
        config: Where the files are, and the policies.
        machines: Machines built in Python; they win over files of the same name.

    Raises:
        DefinitionError: One of them is called as a task of another would be.
    """

    def __init__(self, config: Config, machines: Iterable[Machine] = ()) -> None:
        self._config = config
        self._built = {machine.name: machine for machine in machines}
        self._opening: list[str] = []  # the machines whose programs are being made
        for name in self._built:
            check_name("machine", name)

    @property
    def machines_dir(self) -> Path:
        """The folder of their files and functions."""
        return self._config.machines_dir

    def names(self) -> list[str]:
        """Return the names of all machines, sorted."""
        return sorted({*self._built, *list_machines(self._config.machines_dir)})

    def machine(self, name: str) -> Machine:
        """
        Return the definition of `name`, which may be that of a task: "orders/transforming/enrich".

        Raises:
            NotFound: There is no such machine.
            DefinitionError: Its file is wrong.
        """
        if name in self._built:
            machine = self._built[name]
        elif named := task_of(name):
            parent = self.machine(named.machine)
            return task_machine(parent, named.state, graph_task(parent, named))
        else:
            machine = machine_named(name, self._config.machines_dir)
        triggers = below(machine.triggers, str(self._config.root))
        return machine if triggers is machine.triggers else replace(machine, triggers=triggers)

    def form(self, machine: Machine) -> dict[str, Any]:
        """
        Return the canonical form of `machine`: what its digest is over.

        Raises:
            DefinitionError: One of its contracts cannot be read.
        """
        digests = {
            path: self._contract_digest(path)
            for state in machine.states
            if isinstance(state.task, Validate | Load)
            for path in state.task.contracts
        }
        return canonical(machine, contract_digests=digests)

    def sound(self, name: str) -> Machine:
        """
        Return the definition of `name`, if it can be driven as far as no store need tell.

        Raises:
            NotFound, DefinitionError: As `machine` and `form`; a policy is wrong, somebody is
                to be told who is no target, a state uses what is no resource, or a child machine
                is not there or not given what it needs.
        """
        machine = self.machine(name)
        self.form(machine)
        for error in disagreements(self._config, machine):
            raise error
        for each in (machine, *task_machines(machine)):
            for state in each.acting:
                policy_of(self._config, each, state)
        for wrong in check_children(machine, self.machine):
            raise refusal(
                f"machine {name}, state {wrong.state}: {wrong.message}", next_step=wrong.fix
            )
        return machine

    def bound(self, name: str, given: Mapping[str, Any], *, at_ms: int) -> bytes:
        """
        Return the parameters of an instance that is created now, encoded.

        Raises:
            NotFound, DefinitionError: As `sound`.
            BadParameter: As `bind_params`.
            UsageError: It is a task of several, which no one begins but its parent.
        """
        if task := task_of(name):
            raise UsageError(
                f"{name} is a task: it begins as a part of an instance of {task.machine}",
                meaning="no instance was created",
                next_step=f"statepipe run {task.machine}",
            )
        today = datetime.fromtimestamp(at_ms / 1000, tz=UTC).date()
        return encode(bind_params(self.sound(name), given, today=today))

    def sharing(self, name: str) -> Sharing:
        """
        Return how a machine's instances share workers.

        Raises:
            NotFound, DefinitionError: As `machine`; or as `sharing_of`.
        """
        return sharing_of(self._config, self.machine(name))

    def program(self, name: str, store: Store, *, stage_dir: Path) -> Program:
        """
        Return the machine ready to be driven; what its children are is in the store by then.

        Raises:
            NotFound, DefinitionError: As `sound`.
        """
        if name in self._opening:
            way = " -> ".join([*self._opening[self._opening.index(name) :], name])
            raise DefinitionError(
                f"the machines {way} are each a part of the other",
                meaning="nothing was run or changed: an instance of them would never end",
                next_step="remove the state with machine = … from one of them",
            )
        self._opening.append(name)
        try:
            return self._program(name, store, stage_dir=stage_dir)
        finally:
            self._opening.pop()

    def _program(self, name: str, store: Store, *, stage_dir: Path) -> Program:
        machine = self.sound(name)
        parts = {
            state.name: part_of(
                self._config,
                machine,
                state,
                store_id=store.store_id,
                stage_dir=stage_dir,
                brood=partial(self._brood, store=store, stage_dir=stage_dir),
            )
            for state in machine.acting
        }
        declare(store, {each for part in parts.values() for each in part.uses})
        form = self.form(machine)
        number = define(
            store,
            machine=name,
            version=machine.version,
            digest=digest(form),
            body=json.dumps(form, sort_keys=True),
        )
        whole = (task := task_of(name)) and (self.machine(task.machine), task.state)
        return Program(
            name=name,
            definition=number,
            table=Table.compile(machine),
            parts=parts,
            policies={
                part.policy.digest: json.dumps(part.policy.to_dict(), sort_keys=True)
                for part in parts.values()
            },
            deadline_ms=machine.deadline_ms,
            alerts=self._alerts(machine, store),
            children=children_of(machine),
            sharing=sharing_of(self._config, machine),
            queues=route(store, number, queues_of(self._config, machine, whole)),
        )

    def kind_of(self, run: Run) -> Kind:
        """
        Return what kind of task a function is; this imports it.

        Raises:
            DefinitionError: It cannot be imported, or is no task.
        """
        function = run.function
        if isinstance(function, str):
            function = resolve(function, self._config.machines_dir)
        return kind_of(function)

    def batch_size(self, machine: Machine, state: str) -> int:
        """Return how many records a batch of a state should hold."""
        return policy_of(self._config, machine, machine.state(state)).policy.batch_size

    def _brood(self, machine: Machine, state: State, *, store: Store, stage_dir: Path) -> Brood:
        """Return what the children of a state are; their definitions are in the store by then."""
        within_ms, _ = timeout_of(self._config, machine, state)
        kinds = partial(self._kind, store=store, stage_dir=stage_dir)
        return brood_of(machine, state, kinds, self.bound, timeout_ms=within_ms)

    def _kind(self, name: str, *, store: Store, stage_dir: Path) -> ChildKind:
        """Return what an instance of a machine is; its definition is in the store by then."""
        program = self.program(name, store, stage_dir=stage_dir)
        return ChildKind(program.definition, name, program.table.machine.initial, program.sharing)

    def _alerts(self, machine: Machine, store: Store) -> Alerts | None:
        targets, env = self._config.targets, self._config.env
        named = task_of(machine.name)
        if named is None:
            return alerts_of(machine, targets, store=store.store_id, env=env)
        parent = self.machine(named.machine)
        task = graph_task(parent, named)
        return alerts_of_task(task, parent, targets, store=store.store_id, env=env)

    def _contract_digest(self, contract: str) -> str:
        path = self._config.machines_dir / contract
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise DefinitionError(
                f"the contract {path} cannot be read: {error.strerror}",
                meaning="nothing was run or changed",
                next_step="put the JSON Schema there, or correct `contract` in the machine",
            ) from error


def new_id(machine: str, *, at_ms: int, rng: random.Random) -> str:
    """Return an id nobody else has: machine, day, and something drawn."""
    day = datetime.fromtimestamp(at_ms / 1000, tz=UTC).strftime("%Y%m%d")
    return f"{machine}-{day}-{rng.getrandbits(32):08x}"
