"""A store whose clock is owned, a worker, and instances by name that wait for their turn."""

from collections.abc import Sequence
from pathlib import Path

from statepipe.model import Change, Checkpoint
from statepipe.store.codec import encode
from statepipe.store.file.connection import Store
from statepipe.store.liveness import Worker
from statepipe.store.steering import instances as steering
from statepipe.store.steering.instances import Made, NewInstance
from statepipe.store.walk import claims
from statepipe.store.walk.committer import Committer, Verdict
from statepipe.store.walk.ready import Scope
from statepipe.terms import Terms
from statepipe.testing import ManualClock, violations
from tests.store import stores


class Scene:
    """A store with a worker, and instances by name."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.store: Store = stores.opened(folder, self.clock)
        self.me = stores.registered(self.store)

    def define(self, machine: str, *, cleans: bool = False) -> int:
        """Return the number of a machine; one that `cleans` has an `on_cancel`."""
        digest, body = ("c", '{"on_cancel": {}}') if cleans else ("d", "{}")
        return steering.define(self.store, machine=machine, version=1, digest=digest, body=body)

    def make(self, machine: str, *ids: str, priority: int = 0, state: str = "s0") -> None:
        """Make instances at rest."""
        steering.create(
            self.store,
            machine=machine,
            definition=self.define(machine),
            initial=state,
            instances=[NewInstance(each, encode({}), None, priority) for each in ids],
        )

    def with_key(
        self,
        *ids: str,
        key: str = "m:k",
        terms: Terms | None = None,
        priority: int = 0,
        cleans: bool = False,
    ) -> list[Made]:
        """Make instances that have a key, one by one, of the machine that it names."""
        machine = key.partition(":")[0]
        return [
            steering.create(
                self.store,
                machine=machine,
                definition=self.define(machine, cleans=cleans),
                initial="s0",
                instances=[NewInstance(each, encode({}), None, priority, key)],
                terms=terms or Terms(limit=1),
            )
            for each in ids
        ]

    def claim(
        self,
        *,
        limit: int = 1_000,
        scope: Scope | None = None,
        under_way: dict[int, int] | None = None,
        each_max: int | None = None,
        by: Worker | None = None,
    ) -> list[str]:
        """Claim; return the ids in the order of their turn."""
        scope = scope or Scope(limits={self.define("m"): 1})
        taken = claims.claim_ready(
            self.store,
            by or self.me,
            scope=scope,
            limit=limit,
            under_way=under_way or {},
            each_max=each_max,
        )
        return [at.id for at in taken]

    def rest(self, ids: Sequence[str]) -> None:
        """Claim all and let those rest, each due a millisecond after the one before."""
        self.claim(limit=100_000)
        changes = [
            stores.waiting(self.at(each), clock=self.clock, delay_ms=at)
            for at, each in enumerate(ids, start=1)
        ]
        verdicts = Committer(self.store).commit(changes, {}, policies={})
        assert set(verdicts) == {Verdict.COMMITTED}

    def commit(self, change: Change) -> None:
        """Commit one change."""
        assert Committer(self.store).commit([change], {}, policies={}) == [Verdict.COMMITTED]

    def at(self, instance: str) -> Checkpoint:
        """Return an instance as last committed."""
        return claims.load_checkpoint(self.store.connection, stores.row(self.store, instance)["n"])

    def sound(self) -> None:
        """Nothing is broken."""
        found = violations(self.store.path)
        assert found == [], found
