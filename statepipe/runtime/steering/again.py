"""
The part of an engine by which something is done once more.

    Again.resume    takes unfinished instances back to work, and drives them
    Again.refuse    raises what a resume of some would
    Again.retry     the same for one task of one
    Again.rewind    puts an instance back into an earlier state; `run` or a worker drives it
    Again.replay    makes instances of what was rejected; likewise
    listed          ids, of which there may be several
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from statepipe.errors import (
    BadParameter,
    Busy,
    DefinitionChanged,
    NotFound,
    Refused,
    StatepipeError,
    UsageError,
)
from statepipe.model import Status
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.driver import Driver
from statepipe.runtime.driving.observers import Observers
from statepipe.runtime.program import Program
from statepipe.runtime.steering.lateness import refuse_late, refuse_late_parts
from statepipe.runtime.steering.replaying import Choice, replay
from statepipe.runtime.steering.rewinding import put_back
from statepipe.runtime.steering.setting import Setting, setting
from statepipe.store.file.connection import Store
from statepipe.store.lookups.lookup import Found
from statepipe.store.stage.directory import Stage
from statepipe.store.walk import resuming
from statepipe.store.walk.children import Adoption

Adopt = Literal["pinned", "latest"]

_REFUSALS: Final = (NotFound, DefinitionChanged, Refused, Busy, BadParameter)
_TOLD_MAX: Final = 3


class Again(ABC):
    """What it needs of an engine."""

    catalog: Catalog
    _driver: Driver
    _observers: Observers

    @property
    @abstractmethod
    def _store(self) -> Store: ...

    @property
    @abstractmethod
    def _stage(self) -> Stage: ...

    @abstractmethod
    def _find(self, instance_id: str) -> Found: ...

    @abstractmethod
    def _program(self, name: str) -> Program: ...

    @abstractmethod
    def _same_definition(self, found: Found, *, adopt: Adopt, rewind_to: str = "") -> Found: ...

    @abstractmethod
    def _below(self, found: Found, *, adopt: Adopt) -> list[Adoption]: ...

    @abstractmethod
    def _drive(self, found: Sequence[Found]) -> dict[str, str]: ...

    def resume(
        self,
        ids: Sequence[str],
        *,
        reason: str | None = None,
        definition: Adopt = "pinned",
        params: Mapping[str, Any] | None = None,
        on_refusal: Callable[[str, StatepipeError], None] | None = None,
    ) -> dict[str, str]:
        """
        Take unfinished instances back to the state they rest in, or failed in, and drive them.

        Each gets a fresh budget of attempts; no committed work is done again.

        Args:
            ids: Which.
            reason: Why, for the journal.
            definition: "pinned" refuses an instance whose machine has changed since;
                "latest" goes on with the machine as it is now.
            params: Values in place of those that each has; what came of the old ones stays.
            on_refusal: Told of an instance that cannot be resumed, while the others
                are; without it, the first refusal is raised, nothing is changed and nothing driven.

        Raises:
            NotFound, DefinitionChanged: As `run`.
            Refused: One is done, or its machine's deadline has passed, or that of a child machine
                which would go on with it.
            BadParameter: One of `params` is unknown, or of the wrong type.
            Busy: A live process drives one; the message names it.
            UsageError: `ids` is one id, and no list.
        """
        ids = tuple(dict.fromkeys(listed(ids, method="resume")))
        if on_refusal is None:
            self.refuse(ids, definition=definition, params=params)
        taken: list[Found] = []
        for each in ids:
            try:
                taken.append(
                    self._take_back(each, reason=reason, definition=definition, params=params)
                )
            except _REFUSALS as error:
                if on_refusal is None:
                    raise self._left(taken, error) from error
                on_refusal(each, error)
        return self._drive(taken)

    def refuse(
        self,
        ids: Sequence[str],
        *,
        definition: Adopt = "pinned",
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """Raise what `resume` would of the first of `ids` that it refuses; change nothing."""
        for each in listed(ids, method="refuse"):
            # What another process drives is refused for that, whatever its machine is by now.
            resuming.refuse_resume(self._store, self._driver.worker, each)
            found, _ = self._ahead(each, definition=definition, params=params)
            self._below(found, adopt=definition)

    def retry(self, instance_id: str, part_id: str, *, reason: str | None = None) -> dict[str, str]:
        """
        Let one that does part of an instance's work go on, and the instance, if that failed.

        The others that do part of it stay as they are. Drives and raises as `resume`.
        """
        whole = self._same_definition(self._find(instance_id), adopt="pinned")
        self._below(whole, adopt="pinned")
        self.refuse([part_id])
        if whole.status == Status.READY:
            return self._drive([whole, self._take_back(part_id, reason=reason)])
        self.refuse([instance_id])
        taken = [self._take_back(part_id, reason=reason)]
        try:
            taken.append(self._take_back(instance_id, reason=reason, alone=True))
        except _REFUSALS as error:
            raise self._left(taken, error) from error
        return self._drive(taken)

    def rewind(
        self, instance_id: str, *, to: str, reason: str | None = None, definition: Adopt = "pinned"
    ) -> None:
        """
        Put an instance back to rest in a state it was in before, in a new generation.

        Raises as `runtime.rewinding.put_back`, and DefinitionChanged as `resume`.
        """
        found = self._find(instance_id)
        if definition == "pinned":
            self._same_definition(found, adopt="pinned", rewind_to=to)
        put_back(self._store, found, self._program(found.machine), to=to, reason=reason)
        self._observers.journaled(self._store, found.n, found.seq + 1)

    def replay(self, instance_id: str, choice: Choice | None = None, *, reason: str) -> list[str]:
        """
        Make instances that send rejected records through once more; return their ids.

        `run` or a worker drives them. Raises as `runtime.replaying.replay`.
        """
        made = replay(
            self._store, instance_id, choice, stage=self._stage, catalog=self.catalog, reason=reason
        )
        for each in made:
            self._observers.journaled(self._store, each.n, seq=1)
        return [each.id for each in made]

    # Inside

    def _take_back(
        self,
        instance_id: str,
        *,
        reason: str | None,
        definition: Adopt = "pinned",
        alone: bool = False,
        params: Mapping[str, Any] | None = None,
    ) -> Found:
        try:
            found, changed = self._ahead(instance_id, definition=definition, params=params)
            adopts = self._below(found, adopt=definition)
        except _REFUSALS:
            resuming.refuse_resume(self._store, self._driver.worker, instance_id)  # says more
            raise
        loop = self._driver.loop()
        assert self._driver.worker is not None
        checkpoint = resuming.claim_resume(
            self._store,
            self._driver.worker,
            instance_id=instance_id,
            reason=changed.note(reason) if changed else reason,
            definition=(program := self._program(found.machine)).definition,
            adopts=adopts,
            alone=alone,
            params=changed and changed[:2],
            limit=program.limit,
        )
        if checkpoint is not None:  # else it waits for its turn, and is claimed then
            loop.adopt(checkpoint)
        return found

    def _ahead(
        self, instance_id: str, *, definition: Adopt, params: Mapping[str, Any] | None
    ) -> tuple[Found, Setting | None]:
        """Return an instance that goes on with its machine, and what its parameters become."""
        found = self._same_definition(self._find(instance_id), adopt=definition)
        program, changed = self._program(found.machine), None
        if params:
            sharing = program.sharing
            changed = setting(self._store, self.catalog, found, params, sharing=sharing)
        if found.status != Status.DONE:  # that is refused for what it is
            refuse_late(self._store, found, deadline_ms=program.deadline_ms)
            refuse_late_parts(self._store, found, self.catalog.machine)
        return found, changed

    def _left(self, taken: Sequence[Found], error: StatepipeError) -> StatepipeError:
        """Let go what was taken back before somebody was quicker; return the error that says so."""
        if not taken:
            return error
        self._driver.let_all_go("another one that was to be resumed with it was refused")
        names = ", ".join(repr(each.id) for each in taken[:_TOLD_MAX])
        more = f" and {len(taken) - _TOLD_MAX:,} more" if len(taken) > _TOLD_MAX else ""
        return type(error)(
            error.message,
            meaning=f"it was so only after {names}{more} had been taken back to work: what of them"
            " has not ended is ready, for `run` or a worker; all others are as they were",
            next_step=error.next_step,
        )


def listed(ids: Sequence[str], *, method: str) -> Sequence[str]:
    """
    Return `ids` as they are.

    Raises:
        UsageError: They are one text: each of its letters would be taken for an id.
    """
    if isinstance(ids, str):
        raise UsageError(
            f"Engine.{method} takes a list of ids, and was given the text {ids!r}",
            meaning="nothing was changed or run",
            next_step=f"engine.{method}([{ids!r}])",
        )
    return ids
