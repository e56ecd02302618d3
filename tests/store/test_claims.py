"""The right to drive: who gets it, from whom, and that two never have it."""

import os
from pathlib import Path

import pytest

from statepipe.errors import Busy, NotFound, Refused
from statepipe.store import liveness
from statepipe.store.file.connection import Store
from statepipe.store.steering import instances as steering
from statepipe.store.walk import asking, claims, ready, resuming, workers
from statepipe.store.walk.committer import Committer, Verdict
from statepipe.store.walk.ready import Scope
from statepipe.store.walk.workers import Identity
from statepipe.testing import ManualClock, violations
from tests.store import stores


def test_a_ready_instance_is_claimed_once_with_the_next_epoch(tmp_path: Path) -> None:
    """Two connections ask; the second finds nothing left."""
    first, second = stores.opened(tmp_path), stores.opened(tmp_path)
    stores.created(first, "a", "b")

    got = stores.claimed(first, stores.registered(first))

    assert [(at.id, at.epoch, at.seq, at.state) for at in got] == [
        ("a", 1, 2, "s0"),
        ("b", 1, 2, "s0"),
    ]
    assert stores.claimed(second, stores.registered(second)) == []
    assert violations(first.path) == []


def test_asking_when_nothing_is_ready_writes_nothing(tmp_path: Path) -> None:
    """An idle worker polls five times a second; that must cost no fsync."""
    store = stores.opened(tmp_path)
    worker = stores.registered(store)
    wal = store.path.with_name("statepipe.db-wal")
    before = wal.stat().st_size

    assert stores.claimed(store, worker) == []

    assert wal.stat().st_size == before


def test_no_more_are_claimed_than_asked_for(tmp_path: Path) -> None:
    """The limit holds over all the ways to be ready together."""
    store = stores.opened(tmp_path)
    gone = stores.dead(store)
    stores.created(store, "a", "b")
    stores.claimed(store, gone)
    stores.created(store, "c", "d")

    got = claims.claim_ready(store, stores.registered(store), scope=stores.ALL, limit=3)

    assert [at.id for at in got] == ["a", "b", "c"]


def test_a_scope_names_the_instances_and_definitions_that_may_be_claimed(tmp_path: Path) -> None:
    """Whatever is outside is left alone, and so is its timer."""
    store = stores.opened(tmp_path)
    worker = stores.registered(store)
    a, b = stores.created(store, "a", "b")

    nothing = Scope(definitions=frozenset({99}))
    assert stores.claimed(store, worker, scope=nothing) == []
    assert stores.claimed(store, worker, scope=Scope(instances=frozenset())) == []
    assert [at.n for at in stores.claimed(store, worker, scope=Scope(frozenset({b})))] == [b]
    assert [at.n for at in stores.claimed(store, worker, scope=Scope(frozenset({a, b})))] == [a]


# ---- timers ---------------------------------------------------------------------------


def parked(tmp_path: Path, clock: ManualClock, *, delay_ms: int = 10_000) -> Store:
    """Return a store with one instance that waits."""
    store = stores.opened(tmp_path, clock)
    stores.created(store, "a")
    (at,) = stores.claimed(store, stores.registered(store, lease_ms=1_000_000_000))
    change = stores.waiting(at, clock=clock, delay_ms=delay_ms)
    assert Committer(store).commit([change], {}, policies={}) == [Verdict.COMMITTED]
    return store


def test_a_timer_fires_by_the_boot_clock_and_not_a_moment_before(tmp_path: Path) -> None:
    """R6: neither lost nor shortened."""
    clock = ManualClock()
    store = parked(tmp_path, clock)
    worker = stores.registered(store)

    clock.advance(9_999)
    assert stores.claimed(store, worker) == []
    clock.advance(1)
    assert [at.attempt for at in stores.claimed(store, worker)] == [1]


@pytest.mark.parametrize("jump_ms", [-86_400_000, -1_000, 1_000, 86_400_000, 500_000_000_000])
def test_the_wall_clock_may_jump_while_a_timer_waits(tmp_path: Path, jump_ms: int) -> None:
    """R10: on the boot that armed it, only the boot clock counts."""
    clock = ManualClock()
    store = parked(tmp_path, clock)
    worker = stores.registered(store)

    clock.set_wall(clock.now_ms() + jump_ms)
    assert stores.claimed(store, worker) == []
    assert ready.next_timer_boot_ms(store, scope=stores.ALL) == clock.boot_ms() + 10_000
    clock.advance(10_000)
    assert len(stores.claimed(store, worker)) == 1


def test_after_a_reboot_a_timer_fires_when_the_wall_clock_has_passed_it(tmp_path: Path) -> None:
    """The time the machine was off counts."""
    clock = ManualClock()
    store = parked(tmp_path, clock)
    clock.reboot(down_ms=9_000)
    worker = stores.registered(store)

    assert stores.claimed(store, worker) == []
    assert ready.next_timer_boot_ms(store, scope=stores.ALL) == clock.boot_ms() + 1_000
    clock.advance(1_000)
    assert len(stores.claimed(store, worker)) == 1


def test_after_a_reboot_a_timer_waits_at_most_one_delay(tmp_path: Path) -> None:
    """A wall clock that was set back while the machine was off cannot hold it for ever."""
    clock = ManualClock()
    store = parked(tmp_path, clock)
    clock.reboot()
    clock.set_wall(0)
    worker = stores.registered(store)

    clock.advance(8_999)  # a boot begins at 1,000 ms here
    assert stores.claimed(store, worker) == []
    assert ready.next_timer_boot_ms(store, scope=stores.ALL) == clock.boot_ms() + 1
    clock.advance(1)
    assert len(stores.claimed(store, worker)) == 1


def test_no_timer_is_told_of_when_none_waits(tmp_path: Path) -> None:
    """None is what lets a worker end with `until_idle`."""
    store = stores.opened(tmp_path)
    stores.created(store, "a")

    assert ready.next_timer_boot_ms(store, scope=stores.ALL) is None


# ---- takeover -------------------------------------------------------------------------


def test_a_worker_whose_process_was_born_at_another_moment_is_dead(tmp_path: Path) -> None:
    """Its number was given to another process; nobody waits out its lease."""
    store = stores.opened(tmp_path)
    gone, worker = stores.dead(store), stores.registered(store)
    stores.created(store, "a")
    stores.claimed(store, gone)

    (at,) = stores.claimed(store, worker)

    assert (at.epoch, at.lost, at.seq) == (2, 1, 3)
    assert stores.row(store)["worker"] == worker.n
    event, note = store.connection.execute(
        "SELECT event, note FROM journal WHERE seq = 3"
    ).fetchone()
    assert (event, note) == ("takeover", f"{worker.name} from {gone.name}")


def test_a_worker_whose_process_is_gone_is_dead(tmp_path: Path) -> None:
    """As after kill -9."""
    store = stores.opened(tmp_path)
    child = os.posix_spawn("/bin/true", ["true"], {})
    started = liveness.pid_started(child)
    os.waitpid(child, 0)
    me = Identity.of_this_process()
    gone = workers.register(
        store, Identity(host=me.host, pid=child, pid_started=started or 0, pid_space=me.pid_space)
    )
    stores.created(store, "a")
    stores.claimed(store, gone)

    assert len(stores.claimed(store, stores.registered(store))) == 1


def test_a_worker_of_another_boot_is_dead(tmp_path: Path) -> None:
    """Whatever process has its number now."""
    clock = ManualClock()
    store = stores.opened(tmp_path, clock)
    stores.created(store, "a")
    stores.claimed(store, stores.registered(store))
    clock.reboot()

    assert len(stores.claimed(store, stores.registered(store))) == 1


def test_a_worker_that_let_its_lease_pass_is_dead_and_fenced(tmp_path: Path) -> None:
    """R3: stopped for longer than its lease, it wakes and writes in vain."""
    clock = ManualClock()
    store = stores.opened(tmp_path, clock)
    zombie, worker = stores.registered(store, lease_ms=1_000), stores.registered(store)
    stores.created(store, "a")
    (old,) = stores.claimed(store, zombie)
    clock.advance(999)
    assert stores.claimed(store, worker) == []
    clock.advance(1)

    (new,) = stores.claimed(store, worker)

    committer = Committer(store)
    late = stores.plain(old, "done", status="done")
    assert committer.commit([late], {}, policies={}) == [Verdict.FENCED]
    assert committer.commit([stores.plain(new, "s1")], {}, policies={}) == [Verdict.COMMITTED]
    assert violations(store.path) == []


def test_a_live_worker_is_never_taken_from(tmp_path: Path) -> None:
    """However often somebody asks, as long as it renews."""
    clock = ManualClock()
    store = stores.opened(tmp_path, clock)
    alive, other = stores.registered(store, lease_ms=1_000), stores.registered(store)
    stores.created(store, "a")
    stores.claimed(store, alive)

    for _ in range(5):
        clock.advance(900)
        workers.renew(store, alive)
        assert stores.claimed(store, other) == []
        with pytest.raises(Busy, match=f"process {os.getpid()} on {alive.host}"):
            stores.resumed(store, other)


def test_a_lease_renewed_while_it_was_judged_saves_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Death is judged before the transaction; the beat tells inside it that life went on."""
    clock = ManualClock()
    store, mine = stores.opened(tmp_path, clock), stores.opened(tmp_path, clock)
    late, other = stores.registered(store, lease_ms=1_000), stores.registered(mine)
    stores.created(store, "a")
    stores.claimed(store, late)
    clock.advance(1_000)
    judge = claims.dead_workers

    def judged(*args: object, **kwargs: object) -> object:
        found = judge(*args, **kwargs)  # type: ignore[arg-type]  # the wrong type, or keywords in a dict
        workers.renew(store, late)
        return found

    monkeypatch.setattr(claims, "dead_workers", judged)
    assert stores.claimed(mine, other) == []
    with pytest.raises(Busy):
        stores.resumed(mine, other)


def test_a_worker_that_stopped_in_order_leaves_what_it_held(tmp_path: Path) -> None:
    """Its process lives on, and still its instances may be taken at once."""
    store = stores.opened(tmp_path)
    worker = stores.registered(store)
    stores.created(store, "a")
    stores.claimed(store, worker)

    workers.stop(store, worker)

    assert len(stores.claimed(store, stores.registered(store))) == 1


# ---- resume ---------------------------------------------------------------------------


def test_resume_takes_a_failed_instance_back_with_a_fresh_budget(tmp_path: Path) -> None:
    """`failed` remembers where."""
    clock = ManualClock()
    store = stores.opened(tmp_path, clock)
    worker = stores.registered(store)
    stores.created(store, "a")
    (at,) = stores.claimed(store, worker)
    change = stores.failing(at._replace(attempt=2))
    assert Committer(store).commit([change], {}, policies={}) == [Verdict.COMMITTED]
    assert stores.row(store)["state"] == "failed"
    clock.advance(50)

    now = stores.resumed(store, worker)

    assert (now.state, now.status, now.attempt, now.epoch, now.seq) == ("s0", "ready", 0, 2, 4)
    assert (now.failed_state, now.error, now.entered_at_ms) == (None, None, clock.now_ms())
    assert store.connection.execute("SELECT note FROM journal WHERE seq = 4").fetchone() == (
        "a test",
    )
    assert violations(store.path) == []


@pytest.mark.parametrize("wish", ["cancel", "pause"])
def test_resume_takes_up_what_was_cancelled_or_paused(tmp_path: Path, wish: str) -> None:
    """Each unfinished instance can go on."""
    store = stores.opened(tmp_path)
    stores.created(store, "a")
    assert asking.request(store, instance_id="a", wish=wish, reason=None)  # type: ignore[arg-type]  # the wrong type, or keywords in a dict

    at = stores.resumed(store, stores.registered(store))

    assert (at.state, at.status, at.request) == ("s0", "ready", None)
    assert violations(store.path) == []


def test_resume_ends_a_pause_before_its_time(tmp_path: Path) -> None:
    """Whoever types resume does not want to wait for a backoff."""
    clock = ManualClock()
    store = parked(tmp_path, clock)

    at = stores.resumed(store, stores.registered(store))

    assert (at.attempt, stores.row(store)["wake_at_ms"]) == (0, None)


def test_resume_can_adopt_another_definition(tmp_path: Path) -> None:
    """For `--definition latest`."""
    store = stores.opened(tmp_path)
    stores.created(store, "a")
    newer = steering.define(store, machine="m", version=2, digest="d2", body="{}")

    at = resuming.claim_resume(
        store, stores.registered(store), instance_id="a", reason=None, definition=newer
    )

    assert at is not None
    assert at.definition == newer


def test_resume_refuses_what_is_done_or_not_there(tmp_path: Path) -> None:
    """And changes nothing."""
    store = stores.opened(tmp_path)
    worker = stores.registered(store)
    stores.created(store, "a")
    (at,) = stores.claimed(store, worker)
    Committer(store).commit([stores.plain(at, "done", status="done")], {}, policies={})
    before = stores.row(store)

    with pytest.raises(Refused, match="is done"):
        stores.resumed(store, worker)
    with pytest.raises(NotFound, match="no instance 'b'"):
        stores.resumed(store, worker, "b")

    assert stores.row(store) == before


def test_of_two_resumes_one_wins_and_the_other_is_told_who(tmp_path: Path) -> None:
    """The issue: one wins, the other exits 75 and names the holder."""
    first, second = stores.opened(tmp_path), stores.opened(tmp_path)
    stores.created(first, "a")
    winner, loser = stores.registered(first), stores.registered(second)

    assert stores.resumed(first, winner).epoch == 1
    with pytest.raises(Busy, match=f"driven by process {os.getpid()}") as told:
        stores.resumed(second, loser)

    assert told.value.exit_code == 75
    assert claims.wished(first.connection, winner) == []


def test_a_worker_forgotten_in_its_sleep_claims_again(tmp_path: Path) -> None:
    """Its row was cleared away by the next worker; waking, it writes itself down anew."""
    clock = ManualClock()
    store = stores.opened(tmp_path, clock)
    sleeper = stores.registered(store, lease_ms=1_000)
    stores.created(store, "a", "b")
    clock.advance(1_000)
    other = stores.registered(store)
    assert [worker.n for worker in liveness.workers(store.connection)] == [other.n]

    (a,) = claims.claim_ready(store, sleeper, scope=stores.ALL, limit=1)

    assert (a.id, stores.row(store)["worker"]) == ("a", sleeper.n)
    assert [at.id for at in stores.claimed(store, other)] == ["b"]
    with pytest.raises(Busy):
        stores.resumed(store, other)
