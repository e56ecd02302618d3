"""
A worker that was found dead, and renews its lease before anything is done about it: it lives.

Death is judged before a transaction, and what is done about it is in the transaction.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from statepipe.store.codec import encode
from statepipe.store.file.connection import Store
from statepipe.store.lookups import groups
from statepipe.store.lookups.groups import NewGroup
from statepipe.store.steering import instances as steering
from statepipe.store.steering import regrouping
from statepipe.store.steering.instances import NewInstance
from statepipe.store.walk import asking, jobs, workers
from statepipe.terms import Terms
from statepipe.testing import ManualClock, violations
from statepipe.wishes import Wish
from tests.store import stores


class Scene:
    """
    A store with `a`, the only partition of a group, driven by a worker that is overdue.

    Attributes:
        meanwhile: What happens before a transaction begins: that worker renews its lease.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = clock = ManualClock()
        self.store, self.theirs = stores.opened(folder, clock), stores.opened(folder, clock)
        self.late = stores.registered(self.theirs, lease_ms=1_000)
        self.me = stores.registered(self.store, lease_ms=1_000_000)
        store = self.store
        self.definition = steering.define(store, machine="m", version=1, digest="d", body="{}")
        self.created("a", group=NewGroup("g", "0", 0))
        (self.at,) = stores.claimed(self.theirs, self.late)
        clock.advance(1_000)
        self.meanwhile: Callable[[], object] = lambda: workers.renew(self.theirs, self.late)
        write = Store.write

        def late(store: Store) -> Any:  # noqa: ANN401  (as it is)
            if store is self.store:
                self.meanwhile()
            return write(store)

        monkeypatch.setattr(Store, "write", late)

    def created(self, name: str, **more: Any) -> steering.Made:  # noqa: ANN401  (passed on as it is)
        """Create an instance that has a key."""
        new = NewInstance(name, encode({}), partition="0" if "group" in more else None, key="k")
        return steering.create(
            self.store,
            machine="m",
            definition=self.definition,
            initial="s0",
            instances=[new],
            **more,
        )

    def is_asked(self, wish: str) -> bool:
        """Return True if `a` is asked to, and driven as before."""
        row = stores.row(self.store, "a")
        assert violations(self.store.path) == []
        return (row["worker"], row["epoch"], row["request"]) == (self.late.n, self.at.epoch, wish)

    def job(self, *, worker: int | None) -> None:
        """Write down a job that nobody waits for, and that `worker` is about to stop."""
        with self.theirs.write() as connection:
            connection.execute(
                "INSERT INTO job (instance, generation, state, visit, number, handle, can_stop,"
                " submitted_at_ms, boot_ms, boot_id, stopping, worker)"
                " VALUES (?, 1, 's0', 1, 0, x'01', 1, 1, 1, 'b', 1, ?)",
                (self.at.n, worker),
            )


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Make the scene."""
    return Scene(tmp_path, monkeypatch)


@pytest.mark.parametrize("wish", ["cancel", "pause"])
def test_what_it_drives_is_asked_and_not_ended_under_it(scene: Scene, wish: Wish) -> None:
    """An on_cancel would run beside the attempt that goes on."""
    assert not asking.request(scene.store, instance_id="a", wish=wish, reason=None)

    assert scene.is_asked(wish)


def test_the_cancel_of_a_group_asks_it_as_well(scene: Scene) -> None:
    """The id is among those whose driver was asked."""
    group = groups.known(scene.store.connection, "g")

    assert regrouping.cancel(scene.store, group.n, reason=None) == ([], ["a"])

    assert scene.is_asked("cancel")


def test_whoever_takes_its_key_asks_it_as_well(scene: Scene) -> None:
    """The new one waits for its end."""
    made = scene.created("b", terms=Terms(limit=1, behavior="cancel"))

    assert made.cancelled == {"a": False}
    assert scene.is_asked("cancel")


def test_a_group_that_is_taken_back_leaves_it_alone(scene: Scene) -> None:
    """It goes on by itself."""
    group = groups.known(scene.store.connection, "g")
    found = groups.members(scene.store.connection, group.n, ["ready"])

    assert regrouping.take_back(scene.store, found, reason=None, definition=None) == []

    assert stores.row(scene.store, "a")["epoch"] == scene.at.epoch


def test_a_job_that_it_stops_is_left_to_it(scene: Scene) -> None:
    """It is stopped once; if it stays overdue somebody else comes."""
    scene.job(worker=scene.late.n)
    assert jobs.take_lost(scene.store, scene.me.n, [scene.definition]) is None

    scene.meanwhile = bool
    scene.clock.advance(1_000)
    assert jobs.take_lost(scene.store, scene.me.n, [scene.definition]) is not None


def test_a_job_that_a_new_worker_has_just_taken_is_left_to_that(scene: Scene) -> None:
    """It registered when it was known already who lives."""
    scene.job(worker=None)

    def taken() -> None:
        other = stores.registered(scene.theirs)
        assert jobs.take_lost(scene.theirs, other.n, [scene.definition]) is not None

    scene.meanwhile = taken

    assert jobs.take_lost(scene.store, scene.me.n, [scene.definition]) is None
