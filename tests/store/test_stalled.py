"""Instances that a dead driver holds: found by the boot clock, announced while it is true."""

from pathlib import Path

import pytest

from statepipe.model import Notice
from statepipe.store.file.connection import Store
from statepipe.store.walk import stalled, workers
from statepipe.store.walk.stalled import Said
from statepipe.testing import ManualClock
from tests.store import stores
from tests.store.test_notices import rows

LEASE_MS = 30_000


@pytest.fixture
def clock() -> ManualClock:
    """Return the time that the test owns."""
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Store:
    """Return a store with one instance, held by a worker that died a moment ago."""
    store = stores.opened(tmp_path, clock)
    stores.created(store, "a")
    stores.claimed(store, stores.dead(store))
    return store


def silences(store: Store, *, least_ms: int = 0) -> list[tuple[str, int]]:
    """Return who is stalled, and for how long at least."""
    return [(each.id, each.silent_ms) for each in stalled.stalled(store, silent_ms_min=least_ms)]


def test_how_long_it_has_been_silent_counts_from_its_last_renewal(
    store: Store, clock: ManualClock
) -> None:
    """Not from when the lease ran out, nor from when somebody looked."""
    clock.advance(1_000)

    assert silences(store) == [("a", 1_000)]
    assert silences(store, least_ms=1_001) == []
    assert stalled.stalled(store, silent_ms_min=0)[0][1:] == (1, "a", "m", 1, 1, "s0", 1)


def test_a_wall_clock_that_jumps_makes_nobody_stalled(store: Store, clock: ManualClock) -> None:
    """Leases are by the boot clock, and so is this."""
    clock.set_wall(clock.now_ms() + 1_000_000_000)

    assert silences(store) == [("a", 0)]


def test_after_a_reboot_it_has_been_silent_since_then_at_least(
    store: Store, clock: ManualClock
) -> None:
    """What was before cannot be compared; no alarm is better than a false one."""
    clock.reboot()
    clock.advance(5_000)

    assert silences(store) == [("a", clock.boot_ms())]


def test_a_driver_that_lives_is_none_of_them(tmp_path: Path, clock: ManualClock) -> None:
    """However long its task takes."""
    store = stores.opened(tmp_path, clock)
    stores.created(store, "a")
    me = stores.registered(store, lease_ms=LEASE_MS)
    stores.claimed(store, me)
    for _ in range(3):
        clock.advance(LEASE_MS - 1)
        workers.renew(store, me)
    assert silences(store) == []

    clock.advance(LEASE_MS)
    assert silences(store) == [("a", LEASE_MS)], "it sleeps, and whoever wants may take over"


def test_what_was_taken_over_meanwhile_is_not_announced(store: Store) -> None:
    """Between the look and the commit a worker may have come."""
    (found,) = stalled.stalled(store, silent_ms_min=0)
    told = Notice("k", "stalled", "oncall", "m", "a", "{}", 1)
    assert stalled.announce(store, [(found, told)]) == 1

    stores.claimed(store, stores.registered(store))
    late = Notice("late", "stalled", "oncall", "m", "a", "{}", 1)

    assert stalled.announce(store, [(found, late)]) == 0
    assert rows(store, "key") == [("k",)]


def test_it_is_known_how_often_something_was_said(store: Store) -> None:
    """Keys with a number behind them are the same occasion; a longer key is another."""
    (found,) = stalled.stalled(store, silent_ms_min=0)
    keys = ["s:1:1:stalled:on", "s:1:1:stalled:on:2", "s:1:1:stalled:oncall", "s:1:1:stalled:o"]
    told = [(found, Notice(key, "stalled", "x", "m", "a", "{}", n)) for n, key in enumerate(keys)]
    stalled.announce(store, told)

    assert stalled.said(store.connection, "s:1:1:stalled:on") == Said(2, 1)
    assert stalled.said(store.connection, "s:1:2:stalled:on") == Said(0, 0)
