"""What a scrape reads of a store: whole, at one moment, without a scan, in bounded time."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from statepipe.clock import SystemClock
from statepipe.errors import Busy, StoreUnusable
from statepipe.figures import QUEUE_COUNTED_MAX, Known, Snapshot
from statepipe.sqlite import sqlite3
from statepipe.store import snapshot as module
from statepipe.store.file.connection import Store
from statepipe.store.file.opening import open_reader
from statepipe.store.metrics.counters import Counters
from statepipe.store.snapshot import file_sizes, read_snapshot
from statepipe.store.steering import instances as steering
from statepipe.store.walk.committer import Committer
from statepipe.testing import ManualClock
from tests.store.stores import (
    claimed,
    created,
    dead,
    failing,
    opened,
    plain,
    registered,
    waiting,
)

#: Every query of the module, by its name there.
QUERIES = {
    name: value
    for name, value in vars(module).items()
    if isinstance(value, str) and "SELECT" in value and "{" not in value
}


@pytest.fixture
def clock() -> ManualClock:
    """Return the test's time."""
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Store:
    """Open a store by the test's clock."""
    return opened(tmp_path, clock)


def _read(store: Store, *, exemplars: bool = False) -> Snapshot:
    return read_snapshot(store.path, clock=store.clock, exemplars=exemplars, most_ms=5_000)


def _commit(store: Store, *changes: Any) -> None:  # noqa: ANN401  (changes, made below)
    Committer(store).commit(changes, {}, policies={})


def test_an_empty_store_says_that_nothing_is_there(store: Store) -> None:
    """No error: it is how every store begins."""
    seen = _read(store)

    assert (seen.taken, seen.counts, seen.machines) == ([], [], [])
    assert (seen.queue_depth, seen.queue_since_ms, seen.workers) == (0, None, 0)


def test_what_is_ready_and_free_is_the_queue(store: Store, clock: ManualClock) -> None:
    """Since when: since the longest waiting has been ready."""
    created(store, "a")
    first_ms = clock.now_ms()
    clock.advance(5_000)
    created(store, "b", "c")

    seen = _read(store)

    assert (seen.queue_depth, seen.queue_since_ms, seen.held) == (3, first_ms, 0)


def test_a_queue_whose_head_was_put_back_has_waited_as_long_as_the_next(
    store: Store, clock: ManualClock
) -> None:
    """A worker that stops gives back what it held; those behind have waited all the time."""
    created(store, "a", "b")
    with store.write() as connection:
        connection.execute(
            "UPDATE instance SET seq = seq + 1, updated_at_ms = ?, change = 'interrupt'"
            " WHERE id = 'a'",
            (clock.now_ms() + 60_000,),
        )

    assert _read(store).queue_since_ms == clock.now_ms()


def test_a_wait_that_is_over_is_in_the_queue_and_no_other(store: Store, clock: ManualClock) -> None:
    """Due by the clock that leases trust, whatever the wall clock says."""
    created(store, "a", "b")
    one, two = claimed(store, registered(store))
    _commit(store, waiting(one, clock=clock, delay_ms=1_000))
    _commit(store, waiting(two, clock=clock, delay_ms=60_000))
    due_ms = clock.now_ms() + 1_000
    assert _read(store).queue_depth == 0

    clock.advance(3_000)
    seen = _read(store)

    assert (seen.queue_depth, seen.queue_since_ms) == (1, due_ms)


def test_a_wait_of_another_boot_is_due_as_it_is_claimed(store: Store, clock: ManualClock) -> None:
    """When the wall clock has passed it, or one delay after start-up."""
    created(store, "a", "b")
    one, two = claimed(store, registered(store))
    _commit(store, waiting(one, clock=clock, delay_ms=30_000))
    _commit(store, waiting(two, clock=clock, delay_ms=3_600_000))

    clock.reboot(down_ms=60_000)

    assert _read(store).queue_depth == 1


def test_what_a_live_worker_holds_is_in_use_and_what_a_dead_one_holds_is_stalled(
    store: Store, clock: ManualClock
) -> None:
    """By machine: an alert says which pipeline waits for a driver."""
    created(store, "a")
    claimed(store, dead(store))
    created(store, "b", "c")
    worker = registered(store)
    assert len(claimed(store, worker)) == 3  # it takes what the dead one left

    alive = _read(store)
    clock.advance(60_000)  # its lease passes
    gone = _read(store)

    assert (alive.workers, alive.slots_in_use, dict(alive.stalled)) == (1, 3, {})
    assert (gone.workers, gone.slots_in_use, dict(gone.stalled)) == (0, 0, {"m": 3})
    assert gone.held == 3


def test_the_oldest_that_has_not_ended_is_known_by_machine(
    store: Store, clock: ManualClock
) -> None:
    """What is done, failed or cancelled no longer counts; a paused one does."""
    oldest_ms = clock.now_ms()
    created(store, "a")
    clock.advance(1_000)
    created(store, "b")
    assert _read(store).oldest_at_ms == {"m": oldest_ms}

    (one, _) = claimed(store, registered(store))
    _commit(store, failing(one))

    assert _read(store).oldest_at_ms == {"m": oldest_ms + 1_000}


def test_a_machine_is_what_it_was_registered_as_last(store: Store) -> None:
    """One row each, however often it changed."""
    for version in (1, 2):
        digest = f"d{version}"
        steering.define(store, machine="m", version=version, digest=digest, body="{}")

    assert _read(store).machines == [Known("m", 2, "d2", "{}")]


def test_figures_come_as_they_are_written(store: Store, clock: ManualClock) -> None:
    """All of one commit, or nothing of it."""
    created(store, "a")
    (at,) = claimed(store, registered(store))
    _commit(store, plain(at, "s1", at_ms=clock.now_ms()))

    seen = _read(store)

    assert [(row.source, row.target, row.times, row.pruned) for row in seen.taken] == [
        ("", "s0", 1, 0),
        ("s0", "s1", 1, 0),
    ]
    assert ("attempts", "m", "s0", "ok", 1) in seen.counts
    assert {row.metric for row in seen.timings} >= {"state", "queue"}


def test_notices_that_are_not_settled_are_pending(store: Store) -> None:
    """By target: a dead one is seen; one that waits for its target's rate is none of them."""
    sql = (
        "INSERT INTO notice (key, event, target, machine, body, at_ms, next_at_ms, done_at_ms,"
        " outcome) VALUES (?, ?, ?, 'm', '{}', 1, 1, ?, ?)"
    )
    with store.write() as connection:
        connection.execute(sql, ("k1", "failed", "oncall", None, None))
        connection.execute(sql, ("k2", "failed", "oncall", None, None))
        connection.execute(sql, ("k3", "failed", "mail", 5, "sent"))
        connection.execute(sql, ("k4", "dropped", "mail", None, None))

    assert _read(store).pending == {"oncall": 2}


def test_ids_are_of_recent_observations_and_bounded(store: Store, clock: ManualClock) -> None:
    """They are for exemplars; Prometheus has seen the older ones."""
    numbers = created(store, *(f"i{number}" for number in range(1_200)))
    counters = Counters()
    now_ms = clock.now_ms()
    for at, number in enumerate(numbers):
        moment = now_ms - (4_000_000 if at == 0 else at)
        counters.time("state", "m", f"s{at}", "ok", us=1, at_ms=moment, instance=number)
    with store.write() as connection:
        counters.write(connection)

    seen = _read(store, exemplars=True)

    assert len(seen.ids) == 1_000
    assert seen.ids[numbers[1]] == "i1"  # the latest
    assert numbers[0] not in seen.ids  # over an hour ago
    assert numbers[-1] not in seen.ids  # one of more than a thousand
    assert _read(store).ids == {}


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_walks_through_all_instances(store: Store, name: str) -> None:
    """Instances are found by an index of those that matter; the tables of figures are small."""
    facts = {"now_ms": 1, "boot_ms": 1, "boot_id": "b", "wall": "w", "most": 1, "head": 1}

    plan = store.connection.execute(f"EXPLAIN QUERY PLAN {QUERIES[name]}", facts).fetchall()

    steps = [step for *_, step in plan]
    by_index = ("instance_free", "instance_timer", "instance_held", "instance_unfinished")
    for step in steps:
        assert "journal" not in step
        if " instance " in f"{step} ":
            assert any(index in step for index in by_index), steps


def test_a_long_queue_is_not_counted_to_its_end() -> None:
    """A million entries take longer to count than a scrape may; the rest is worked out."""
    assert "LIMIT :most" in QUERIES["_FREE"]
    assert QUEUE_COUNTED_MAX == 100_000


class Fleeting(ManualClock):
    """A clock of which each look takes some time."""

    def boot_ms(self) -> int:
        """Let 10 ms pass, and return what it is then."""
        self.advance(10)
        return super().boot_ms()


@pytest.mark.parametrize("most_ms", [5, 45])
def test_reading_that_takes_too_long_is_given_up(store: Store, most_ms: int) -> None:
    """A scrape that goes on when nobody waits for it any more helps nobody."""
    with pytest.raises(Busy, match=f"longer than {most_ms} ms"):
        read_snapshot(store.path, clock=Fleeting(), exemplars=False, most_ms=most_ms)


def test_one_query_that_takes_too_long_is_cut_off(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in its middle; its rows are not worth waiting for."""
    endless = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT max(n) FROM n"
    monkeypatch.setattr(module, "_TAKEN", endless)

    with pytest.raises(Busy, match="longer than 200 ms"):
        read_snapshot(store.path, clock=SystemClock(), exemplars=False, most_ms=200)


def test_no_snapshot_stays_behind(store: Store) -> None:
    """The WAL can be emptied as soon as a scrape was read, however slowly it is then sent."""
    created(store, "a")
    seen = _read(store)

    assert store.checkpoint_wal(above_bytes=0)
    assert seen.queue_depth == 1
    assert file_sizes(store.path) == (store.path.stat().st_size, 0)


def test_a_reader_keeps_no_writer_waiting(store: Store) -> None:
    """In the middle of a scrape a commit goes through at once."""
    with closing(open_reader(store.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM counter").fetchone()

        created(store, "a")

        assert reader.execute("SELECT count(*) FROM instance").fetchone() == (0,)


def test_a_store_that_is_not_there_has_no_size_and_cannot_be_read(tmp_path: Path) -> None:
    """And is not made."""
    path = tmp_path / "statepipe.db"

    assert file_sizes(path) is None
    with pytest.raises(StoreUnusable, match="no checkpoint store"):
        read_snapshot(path, clock=ManualClock(), exemplars=False, most_ms=5_000)
    assert list(tmp_path.iterdir()) == []


def test_sizes_are_of_the_file_and_its_wal(store: Store) -> None:
    """By stat alone: opening and closing the file would drop the locks of this process."""
    created(store, "a")
    wal = store.path.with_name("statepipe.db-wal")

    assert file_sizes(store.path) == (store.path.stat().st_size, wal.stat().st_size)


def test_a_damaged_store_is_refused_by_name(tmp_path: Path) -> None:
    """Nothing of it is served as if it were true."""
    path = tmp_path / "statepipe.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (n)")

    with pytest.raises(StoreUnusable, match="no statepipe store"):
        read_snapshot(path, clock=ManualClock(), exemplars=False, most_ms=5_000)
