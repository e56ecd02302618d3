"""The outbox: one row an occasion, taken by one process at a time, bounded, and counted."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from statepipe.model import Attachment, Notice
from statepipe.store.file.connection import Store
from statepipe.store.metrics.recount import differences
from statepipe.store.walk import notices
from statepipe.store.walk.committer import Committer, Verdict
from statepipe.store.walk.notices import KEPT_MS, Pending, Taken
from statepipe.testing import ManualClock
from tests.store import stores

HOUR_MS = 3_600_000
LEASE_MS = 15_000
TEN_AN_HOUR = (10, HOUR_MS)


def notice(key: str, *, target: str = "oncall", at_ms: int = 0) -> Notice:
    """Return a notice of a failed instance."""
    return Notice(key, "failed", target, "m", "one", "{}", at_ms)


def put(store: Store, *found: Notice) -> None:
    """Put notices into the outbox, as a commit would."""
    with store.write() as connection:
        notices.insert(connection, found)


def retell(key: str, count: int) -> str:
    """Return the body of a notice that stands for `count` others."""
    return json.dumps({"key": key, "dropped": count})


def take(store: Store, target: str = "oncall", rate: tuple[int, int] | None = None) -> Taken | None:
    """Take the next notice of a target."""
    return notices.take(store, target, lease_ms=LEASE_MS, rate=rate, retell=retell)


def sent(store: Store, times: int, *, rate: tuple[int, int] | None = None) -> list[str]:
    """Take and send up to `times` notices; return their keys."""
    keys = []
    for _ in range(times):
        if (taken := take(store, rate=rate)) is not None:
            notices.sent(store, taken)
            keys.append(taken.key)
    return keys


def rows(store: Store, columns: str = "key, tries, outcome, error") -> list[tuple[Any, ...]]:
    """Return the outbox."""
    return [
        tuple(row) for row in store.connection.execute(f"SELECT {columns} FROM notice ORDER BY n")
    ]


def counted(store: Store) -> dict[tuple[str, str], int]:
    """Return how many notices were done with, by target and outcome."""
    sql = "SELECT state, label, value FROM counter WHERE metric = 'notices' AND machine = ''"
    return {(target, outcome): value for target, outcome, value in store.connection.execute(sql)}


@pytest.fixture
def clock() -> ManualClock:
    """Return the time that the test owns."""
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Store:
    """Return an empty store."""
    return stores.opened(tmp_path, clock)


def test_the_same_occasion_makes_one_notice(store: Store) -> None:
    """Whoever finds it a second time, and says it otherwise, changes nothing."""
    put(store, notice("a"))
    put(store, notice("a")._replace(body='{"again": true}'), notice("b"))

    assert rows(store, "key, body") == [("a", "{}"), ("b", "{}")]


def test_a_notice_is_committed_with_its_change_or_not_at_all(store: Store) -> None:
    """An alert is never announced for what another process has meanwhile made untrue."""
    me = stores.registered(store)
    stores.created(store, "a", "b")
    a, b = stores.claimed(store, me)
    stores.stolen(store, "b")
    attached = {
        n: Attachment(stores.stay_of(at), "s0", notices=(notice(at.id),))
        for n, at in enumerate((a, b))
    }

    verdicts = Committer(store).commit(
        [stores.failing(a), stores.failing(b)], attached, policies={}
    )

    assert verdicts == [Verdict.COMMITTED, Verdict.FENCED]
    assert rows(store, "key, tries, next_at_ms") == [("a", 0, 0)]


def test_what_is_due_is_found_by_target_and_nothing_is_said_of_the_others(
    store: Store, clock: ManualClock
) -> None:
    """A process knows the targets of its own configuration only."""
    put(store, notice("a"), notice("b", target="team"))

    assert notices.due(store, ["oncall", "mail"]) == ["oncall"]
    assert sent(store, 2) == ["a"]
    assert notices.due(store, ["oncall", "mail"]) == []
    assert notices.pending(store.connection) == [Pending("team", 1, 0)]
    assert clock.now_ms() > 0


def test_a_notice_that_one_process_has_taken_is_left_alone_until_its_lease_ends(
    store: Store, tmp_path: Path, clock: ManualClock
) -> None:
    """Two senders, or a sender and a cron job, do not tell people twice."""
    other = stores.opened(tmp_path, clock)
    put(store, notice("a"))

    first = take(store)
    assert first is not None
    assert (first.key, first.tries) == ("a", 1)
    assert take(other) is None
    assert notices.due(other, ["oncall"]) == []

    clock.advance(LEASE_MS)
    second = take(other)
    assert second is not None
    assert (second.key, second.tries) == ("a", 2), "its sender died: the same key again"


def test_two_connections_that_take_at_once_never_get_the_same(
    store: Store, tmp_path: Path, clock: ManualClock
) -> None:
    """The write lock orders them, whatever both had read before."""
    put(store, *(notice(f"k{n}") for n in range(50)))
    gotten: list[str] = []

    def work(own: Store) -> None:
        while (taken := take(own)) is not None:
            gotten.append(taken.key)

    threads = [
        threading.Thread(target=work, args=[stores.opened(tmp_path, clock)]) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(gotten) == sorted(f"k{n}" for n in range(50))


def test_a_failure_is_kept_with_its_reason_and_tried_again_later(
    store: Store, clock: ManualClock
) -> None:
    """Later than what came meanwhile: the oldest due goes first."""
    put(store, notice("a"))
    taken = take(store)
    assert taken is not None
    notices.failed(store, taken, error="503", next_at_ms=clock.now_ms() + 10_000)
    put(store, notice("b", at_ms=clock.now_ms()))

    assert sent(store, 2) == ["b"]
    assert rows(store) == [("a", 1, None, "503"), ("b", 1, "sent", None)]
    clock.advance(10_000)
    assert sent(store, 1) == ["a"]
    assert rows(store)[0] == ("a", 2, "sent", None)


def test_what_is_given_up_is_never_tried_again(store: Store, clock: ManualClock) -> None:
    """Its last reason stays, for people."""
    put(store, notice("a"))
    taken = take(store)
    assert taken is not None
    notices.give_up(store, taken, error="404")
    clock.advance(HOUR_MS)

    assert take(store) is None
    assert rows(store) == [("a", 1, "given up", "404")]
    assert counted(store) == {("oncall", "given up"): 1}


def test_of_two_processes_that_sent_the_same_each_end_counts_once(
    store: Store, clock: ManualClock
) -> None:
    """The first one was slow, not dead; that it failed says nothing of the second."""
    put(store, notice("a"), notice("b"))
    first = take(store)
    assert first is not None
    clock.advance(LEASE_MS)
    second = take(store)
    assert second is not None
    assert second.n == first.n + 1, "the one that was never tried goes first"
    third = take(store)
    assert third is not None
    assert third.n == first.n

    notices.failed(store, first, error="late", next_at_ms=clock.now_ms() + HOUR_MS)
    assert rows(store, "error, next_at_ms")[0] == (None, clock.now_ms() + LEASE_MS)
    notices.sent(store, first)
    notices.sent(store, third)
    notices.give_up(store, third, error="no")

    assert rows(store)[0] == ("a", 2, "sent", None)
    assert counted(store) == {("oncall", "sent"): 1}


def test_beyond_the_rate_notices_are_dropped_and_one_says_how_many(
    store: Store, clock: ManualClock
) -> None:
    """Twenty-seven failures are ten messages, and an eleventh when there is room again."""
    put(store, *(notice(f"k{n:02}") for n in range(20)))
    assert sent(store, 30, rate=TEN_AN_HOUR) == [f"k{n:02}" for n in range(10)]
    put(store, *(notice(f"k{n:02}") for n in range(20, 27)))
    assert sent(store, 1, rate=TEN_AN_HOUR) == []

    (first,) = store.connection.execute("SELECT n FROM notice WHERE key = 'k10'").fetchone()
    summary = f"{store.store_id}:dropped:{first}:oncall"
    assert counted(store) == {("oncall", "sent"): 10, ("oncall", "dropped"): 17}
    assert notices.pending(store.connection) == [Pending("oncall", 1, clock.now_ms() + HOUR_MS)]

    clock.advance(HOUR_MS - 1)
    assert notices.due(store, ["oncall"]) == []
    clock.advance(1)
    taken = take(store, rate=TEN_AN_HOUR)
    assert taken is not None
    assert (taken.key, json.loads(taken.body)) == (summary, {"key": summary, "dropped": 17})


def test_a_summary_that_finds_no_room_waits_and_is_never_dropped(
    store: Store, clock: ManualClock
) -> None:
    """Somebody must learn that there was more."""
    put(store, notice("a"), notice("b"))
    assert sent(store, 2, rate=(1, HOUR_MS)) == ["a"]
    clock.advance(HOUR_MS)
    put(store, notice("c", at_ms=clock.now_ms()))

    assert [key.split(":")[1] for key in sent(store, 1, rate=(1, HOUR_MS))] == ["dropped"]
    assert sent(store, 1, rate=(1, HOUR_MS)) == []
    clock.advance(HOUR_MS)
    (second,) = sent(store, 1, rate=(1, HOUR_MS))

    assert second.split(":")[1] == "dropped"
    assert counted(store) == {("oncall", "sent"): 3, ("oncall", "dropped"): 2}


def test_a_delivery_under_way_counts_against_the_rate(store: Store, clock: ManualClock) -> None:
    """Otherwise two processes would send one more than is allowed."""
    put(store, notice("a"), notice("b"))
    first = take(store, rate=(1, HOUR_MS))
    assert first is not None
    assert take(store, rate=(1, HOUR_MS)) is None

    assert rows(store)[1][:3] == ("b", 0, "dropped")
    notices.failed(store, first, error="no", next_at_ms=clock.now_ms())
    assert take(store, rate=(1, HOUR_MS)) is not None, "what failed used nothing up"


def test_a_clock_that_is_set_back_delays_nothing_for_long(store: Store, clock: ManualClock) -> None:
    """A year would be worse than one message too many."""
    put(store, notice("a", at_ms=clock.now_ms()))
    taken = take(store)
    assert taken is not None
    notices.failed(store, taken, error="no", next_at_ms=clock.now_ms() + HOUR_MS)
    clock.set_wall(clock.now_ms() - 365 * 24 * HOUR_MS)

    assert notices.due(store, ["oncall"]) == ["oncall"]
    assert sent(store, 1, rate=TEN_AN_HOUR) == ["a"]


def test_old_notices_go_and_those_that_wait_for_nobody_are_given_up(
    store: Store, clock: ManualClock
) -> None:
    """A target that was taken out of the configuration holds nothing up for ever."""
    put(store, notice("old"))
    assert sent(store, 1) == ["old"]
    clock.advance(KEPT_MS // 2)
    put(store, notice("waits", target="gone", at_ms=clock.now_ms()))
    clock.advance(KEPT_MS // 2 + 1)
    put(store, notice("new", at_ms=clock.now_ms()))

    notices.sweep(store)
    assert [key for (key,) in rows(store, "key")] == ["waits", "new"]
    clock.advance(KEPT_MS // 2)
    notices.sweep(store)

    assert rows(store)[0] == ("waits", 0, "given up", "nobody could send it in time")
    assert counted(store) == {("oncall", "sent"): 1, ("gone", "given up"): 1}
    before = store.connection.total_changes
    notices.sweep(store)
    assert store.connection.total_changes == before, "nothing to do costs no commit"


def test_who_slept_while_its_notice_was_deleted_ends_no_other_one(
    store: Store, clock: ManualClock
) -> None:
    """Its number is not given again, nor the key of a summary, which is made of a number."""
    put(store, notice("slept", at_ms=clock.now_ms()))
    sleeper = take(store)
    assert sleeper is not None
    for age_ms in (KEPT_MS, KEPT_MS + 1):
        clock.advance(age_ms + 1)
        notices.sweep(store)
    assert rows(store, "key, outcome") == [("slept", "given up")], "the newest stays"
    before = store.connection.total_changes
    notices.sweep(store)
    assert store.connection.total_changes == before, "and costs no commit"

    put(store, notice("new", at_ms=clock.now_ms()))
    notices.sweep(store)
    assert rows(store, "key") == [("new",)]
    notices.sent(store, sleeper)
    notices.give_up(store, sleeper, error="no")
    notices.failed(store, sleeper, error="no", next_at_ms=clock.now_ms() + HOUR_MS)

    assert rows(store) == [("new", 0, None, None)]
    assert sent(store, 1) == ["new"]


def test_the_newest_are_listed_first_and_only_those_that_wait_if_asked(store: Store) -> None:
    """What people see."""
    put(store, notice("a"), notice("b"), notice("c"))
    assert sent(store, 1) == ["a"]

    listed = notices.listed(store.connection, pending=False, limit=2)
    assert [(each.key, each.outcome) for each in listed] == [("c", None), ("b", None)]
    waiting = notices.listed(store.connection, pending=True, limit=9)
    assert [each.key for each in waiting] == ["c", "b"]


def test_what_became_of_notices_is_in_no_journal_and_no_difference_to_it(store: Store) -> None:
    """The figures are compared with the journal, which knows nothing of who was told."""
    put(store, notice("a"))
    sent(store, 1)

    assert counted(store) == {("oncall", "sent"): 1}
    assert differences(store.connection) == []


def test_looking_for_what_is_due_reads_the_index_alone(store: Store) -> None:
    """It is done every second, however many notices wait."""
    for sql in (notices._DUE, notices._NEXT, notices._PENDING):
        plan = store.connection.execute(
            f"EXPLAIN QUERY PLAN {sql}", {"target": "t", "now_ms": 1, "ahead_ms": 1}
        ).fetchall()
        assert not [row for row in plan if "SCAN notice" in row[3] and "INDEX" not in row[3]], sql
