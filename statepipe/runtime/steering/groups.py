"""
Groups of partitions: which there are to be, one instance each, and what people do with them.

    Groups.create   a group and its instances, in one transaction
    Groups.run      drive them until they rest
    Groups.resume   take the failed ones back to work, and drive all that is not done
    Groups.cancel   end those that have not ended
    Groups.pause    let those rest that have not ended
    Groups.unpause  let those that are paused go on
    Groups.clean    run the `on_cancel` of those that are being cancelled

A partition is an instance like any other: workers claim it, `resume`, `rewind` and `cancel`
move it alone, and the group follows.
"""

import hashlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from statepipe.clock import Clock
from statepipe.errors import InstanceExists, Refused
from statepipe.machine.partition import Partition
from statepipe.model import Status
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.driving.observers import Observers
from statepipe.runtime.program import Program
from statepipe.runtime.steering.adopting import adoptions, refuse_changed
from statepipe.runtime.steering.creating import new_instance
from statepipe.runtime.steering.foresight import Foresight
from statepipe.runtime.steering.lateness import deadline_of, refuse_late, refuse_late_parts
from statepipe.runtime.steering.slicing import partition_of, sliced
from statepipe.runtime.steering.unpausing import none_paused
from statepipe.store.codec import encode
from statepipe.store.file.connection import Store
from statepipe.store.lookups import groups, lookup
from statepipe.store.lookups.groups import GROUP_CHARS_MAX, Group, NewGroup
from statepipe.store.lookups.lookup import Found
from statepipe.store.steering import instances as steering
from statepipe.store.steering import regrouping
from statepipe.store.steering.instances import NewInstance
from statepipe.store.walk.children import Adoption
from statepipe.store.walk.ready import Scope


class Groups:
    """
    The groups of one engine's store.

    Args:
        catalog: The machines.
        clock: Time.
        observers: Told of what is done.
        store: Gives the store, opening it if need be: what is refused before leaves none.
        program_of: Gives a machine ready to be driven.
        drive: Drives what is in a scope until the callable says that it is over.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        clock: Clock,
        observers: Observers,
        store: Callable[[], Store],
        program_of: Callable[[str], Program],
        drive: Callable[[Scope, Callable[[], bool]], None],
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._observers = observers
        self._store_of = store
        self._program_of = program_of
        self._drive = drive

    def create(
        self,
        machine: str,
        partitions: Sequence[str],
        *,
        params: Mapping[str, Any] | None = None,
        group_id: str | None = None,
        if_exists: Literal["fail", "attach", "skip"] = "fail",
        reason: str | None = None,
        priority: int | None = None,
    ) -> str | None:
        """
        Create a group of partitions, at rest in the machine's initial state; return its id.

        Args:
            machine: Name of the machine.
            partitions: Keys and ranges of them, "A..B", both included; see `chosen`.
            params: Values of the other parameters, the same for all partitions.
            group_id: Its id; None for the machine and the partitions it is made of.
            if_exists: If there is such a group: "fail", "attach" (return the id, whatever
                its partitions are doing) or "skip" (return None).
            reason: Why, for the journal.
            priority: In place of the machine's, as of `Engine.create`.

        Raises:
            NotFound, DefinitionError: No such machine, or it is wrong, or has no partitions.
            BadParameter: A parameter is wrong, or the partitions are none.
            InstanceExists: There is such a group and `if_exists` is "fail", or it has other
                partitions; or an instance has the id of one of them.
        """
        known = self._catalog.sound(machine)
        slices = sliced(
            known,
            partitions,
            params=params or {},
            today=datetime.fromtimestamp(self._clock.now_ms() / 1000, tz=UTC).date(),
            machines_dir=self._catalog.machines_dir,
        )
        name = group_id or _default_id(machine, slices, is_range=len(partitions) == 1)
        program = self._program_of(machine)
        new = [
            new_instance(program, f"{name}/{key}", encode(values), partition=key, priority=priority)
            for key, values in slices
        ]
        declared = _declared(name, partition_of(known), len(new))
        store = self._store_of()
        if groups.find(store.connection, name) is None:
            try:
                self._create(machine, new, declared, reason=reason)
            except InstanceExists:
                if groups.find(store.connection, name) is None:
                    raise  # an instance is in the way
            else:
                return name
        if if_exists == "skip":
            return None
        _refuse_other(store, name, machine, new, attaches=if_exists == "attach")
        return name

    def run(self, group_id: str) -> str:
        """
        Drive a group's partitions until none of them is ready; return the group's status.

        Raises:
            NotFound: There is no such group.
            DefinitionChanged: One of them began with another definition than the machine
                has now; nothing was changed.
            As `Engine.run`.
        """
        group = groups.known(self._store.connection, group_id)
        for found in groups.members(self._store.connection, group.n, [Status.READY]):
            self._refuse_changed(found, adopts=False)
            self._below(found, adopts=False)
        return self._driven(group)

    def resume(
        self, group_id: str, *, reason: str | None = None, adopts: bool = False
    ) -> tuple[int, str]:
        """
        Take a group's failed partitions back to work, and drive all that is not done.

        Of a group that was cancelled, the cancelled ones as well.

        Args:
            group_id: Which group.
            reason: Why, for the journal.
            adopts: True to go on with the machine as it is now, if it has changed.

        Returns:
            How many were taken back, and the group's status in the end.

        Raises:
            NotFound, DefinitionChanged: As `run`; nothing was changed.
            Refused: All its partitions are done, or one has had its time; nothing was changed.
        """
        store = self._store
        group = groups.known(store.connection, group_id)
        lost = [Status.FAILED, *([Status.CANCELLED] if group.status == Status.CANCELLED else [])]
        found = groups.members(store.connection, group.n, [*lost, Status.READY])
        if not found and group.status != "open":
            raise Refused(
                f"group {group_id!r} is {group.status}, and none of its partitions failed",
                meaning="nothing was changed",
                next_step=f"statepipe ls --group {shlex.quote(group_id)}",
            )
        below = {}
        for each in found:
            self._refuse_changed(each, adopts=adopts)
            below[each.n] = self._below(each, adopts=adopts)
        number = self._program_of(group.machine).definition if adopts else None
        wanted = [
            each
            for each in found
            if each.status != Status.READY
            or below[each.n]
            or (adopts and each.definition != number)
        ]
        for each in wanted:
            deadline_ms = self._program_of(each.machine).deadline_ms
            refuse_late(store, each, deadline_ms=deadline_ms)
            refuse_late_parts(store, each, self._catalog.machine)
        taken = regrouping.take_back(store, wanted, reason=reason, definition=number, adopts=below)
        for each in taken:
            self._observers.journaled(store, each.n, each.seq)
        return len(taken), self._driven(group)

    def cancel(self, group_id: str, *, reason: str | None = None) -> tuple[int, int]:
        """
        Cancel a group's unfinished partitions.

        Returns:
            How many are cancelled, and of how many the driver was asked to.

        Raises:
            NotFound: There is no such group.
        """
        group = groups.known(self._store.connection, group_id)
        done, asked = regrouping.cancel(self._store, group.n, reason=reason)
        for ids, kind in ((done, "cancel"), (asked, "request")):
            for each in ids:
                self._observers.asked(self._store, each, kind=kind)
        return len(done), len(asked)

    def pause(
        self, group_id: str, *, reason: str | None = None
    ) -> tuple[int, int, Mapping[str, int]]:
        """
        Let a group's unfinished partitions rest, each at its next boundary.

        Returns:
            How many are paused, of how many the driver was asked to, and how many of the others
            are left as they are, by what they are: "done", "paused before", and so on.

        Raises:
            NotFound: There is no such group.
        """
        group = groups.known(self._store.connection, group_id)
        done, asked, left = regrouping.pause(self._store, group.n, reason=reason)
        for ids, kind in ((done, "pause"), (asked, "request")):
            for each in ids:
                self._observers.asked(self._store, each, kind=kind)
        return len(done), len(asked), left

    def unpause(self, group_id: str, *, reason: str | None = None) -> tuple[int, int]:
        """
        Let a group's paused partitions go on, with whoever drives instances; none is driven here.

        Returns:
            How many go on, and how many have been asked to pause and will yet.

        Raises:
            NotFound: There is no such group.
            Refused: None of them is paused, or one has had its time; nothing was changed.
            DefinitionChanged: As `Engine.unpause`; nothing was changed.
        """
        store = self._store
        group = groups.known(store.connection, group_id)
        found = groups.members(store.connection, group.n, [Status.PAUSED])
        if not found:
            raise none_paused(group_id)
        foresight = Foresight(self._catalog, store.connection, clock=store.clock)
        for each in found:
            if (changed := foresight.refusal(each)) is not None:
                raise changed
            deadline_ms = deadline_of(self._catalog.machine, each.machine)
            refuse_late(store, each, deadline_ms=deadline_ms)
            refuse_late_parts(store, each, self._catalog.machine)
        taken = regrouping.take_back(store, found, reason=reason, definition=None)
        for each in taken:
            self._observers.journaled(store, each.n, each.seq)
        return len(taken), regrouping.about_to_pause(store, group.n)

    def clean(self, group_id: str) -> None:
        """
        Run the machine's `on_cancel` for each partition that is being cancelled.

        Raises:
            NotFound, DefinitionChanged: As `run`.
        """
        connection = self._store.connection
        group = groups.known(connection, group_id)
        ready = groups.members(connection, group.n, [Status.READY])
        found = [each for each in ready if each.failed_state is not None]
        for each in found:
            self._refuse_changed(each, adopts=False)
        if found:
            numbers = frozenset(each.n for each in found)
            statuses = partial(lookup.statuses, connection, numbers)
            self._drive(
                Scope(instances=numbers), lambda: Status.READY not in set(statuses().values())
            )

    @property
    def _store(self) -> Store:
        return self._store_of()

    def _create(
        self, machine: str, new: Sequence[NewInstance], group: NewGroup, *, reason: str | None
    ) -> None:
        program = self._program_of(machine)
        made = steering.create(
            self._store,
            machine=machine,
            definition=program.definition,
            initial=program.table.machine.initial,
            instances=new,
            group=group,
            reason=reason,
            # Together or not at all: none is left out, and none ends for another.
            terms=program.sharing.terms._replace(behavior="queue"),
        )
        for n in made.numbers:
            self._observers.journaled(self._store, n, seq=1)

    def _driven(self, group: Group) -> str:
        connection = self._store.connection
        if groups.is_at_work(connection, group.n):
            scope = Scope(group=group.n, in_parts=bool(self._program_of(group.machine).children))
            self._drive(scope, lambda: not groups.is_at_work(connection, group.n))
        return groups.known(connection, group.id).status

    def _refuse_changed(self, found: Found, *, adopts: bool) -> None:
        refuse_changed(
            found,
            self._program_of,
            connection=self._store.connection,
            catalog=self._catalog,
            adopts=adopts,
        )

    def _below(self, found: Found, *, adopts: bool) -> list[Adoption]:
        return adoptions(
            found,
            self._program_of,
            store=self._store,
            catalog=self._catalog,
            adopts=adopts,
            me=None,
        )


def _default_id(
    machine: str, slices: Sequence[tuple[str, Mapping[str, Any]]], *, is_range: bool
) -> str:
    """Return an id that the same machine and partitions have again, and no others."""
    keys = [key for key, _ in slices]
    said = f"{machine}-{keys[0]}" + (f"..{keys[-1]}" if len(keys) > 1 else "")
    if is_range and len(said) <= GROUP_CHARS_MAX:
        return said
    return f"{machine}-{hashlib.sha256(repr(keys).encode()).hexdigest()[:16]}"


def _declared(name: str, how: Partition, total: int) -> NewGroup:
    return NewGroup(name, str(how.tolerate), how.tolerated(total))


def _refuse_other(
    store: Store, name: str, machine: str, new: Sequence[NewInstance], *, attaches: bool
) -> None:
    """Refuse a group that was not to be there, or has other partitions than are asked for."""
    if not attaches:
        raise groups.exists(name)
    group = groups.known(store.connection, name)
    asked = {each.partition for each in new}
    if (
        group.machine != machine
        or group.total != len(asked)
        or not groups.keys(store.connection, group.n) <= asked
    ):
        raise InstanceExists(
            f"group {name!r} is of {group.total} partitions of {group.machine}, and not of the"
            f" {len(asked)} of {machine} that were asked for",
            meaning="nothing was created or changed",
            next_step=f"statepipe resume --group {shlex.quote(name)}   # goes on with it;"
            " or another --group for these",
        )
