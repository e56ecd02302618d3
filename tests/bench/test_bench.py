"""
`make bench`: figures beside those of raw SQLite, measured in the same run, taking turns.

Nothing here is asserted but that the work was done: a figure depends on the machine and
on who else uses it. Every number is a median of rounds in which both had their turn.
"""

import compileall
import statistics
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

import statepipe
from statepipe.policy import ExecutorKind
from tests.bench import raw, report, shell, walk

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

ROUNDS = 5
#: Instances in flight, and through how many states each goes in one round.
SHAPES = ((1, 300), (10, 150), (100, 60), (1_000, 30))
#: The same through processes, which are for tasks that take a while.
PROCESS_SHAPES = ((1, 100), (10, 40), (100, 10), (1_000, 2))
EXECUTORS: tuple[ExecutorKind, ...] = ("inline", "thread", "process")
INSTANCES = 100_000


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of all lie below."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def test_the_machine_the_figures_are_of(tmp_path: Path) -> None:
    """Throughput means nothing without the disk's fsync."""
    rows = report.facts(tmp_path, fsync_ms=raw.fsync_ms(tmp_path))
    print(report.table("### The machine", ("fact", "value"), rows))


def test_durable_transitions_a_second(tmp_path: Path) -> None:
    """1, 10, 100 and 1,000 in flight, by executor, beside raw SQLite at that many a commit."""
    rows = []
    for at, (instances, states) in enumerate(SHAPES):
        raw_store = raw.RawStore(tmp_path / f"raw-{instances}", instances=instances)
        rates: dict[str, list[float]] = {"raw": [], **{each: [] for each in EXECUTORS}}
        for turn in range(ROUNDS):
            took_s = sum(raw_store.timed(states))
            rates["raw"].append(instances * states / took_s)
            for executor in EXECUTORS:
                count = PROCESS_SHAPES[at][1] if executor == "process" else states
                folder = tmp_path / f"{executor}-{instances}-{turn}"
                walked = walk.drive(folder, instances=instances, states=count, executor=executor)
                rates[executor].append(instances * count / walked.took_s)
        raw_store.close()
        middle = {name: statistics.median(each) for name, each in rates.items()}
        cells = [f"{instances:,}", f"{middle['raw']:,.0f}"]
        for executor in EXECUTORS:
            share = middle[executor] / middle["raw"]
            cells += [f"{middle[executor]:,.0f}", f"{max(rates[executor]):,.0f}", f"{share:.2f}"]
        rows.append(cells)
    head = ["in flight", "raw SQLite"]
    for executor in EXECUTORS:
        head += [executor, "best", "of raw"]
    print(report.table("### Durable transitions a second", head, rows))


def test_commit_latency_of_a_lone_instance(tmp_path: Path) -> None:
    """From one acknowledgement to the next, beside a raw commit of the same facts."""
    took: dict[str, list[float]] = {"raw SQLite": [], "inline": [], "thread": []}
    raw_store = raw.RawStore(tmp_path / "raw", instances=1)
    executors: tuple[ExecutorKind, ...] = ("inline", "thread")
    for turn in range(ROUNDS):
        took["raw SQLite"] += raw_store.timed(200)
        for executor in executors:
            walked = walk.drive(
                tmp_path / f"{executor}-{turn}",
                instances=1,
                states=200,
                executor=executor,
            )
            moments = walked.acknowledged_s
            took[executor] += [b - a for a, b in pairwise(moments)]
    raw_store.close()
    base = statistics.median(took["raw SQLite"])
    rows = [
        (
            name,
            f"{percentile(values, 0.5) * 1000:.2f}",
            f"{percentile(values, 0.99) * 1000:.2f}",
            f"{base / statistics.median(values):.2f}",
        )
        for name, values in took.items()
    ]
    head = ("one instance alone", "p50 ms", "p99 ms", "raw's rate x")
    print(report.table("### Latency of one durable transition", head, rows))


def test_bytes_a_transition(tmp_path: Path) -> None:
    """What is handed to the kernel (WAL and checkpoints), and what stays in the files."""
    rows = []
    for instances, states in SHAPES:
        walked = walk.drive(
            tmp_path / str(instances), instances=instances, states=states, executor="inline"
        )
        moves = instances * states
        written, grown = walked.bytes_written / moves, walked.bytes_grown / moves
        rows.append((f"{instances:,}", f"{written:,.0f}", f"{grown:,.0f}"))
    head = ("in flight", "bytes written", "growth of the files")
    print(report.table("### Bytes a transition", head, rows))


def test_commands_from_the_shell(tmp_path: Path) -> None:
    """Compiled, median of 20, on a store with 100 instances and on one with 100,000."""
    compileall.compile_dir(str(Path(statepipe.__file__).parent), quiet=2)
    small = shell.project(tmp_path / "small")
    shell.fill(small, instances=100, failed=10, done=10)
    large = shell.project(tmp_path / "large")
    shell.fill(large, instances=INSTANCES, failed=1_000, done=5_000)
    commands = (
        ("--version",),
        ("inspect", "broken-3"),
        ("ls",),
        ("ls", "--failed"),
        ("resume", "--failed", "--dry-run"),
        ("resume", "--all", "--dry-run"),
    )
    rows = [
        (
            f"statepipe {' '.join(command)}",
            f"{shell.median_ms(small, *command):.0f}",
            f"{shell.median_ms(large, *command):.0f}",
        )
        for command in commands
    ]
    head = ("from the shell, ms", "100 instances", f"{INSTANCES:,}")
    print(report.table("### Commands", head, rows))


def test_resume_after_kill_9(tmp_path: Path) -> None:
    """From typing `resume` to the claim, and to the first new batch that is committed."""
    took = [
        shell.resumed_ms(shell.project(tmp_path / str(turn), machine="endless"))
        for turn in range(ROUNDS)
    ]
    claimed, committed = zip(*took, strict=True)
    rows = [
        (name, f"{statistics.median(values):.0f}", f"{max(values):.0f}")
        for name, values in (("claimed again", claimed), ("next batch committed", committed))
    ]
    print(report.table("### Resume after kill -9, ms", ("", "p50", "worst of 5"), rows))
