"""Whatever the order in which calls that share an attempt ask and end, all of them end."""

import os
import random
from contextlib import closing
from pathlib import Path
from typing import Final
from unittest import mock

import pytest

from statepipe.runtime.driving.inbox import Question
from statepipe.testing import violations
from tests.runtime.schedules import Schedule
from tests.store import stores

#: Another one each time; what a schedule did is printed with its seed if it fails.
SEED: Final = int(os.environ.get("STATEPIPE_SEED", random.SystemRandom().getrandbits(32)))

#: Draws two instances of several batches each, and room for many calls.
SHARING: Final = 11

MINUTE_MS: Final = 60_000


def played(folder: Path, seed: int) -> int:
    """Play one schedule, and judge its end; return how many calls there were beside others."""
    # The test is the task, and no thread of its own could wait for an answer.
    with mock.patch.object(Question, "wait", lambda question: question):
        schedule = Schedule(folder, seed)
        try:
            schedule.play()
            told = f"STATEPIPE_SEED={seed}"
            assert set(schedule.statuses().values()) <= {"done", "cancelled"}, told
            assert all(call.future.done() for call in schedule.calls), told
            assert all(question.is_answered for question in schedule.questions), told
            assert schedule.busy == {"process": 0, "thread": 0, "inline": 0}, told
            assert schedule.loop._calls._shared == {}, told
            assert violations(schedule.cli.path) == [], told
        finally:
            schedule.close()
    return sum(call.is_beside for call in schedule.calls)


@pytest.mark.parametrize("nth", range(25))
def test_no_schedule_leaves_anything_behind(tmp_path: Path, nth: int) -> None:
    """No call that never ends, no question without an answer, no slot, no gap."""
    played(tmp_path, SEED + nth)


def test_what_an_instance_shared_goes_with_it(tmp_path: Path) -> None:
    """When another process, which lives, has taken it over."""
    with (
        mock.patch.object(Question, "wait", lambda question: question),
        closing(Schedule(tmp_path, SHARING)) as schedule,
    ):
        schedule.go_on_until(lambda: any(call.is_beside for call in schedule.calls))
        rows = schedule.cli.connection.execute("SELECT id, state FROM instance").fetchall()
        for name, state in rows:
            stores.stolen(schedule.cli, name, state=state, by=stores.registered(schedule.cli))
        schedule.go_on_until(lambda: not schedule.loop.drives and schedule.busy["thread"] == 0)

        assert schedule.loop._calls._shared == {}


def test_what_was_taken_over_and_comes_back_is_driven_once(tmp_path: Path) -> None:
    """The calls of its first time are ended, and their time says nothing of those of its second."""
    with (
        mock.patch.object(Question, "wait", lambda question: question),
        closing(Schedule(tmp_path, SHARING)) as schedule,
    ):
        schedule.go_on_until(lambda: any(call.is_beside for call in schedule.calls))
        before = tuple(schedule.calls)
        schedule.clock.advance(100 * MINUTE_MS)
        schedule.steal_all()
        schedule.go_on_until(lambda: len(schedule.calls) > len(before))
        assert all(call.killed or call.future.done() for call in before)

        schedule.clock.advance(30 * MINUTE_MS)  # the heartbeat is due after two hours
        schedule.loop.tick()
        assert not any(call.killed for call in schedule.calls[len(before) :])
        assert schedule.loop.fenced


def test_what_is_taken_over_while_it_waits_and_comes_back_begins_once(tmp_path: Path) -> None:
    """Its place in the queue for an executor was its old owner's."""
    with (
        mock.patch.object(Question, "wait", lambda question: question),
        closing(Schedule(tmp_path, SHARING)) as schedule,
    ):
        schedule.busy["thread"] = schedule.slots["thread"]
        schedule.loop.tick()
        schedule.steal_all()
        schedule.clock.advance(MINUTE_MS)
        schedule.loop.tick()
        schedule.busy["thread"] = 0
        schedule.loop.tick()

        assert [call.epoch for call in schedule.calls] == [3] * len(schedule.statuses())


@pytest.mark.soak
def test_thousands_of_schedules(tmp_path: Path) -> None:
    """As above; and calls did share."""
    beside = 0
    for nth in range(5_000):
        folder = tmp_path / str(nth)
        folder.mkdir()
        beside += played(folder, SEED + nth)
    assert beside > 1_000
