"""Who is stalled, and who is told of it: after a while, once, and again only if asked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from statepipe.config import load_config
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.notify import Target
from statepipe.observe.notices.body import read
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.notices.stalled import Lookout
from statepipe.store.file.connection import Store
from statepipe.testing import ManualClock
from tests.store import stores
from tests.store.test_notices import rows

MINUTE_MS = 60_000
HOUR_MS = 3_600_000


@pytest.fixture
def clock() -> ManualClock:
    """Return the time that the test owns."""
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    """Return a store with an instance `a` of `m`, held by a worker that died a moment ago."""
    store = stores.opened(tmp_path, clock)
    stores.created(store, "a")
    stores.claimed(store, stores.dead(store))
    yield store
    stores.close_all()


def lookout(store: Store, *, told: tuple[str, ...] = (), **settings: dict[str, Any]) -> Lookout:
    """Return who looks, with targets by name, of a machine `m` that names `told`."""
    work = Run(function="m:work")
    first = State(name="s0", task=work, on=(Transition(event="ok", target="done"),))
    done = State(name="done", final="success")
    machine = Machine(name="m", initial="s0", states=(first, done), notify=told)
    targets = {name: Target(name=name, url="env:X", **each) for name, each in settings.items()}
    config = load_config(start=store.path.parent, environ={})
    return Lookout(store, targets, catalog=Catalog(config, [machine]), env="prod")


def keys(store: Store) -> list[str]:
    """Return the keys in the outbox, without the store's id."""
    return [key.partition(":")[2] for (key,) in rows(store, "key")]


def test_it_is_said_after_a_while_and_once(store: Store, clock: ManualClock) -> None:
    """A restart takes an instance over long before."""
    look = lookout(store, oncall={"on": ("stalled",), "stalled_after_ms": 10 * MINUTE_MS}).look
    clock.advance(10 * MINUTE_MS - 1)
    assert look() == 0

    clock.advance(1)
    assert [look(), look()] == [1, 0]
    clock.advance(100 * HOUR_MS)
    assert look() == 0
    (body,) = (read(body) for (body,) in rows(store, "body"))
    assert keys(store) == ["1:1:stalled:oncall"]
    assert body == body | {
        "event": "stalled",
        "instance": "a",
        "machine": "m",
        "version": 1,
        "state": "s0",
        "attempt": 1,
        "silent_ms": 10 * MINUTE_MS,
        "env": "prod",
        "next": "statepipe resume a --env prod",
    }


def test_each_target_has_its_own_patience_and_may_be_told_again(
    store: Store, clock: ManualClock
) -> None:
    """Who gets up at night wants to hear it every hour, the team once."""
    looks = lookout(
        store,
        oncall={"on": ("stalled",), "repeat_after_ms": HOUR_MS, "stalled_after_ms": MINUTE_MS},
        team={"on": ("stalled",), "stalled_after_ms": 30 * MINUTE_MS},
        deaf={"on": ("failed",)},
    )
    for _ in range(10):
        clock.advance(15 * MINUTE_MS)
        looks.look()

    assert keys(store) == [
        "1:1:stalled:oncall",
        "1:1:stalled:team",
        "1:1:stalled:oncall:2",
        "1:1:stalled:oncall:3",
    ]


def test_another_driver_that_dies_is_another_occasion(store: Store, clock: ManualClock) -> None:
    """The epoch tells them apart."""
    looks = lookout(store, oncall={"on": ("stalled",), "stalled_after_ms": MINUTE_MS})
    clock.advance(MINUTE_MS)
    looks.look()
    stores.claimed(store, stores.dead(store, pid_started=2))
    looks.look()
    clock.advance(MINUTE_MS)
    looks.look()

    assert keys(store) == ["1:1:stalled:oncall", "1:2:stalled:oncall"]


def test_a_machine_may_name_who_hears_of_it(store: Store, clock: ManualClock) -> None:
    """Also in `stalled`, which no change of its own says."""
    clock.advance(HOUR_MS)
    assert lookout(store, oncall={}).look() == 0
    assert lookout(store, oncall={}, told=("oncall",)).look() == 1


def test_a_machine_that_is_gone_names_nobody_and_still_stalls(
    store: Store, clock: ManualClock
) -> None:
    """That may be the very reason why nobody drives it."""
    clock.advance(HOUR_MS)
    looks = lookout(store, oncall={"on": ("stalled",)}, team={}, told=("team",))
    looks._catalog = Catalog(load_config(start=store.path.parent, environ={}))

    assert looks.look() == 1
    assert keys(store) == ["1:1:stalled:oncall"]


def test_with_nobody_to_tell_nobody_looks(store: Store, clock: ManualClock) -> None:
    """It costs a query otherwise."""
    clock.advance(HOUR_MS)

    assert lookout(store).look() == 0


def test_a_clock_that_is_set_back_does_not_silence_it(store: Store, clock: ManualClock) -> None:
    """Once too often is better than never again."""
    looks = lookout(store, oncall={"on": ("stalled",), "repeat_after_ms": HOUR_MS})
    clock.advance(HOUR_MS)
    looks.look()
    clock.set_wall(clock.now_ms() - 1_000 * HOUR_MS)

    assert looks.look() == 1
    assert looks.look() == 0
