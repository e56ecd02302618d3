"""
Two processes and one instance: who sleeps through its lease can do nothing when it wakes (R3).

The sleeper stops itself (SIGSTOP) at a point of the protocol, with a lease of 300 ms; a second
process takes over and finishes; then the sleeper is woken (SIGCONT).
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from statepipe.clock import SystemClock
from statepipe.errors import Busy
from statepipe.model import Status
from statepipe.store.file import opening
from statepipe.store.file.opening import open_store
from statepipe.store.walk import asking, workers
from statepipe.store.walk.workers import Identity
from tests.crash import scene
from tests.crash.processes import ended, epoch_of, start, stopped, until

LEASE_MS = 300


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> scene.Outcome:
    """What an undisturbed run leaves."""
    root = scene.set_up(tmp_path_factory.mktemp("undisturbed") / "shop")
    scene.drive(root)
    return scene.outcome(root)


@contextmanager
def sleeper(
    root: Path, point: str, *more: object, lease_ms: int = LEASE_MS
) -> Iterator[Popen[str]]:
    """Run a process that stops itself at `point`; wake and end it, whatever happens."""
    process = start(root, "--at", point, "--signal", "STOP", "--lease-ms", lease_ms, *more)
    try:
        stopped(process)
        yield process
    finally:
        process.kill()
        process.communicate()


#: Between the protocol's steps; in none of these does the sleeper hold a lock.
POINTS = [
    "after store COMMIT#6",  # claimed, nothing done yet
    "before create#0",  # in a task, before it stages
    "after fsync#8",  # staged, before it asks for the commit
    "before rename#2",  # in the middle of staging
    "after store COMMIT#14",  # a batch is committed and not acknowledged
    "after store COMMIT#25",  # the plan is committed, loading begins
    "after warehouse COMMIT#1",  # loaded, before the checkpoint's commit
    "after warehouse COMMIT#7",
    "after warehouse COMMIT#8",
]


@pytest.mark.parametrize("point", POINTS)
def test_a_sleeper_that_was_taken_over_writes_nothing_when_it_wakes(
    tmp_path: Path, expected: scene.Outcome, point: str
) -> None:
    """Its commits and its loads are refused, it says so, and every row is right."""
    root = scene.set_up(tmp_path / "shop")
    with sleeper(root, point) as zombie:
        successor = ended(start(root, "--lease-ms", LEASE_MS))
        assert successor.code == 0, successor.err
        journal = scene.journal(root)

        os.kill(zombie.pid, signal.SIGCONT)
        late = ended(zombie)

    assert late.code == 76, late
    assert scene.journal(root) == journal
    assert scene.damage(root) == []
    assert scene.differences(scene.outcome(root), expected) == []
    assert scene.redone(root).total() <= 1


@pytest.mark.parametrize("point", ["before warehouse COMMIT#2", "before warehouse COMMIT#8"])
def test_a_sleeper_inside_a_load_lands_it_before_its_successor_or_not_at_all(
    tmp_path: Path, expected: scene.Outcome, point: str
) -> None:
    """
    It keeps the destination locked, so its successor waits; both then have the batch once.

    The sleeper's transaction is older than the successor's fence, so it may land; the
    ledger tells the successor. What follows it in the store is refused.
    """
    root = scene.set_up(tmp_path / "shop")
    with sleeper(root, point) as zombie:
        successor = start(root, "--lease-ms", LEASE_MS)
        until(lambda: epoch_of(root) == 2, "the takeover")

        os.kill(zombie.pid, signal.SIGCONT)
        late, second = ended(zombie), ended(successor)

    assert (late.code, second.code) == (76, 0), (late, second)
    assert scene.damage(root) == []
    assert scene.differences(scene.outcome(root), expected) == []
    assert scene.unplanned(root) == []


def test_without_the_fence_a_sleeper_would_go_on(tmp_path: Path) -> None:
    """The tests above would notice: it finishes what is not its own, and says that all is well."""
    root = scene.set_up(tmp_path / "shop")
    point = "after warehouse COMMIT#1"
    with (
        sleeper(root, point, "--mutant", "no-fence") as zombie,
        sleeper(root, point, lease_ms=60_000),
    ):
        os.kill(zombie.pid, signal.SIGCONT)
        late = ended(zombie)

        assert late.code == 0, late
        assert late.said == {"statuses": {scene.INSTANCE: "done"}, "fenced": []}


def test_a_sleeper_inside_a_store_transaction_holds_others_up_for_a_bounded_time(
    tmp_path: Path, expected: scene.Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are told that it is locked, and nothing changes; when it wakes all is well (F7)."""
    root = scene.set_up(tmp_path / "shop")
    monkeypatch.setattr(opening, "BUSY_MS", 100)
    with sleeper(root, "before store COMMIT#14", lease_ms=60_000) as zombie:
        store = open_store(scene.store_of(root), create=False, clock=SystemClock())
        with pytest.raises(Busy, match="stayed locked"):
            asking.request(store, instance_id=scene.INSTANCE, wish="pause", reason=None)
        with pytest.raises(Busy, match="stayed locked"):
            workers.register(store, Identity.of_this_process())
        store.close()

        os.kill(zombie.pid, signal.SIGCONT)
        late = ended(zombie)

    assert late.code == 0, late
    assert scene.differences(scene.outcome(root), expected) == []


def test_a_resume_of_what_a_live_process_drives_names_that_process(tmp_path: Path) -> None:
    """Stopped or busy, it lives and has its lease: exit 75, and nothing is changed."""
    root = scene.set_up(tmp_path / "shop")
    with sleeper(root, "before create#1", lease_ms=60_000) as holder:
        before = scene.journal(root)
        refused = ended(start("resume", scene.INSTANCE, module="statepipe", cwd=root))

        assert refused.code == 75, refused
        assert f"driven by process {holder.pid}" in refused.err
        assert scene.journal(root) == before

        os.kill(holder.pid, signal.SIGCONT)
        assert ended(holder).code == 0


@pytest.mark.parametrize("point", ["after fsync#8", "before store COMMIT#14", "before unlink#0"])
def test_of_two_resumes_at_once_one_wins(
    tmp_path: Path, expected: scene.Outcome, point: str
) -> None:
    """The other is told who drives it, or that it is done; the rows are those of one run."""
    root = scene.set_up(tmp_path / "shop")
    assert ended(start(root, "--at", point)).code == -signal.SIGKILL
    is_done = scene.rests(root) == Status.DONE

    both = [start("resume", scene.INSTANCE, module="statepipe", cwd=root) for _ in range(2)]
    results = sorted(map(ended, both))

    # 75: the other drives it; 2: it is done already.
    codes = [result.code for result in results]
    assert codes in ([[2, 2]] if is_done else [[0, 2], [0, 75]]), results
    for result in results:
        if result.code == 75:
            assert any(f"driven by process {process.pid}" in result.err for process in both)
    assert scene.damage(root) == []
    assert scene.differences(scene.outcome(root), expected) == []


def test_a_live_worker_takes_over_from_a_killed_one_without_waiting(
    tmp_path: Path, expected: scene.Outcome, record_property: Callable[[str, object], None]
) -> None:
    """After kill -9 a lease of a minute is not waited out: its holder is known to be gone."""
    root = scene.set_up(tmp_path / "shop")
    with sleeper(root, "after fsync#8", lease_ms=60_000) as victim:
        heir = start("worker", module="statepipe", cwd=root)
        try:
            until(lambda: scene.workers(root) == 2, "the second worker")

            victim.kill()
            took_ms = until(lambda: epoch_of(root) == 2, "the takeover")
            until(lambda: scene.rests(root) == Status.DONE, "the end")
        finally:
            heir.terminate()
        end = ended(heir)

    record_property("takeover_ms", took_ms)
    sys.stdout.write(f"takeover after kill -9: {took_ms} ms\n")
    assert end.code == 143, end
    assert took_ms < 10_000  # typically 200: how often the store is asked
    assert scene.damage(root) == []
    assert scene.differences(scene.outcome(root), expected) == []
