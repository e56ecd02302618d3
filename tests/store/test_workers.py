"""Rows of worker processes: leases, and when a row may be cleared away."""

import os
from pathlib import Path

import pytest

from statepipe.sqlite import sqlite3
from statepipe.store import liveness
from statepipe.store.file.connection import Store
from statepipe.store.liveness import Worker
from statepipe.store.walk import workers
from statepipe.store.walk.workers import Identity
from statepipe.testing import ManualClock
from tests.store import stores


def test_this_process_knows_itself(tmp_path: Path) -> None:
    """What it says of itself is what the kernel says of it to others."""
    store = stores.opened(tmp_path)
    worker = stores.registered(store)

    assert (worker.pid, worker.beat, worker.stopped_at_ms) == (os.getpid(), 0, None)
    assert liveness.pid_started(os.getpid()) == worker.pid_started
    assert liveness.pid_started(2**22 + 1) is None
    assert not liveness.is_dead(worker, clock=store.clock)


def test_a_process_that_has_ended_and_was_not_waited_for_is_dead() -> None:
    """A zombie of the operating system drives nothing."""
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)

    assert liveness.pid_started(child) is None
    os.waitpid(child, 0)


def test_a_kernel_without_time_namespaces_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process is known by its pid namespace then, and lives as any other."""
    monkeypatch.setattr(liveness, "_NAMESPACES", ("pid", "of_a_later_kernel"))
    store = stores.opened(tmp_path)

    worker = stores.registered(store)

    assert worker.pid_space == str(Path("/proc/self/ns/pid").readlink())
    assert not liveness.is_dead(worker, clock=store.clock)


def test_a_process_of_another_namespace_is_judged_by_its_lease_alone(tmp_path: Path) -> None:
    """Its process number means nothing here."""
    clock = ManualClock()
    store = stores.opened(tmp_path, clock)
    elsewhere = Identity(host="pod", pid=2**22 + 1, pid_started=7, pid_space="pid:[1] time:[2]")
    worker = workers.register(store, elsewhere, lease_ms=1_000)

    clock.advance(999)
    assert not liveness.is_dead(worker, clock=clock)
    clock.advance(1)
    assert liveness.is_dead(worker, clock=clock)


def test_no_wall_clock_ends_a_lease(tmp_path: Path) -> None:
    """R10."""
    clock = ManualClock()
    worker = stores.registered(stores.opened(tmp_path, clock))

    for wall_ms in (0, 2**31 * 1_000, 4_102_444_800_000):
        clock.set_wall(wall_ms)
        assert not liveness.is_dead(worker, clock=clock)


def test_renewing_moves_the_end_and_raises_the_beat(tmp_path: Path) -> None:
    """The end lies a whole lease after the renewal, not after the last end."""
    clock = ManualClock()
    store = stores.opened(tmp_path, clock)
    worker = stores.registered(store, lease_ms=1_000)
    clock.advance(400)

    workers.renew(store, worker)
    workers.renew(store, worker)

    (now,) = liveness.workers(store.connection)
    assert (now.beat, now.deadline_boot_ms) == (2, clock.boot_ms() + 1_000)


def test_dead_workers_are_cleared_away_unless_an_instance_needs_them(tmp_path: Path) -> None:
    """Rows do not pile up; whoever still holds something stays for `inspect` to name."""
    store = stores.opened(tmp_path)
    holder = stores.dead(store)
    stores.created(store, "a")
    stores.claimed(store, holder)
    stores.dead(store, pid_started=2)
    stores.dead(store, pid_started=3)

    me = stores.registered(store)

    assert {worker.n for worker in liveness.workers(store.connection)} == {holder.n, me.n}


def test_a_number_is_never_given_twice(tmp_path: Path) -> None:
    """Two processes under one number would take each other's instances for their own."""
    store = stores.opened(tmp_path)
    given = [stores.dead(store, pid_started=started).n for started in range(1, 6)]

    assert len(set(given)) == len(given)


def test_a_worker_that_renews_while_it_is_judged_is_kept(tmp_path: Path) -> None:
    """The beat it was judged by must still be its beat."""
    clock = ManualClock()
    store = stores.opened(tmp_path, clock)
    late = stores.registered(store, lease_ms=1_000)
    stores.registered(store)
    clock.advance(1_000)
    other = stores.opened(tmp_path, clock)
    begin = other._begin

    def late_renews_first() -> None:
        workers.renew(store, late)
        begin()

    other._begin = late_renews_first  # type: ignore[method-assign]  # a test owns it
    stores.registered(other)

    assert late.n in {worker.n for worker in liveness.workers(store.connection)}


def test_a_worker_that_was_forgotten_comes_back_with_a_beat_it_never_had(tmp_path: Path) -> None:
    """Or who judged it before would void what it holds since: it is known by number and beat."""
    clock = ManualClock()
    store = stores.opened(tmp_path, clock)
    late = stores.registered(store, lease_ms=1_000)
    beats = {late.beat}
    for _ in range(2):
        for _ in range(3):
            workers.renew(store, late)
            beats.add(_beat_of(store, late))
        stores.registered(store)
        clock.advance(1_000)
        stores.registered(store)
        assert late.n not in {worker.n for worker in liveness.workers(store.connection)}

        workers.renew(store, late)

        assert _beat_of(store, late) not in beats
        beats.add(_beat_of(store, late))


def test_a_row_is_as_strict_as_its_columns(tmp_path: Path) -> None:
    """No worker without a process, no lease without an end."""
    store = stores.opened(tmp_path)
    stores.registered(store)

    for change in ("pid = 0", "lease_ms = 0", "beat = -1"):
        try:
            with store.write() as connection:
                connection.execute(f"UPDATE worker SET {change}")
        except sqlite3.IntegrityError:
            continue
        raise AssertionError(change)


def _beat_of(store: Store, worker: Worker) -> int:
    return next(each.beat for each in liveness.workers(store.connection) if each.n == worker.n)
