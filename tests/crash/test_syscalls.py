"""
A run whose system calls fail, or come in the wrong order, seen from outside (R5, R9).

strace makes one call of a real run fail, or kills it there; the run must then end with a clear
error or a failed attempt, and go on to the same end once the fault is gone. Which calls is
drawn anew in each run; the seed is printed with a failure and taken from STATEPIPE_SEED.
"""

import os
import random
import shutil
import signal
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from statepipe.model import Status
from tests.crash import scene, tracing
from tests.crash.processes import Ended, soaking
from tests.crash.tracing import Call, is_of_the_engine, store_name

SEED: Final = int(os.environ.get("STATEPIPE_SEED", random.SystemRandom().getrandbits(32)))

#: How many faults one run of the tests tries.
FAULTS: Final = 28

_ERRORS: Final = {
    "write": ("error=EIO", "error=ENOSPC", "signal=KILL"),
    "pwrite64": ("error=EIO", "error=ENOSPC", "signal=KILL"),
    "openat": ("error=EIO", "error=EMFILE", "error=ENOSPC"),
    "mkdir": ("error=EIO", "error=ENOSPC"),
    "ftruncate": ("error=EIO", "signal=KILL"),
}
_OTHERWISE: Final = ("error=EIO", "signal=KILL")

#: Exit codes that promise something: success, a machine that cannot be read, a store that cannot
#: be used.
_PROMISED: Final = (0, 2, 4, -signal.SIGKILL)


class Undisturbed(NamedTuple):
    """A run without faults: what it left, and its calls."""

    outcome: scene.Outcome
    calls: tuple[Call, ...]


@cache
def undisturbed(folder: Path) -> Undisturbed:
    """Run once; return what it left, and its calls."""
    root = scene.set_up(folder / "undisturbed")
    end, calls = tracing.traced(root)
    assert end.code == 0, end
    engine = tuple(call for call in calls if is_of_the_engine(call, root))
    return Undisturbed(scene.outcome(root), engine)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """What a run does to which nothing happens."""
    return undisturbed(tmp_path_factory.mktemp("reference"))


def fault_of(calls: Sequence[Call], number: int) -> str:
    """Return the fault of this number: each kind of call in turn, drawn by the seed."""
    rng = random.Random(f"{SEED}/{number}")
    names = sorted({call.name for call in calls})
    name = names[number % len(names)]
    call = rng.choice([call for call in calls if call.name == name])
    return f"{name}:{rng.choice(_ERRORS.get(name, _OTHERWISE))}:when={call.number}"


def wrong(root: Path, end: Ended, expected: scene.Outcome) -> list[str]:
    """Return what is not as promised after a fault, and after going on without it."""
    found = [] if end.code in _PROMISED else [f"it ended with {end.code}: {end.err[-2_000:]}"]
    found += scene.damage(root)
    status = scene.go_on(root)
    if status != Status.DONE:
        return [*found, f"without the fault it ends {status}"]
    found += scene.damage(root)
    found += scene.differences(scene.outcome(root), expected)
    found += scene.unplanned(root)
    if scene.redone(root).total() > 1:
        found.append(f"done again: {scene.redone(root)}")
    return found


@pytest.mark.parametrize("number", range(FAULTS))
def test_a_failing_system_call_stops_progress_and_not_truth(
    tmp_path: Path, reference: Undisturbed, number: int
) -> None:
    """A clear error or a failed attempt, nothing lost, and the same end without the fault."""
    fault = fault_of(reference.calls, number)
    root = scene.set_up(tmp_path / "shop")

    end, _ = tracing.traced(root, fault=fault)

    assert wrong(root, end, reference.outcome) == [], f"STATEPIPE_SEED={SEED}, {fault}"


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_system_calls_that_fail_for_minutes(tmp_path: Path, reference: Undisturbed) -> None:
    """The same, on and on; for STATEPIPE_SOAK_SECONDS."""
    for number in soaking():
        fault = fault_of(reference.calls, FAULTS + number)
        root = scene.set_up(tmp_path / str(number))

        end, _ = tracing.traced(root, fault=fault)

        assert wrong(root, end, reference.outcome) == [], f"STATEPIPE_SEED={SEED}, {fault}"
        shutil.rmtree(root)


def test_a_failed_sync_of_a_commit_leaves_it_in_doubt_and_ends_the_process(
    tmp_path: Path, reference: Undisturbed
) -> None:
    """F1: it may be there or not; no further commit is tried, and a new process finds out."""
    syncs = [c for c in reference.calls if c.name == "fdatasync" and store_name(c.path) == "wal"]
    sync = syncs[len(syncs) // 2]
    root = scene.set_up(tmp_path / "shop")

    end, calls = tracing.traced(root, fault=f"fdatasync:error=EIO:when={sync.number}")

    assert end.code == 4, end
    assert "StoreInDoubt" in end.err
    failed = calls.index(next(c for c in calls if c[:2] == sync[:2]))
    assert not [c for c in calls[failed:] if c.name == "pwrite64" and store_name(c.path) == "wal"]
    assert wrong(root, end, reference.outcome) == []


def test_every_promise_is_synced_before_what_relies_on_it(tmp_path: Path) -> None:
    """
    On a real trace: file, its name, then the row that names it; destination, then checkpoint.

    What a power cut may take is what was written and not synced since; so at each write to
    the WAL nothing else may be unsynced, and at each acknowledgement the WAL may not be.
    """
    root = scene.set_up(tmp_path / "shop")

    end, calls = tracing.traced(root)

    assert end.code == 0, end
    assert tracing.unsynced(calls) == []
    assert sum(call.name == "renameat" for call in calls) >= 5
    assert sum(store_name(call.path) == "warehouse" for call in calls) >= 20


def test_the_trace_shows_an_engine_that_does_not_sync_its_files(tmp_path: Path) -> None:
    """The test above notices if staged files are written, renamed and never fsynced."""
    root = scene.set_up(tmp_path / "shop")

    _, calls = tracing.traced(root, mutant="no-file-sync")

    assert any("msgpack" in text for text in tracing.unsynced(calls))
