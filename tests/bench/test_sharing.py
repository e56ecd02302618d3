"""
`make bench`: what waiting costs, how soon it ends, and how long one machine holds up another.

Real worker processes and a real store; CPU time is the kernel's. Nothing is asserted but that the
work was done.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.store.file.opening import open_reader
from statepipe.testing import ManualClock
from tests.bench import report

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

WAITING: Final = 10_000
READY: Final = 10_000
TIMERS: Final = 1_000
WATCHED_S: Final = 10
SIGNALS: Final = 20
KILLS: Final = 5

MACHINES: Final = {
    "asking": """\
machine = "asking"
initial = "resting"

[states.resting]
wait = { event = "approved", timeout = "30d" }
on   = { approved = "done", timeout = "failed" }

[states.done]
final = "success"
""",
    "timed": """\
machine = "timed"
initial = "resting"

[states.resting]
wait = { for = "1h" }
on   = { ok = "done" }

[states.done]
final = "success"
""",
    "crowd": """\
machine = "crowd"
initial = "acting"

[states.acting]
run      = "acts:nothing"
executor = "thread"
on       = { ok = "done" }

[states.done]
final = "success"
""",
}
_TOOK: Final = """
SELECT i.finished_at_ms - s.sent_at_ms
  FROM signal s
  JOIN instance i ON i.n = s.instance
"""

_HOLDER: Final = """
SELECT w.pid
  FROM instance i
  JOIN worker w ON w.n = i.worker
"""
_TAKEOVERS: Final = "SELECT at_ms FROM journal WHERE event = 'takeover' ORDER BY n"

FUNCTIONS: Final = '''\
"""What takes a moment."""

from pathlib import Path
from threading import Event


def held(task):
    """Take as long as the bench wants."""
    while not (task.cancelled or (Path(__file__).parent / "go").exists()):
        Event().wait(0.01)


def nothing(task):
    """Take five milliseconds."""
    Event().wait(0.005)
'''


def project(root: Path) -> Path:
    """Write machines into a folder; return it."""
    machines = root / "machines"
    machines.mkdir(parents=True)
    for name, text in MACHINES.items():
        (machines / f"{name}.toml").write_text(text, encoding="utf-8")
    held = MACHINES["crowd"].replace('"crowd"', '"held"').replace("nothing", "held")
    (machines / "held.toml").write_text(held, encoding="utf-8")
    alone = MACHINES["crowd"].replace('"crowd"', '"alone"')
    (machines / "alone.toml").write_text(alone, encoding="utf-8")
    (machines / "acts.py").write_text(FUNCTIONS, encoding="utf-8")
    (root / "statepipe.toml").touch()
    return root


def create(root: Path, machine: str, count: int, *, drives: bool = False) -> None:
    """Make instances, and let them come to rest."""
    with Engine(load_config(start=root, environ={}), in_flight_max=1_000) as engine:
        for n in range(count):
            engine.create(machine, instance_id=f"{machine}-{n}")
        if drives:
            engine.work([machine], until_idle=True)


def start(root: Path) -> "subprocess.Popen[str]":
    """Start a worker of its own; return once it drives."""
    argv = [sys.executable, "-m", "statepipe", "worker", "-q"]
    process = subprocess.Popen(argv, cwd=root, text=True)
    until(lambda: bool(ask(root, "SELECT 1 FROM worker WHERE pid = ?", process.pid)))
    return process


@contextmanager
def worker(root: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run a worker of its own for a while."""
    process = start(root)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def ask(root: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Query the store."""
    with closing(open_reader(root / "checkpoints" / "statepipe.db")) as store:
        return list(store.execute(sql, values).fetchall())


def done(root: Path) -> int:
    """Return how many instances are done."""
    return int(ask(root, "SELECT count(*) FROM instance WHERE status = 'done'")[0][0])


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, a minute at most."""
    ends = time.monotonic() + 60  # noqa: TID251  (it measures, or bounds a wait for others)
    while not holds():
        assert time.monotonic() < ends, "it never happened"  # noqa: TID251  (it measures, or bounds a wait for others)
        time.sleep(0.01)  # noqa: TID251  (a bench of real processes)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle_share(root: Path) -> float:
    """Return which share of one core a worker uses while nothing happens."""
    with worker(root) as process:
        time.sleep(2)  # noqa: TID251  (until it has started)
        before = cpu_s(process.pid)
        time.sleep(WATCHED_S)  # noqa: TID251  (it measures, or bounds a wait for others)
        return (cpu_s(process.pid) - before) / WATCHED_S


def test_what_waiting_costs_and_how_soon_it_ends(tmp_path: Path) -> None:
    """10,000 that wait beside an empty store; then signals, one by one."""
    empty, full = project(tmp_path / "empty"), project(tmp_path / "full")
    create(empty, "asking", 1, drives=True)
    create(full, "asking", WAITING, drives=True)
    shares = [f"{share:.2%}" for share in (idle_share(empty), idle_share(full))]
    with worker(full):
        time.sleep(2)  # noqa: TID251  (it measures, or bounds a wait for others)
        with Engine(load_config(start=full, environ={})) as engine:
            for n in range(SIGNALS):
                engine.signal(f"asking-{n}", "approved")
                time.sleep(0.137)  # noqa: TID251  (in no step with the worker)
        until(lambda: done(full) == SIGNALS)
    took = [ms for (ms,) in ask(full, _TOOK)]
    rows = [
        ("CPU of an idle worker, 1 instance waits", shares[0]),
        (f"the same, {WAITING:,} wait", shares[1]),
        ("from signal to the end of the wait, median", f"{statistics.median(took)} ms"),
        ("the slowest", f"{max(took)} ms"),
    ]
    print(report.table("### Waiting", ("what", "figure"), rows))


def test_timers_that_ring_at_once(tmp_path: Path) -> None:
    """1,000 of them, on the boot that armed them and on another one."""
    rows = []
    for name, rings in (("same boot", _advance), ("another boot", _reboot)):
        root, clock = project(tmp_path / name), ManualClock()
        config = load_config(start=root, environ={})
        with Engine(config, clock=clock, in_flight_max=1_000) as engine:
            for n in range(TIMERS):
                engine.create("timed", instance_id=f"t{n}")
            engine.work(["timed"], until_idle=True)
        rings(clock)
        began = time.perf_counter()
        with Engine(config, clock=clock) as engine:
            engine.work(["timed"], until_idle=True)
        took_s = time.perf_counter() - began
        assert done(root) == TIMERS
        rows.append((name, f"{took_s * 1_000:,.0f} ms"))
    print(report.table(f"### {TIMERS:,} timers at once", ("armed on", "all fired in"), rows))


def test_how_soon_a_dead_worker_is_taken_over(tmp_path: Path) -> None:
    """Two workers, of which the one that drives is killed again and again."""
    root = project(tmp_path / "p")
    create(root, "held", 1)
    took: list[float] = []
    alive = {each.pid: each for each in (start(root), start(root))}
    while len(took) < KILLS:
        until(lambda: bool(set(alive).intersection(pid for (pid,) in ask(root, _HOLDER))))
        ((pid,),) = ask(root, _HOLDER)
        killed_ms = time.time() * 1_000  # noqa: TID251  (it measures, or bounds a wait for others)
        alive[pid].kill()
        until(lambda: len(ask(root, _TAKEOVERS)) > len(took))
        took.append(ask(root, _TAKEOVERS)[-1][0] - killed_ms)
        alive.pop(pid).wait()
        other = start(root)
        alive[other.pid] = other
    for each in alive.values():
        each.terminate()
        each.wait(timeout=60)
    figure = f"{statistics.median(took):,.0f} ms, at most {max(took):,.0f} ms"
    print(report.table("### Takeover", ("kills", "until it is taken over"), [(str(KILLS), figure)]))


def _advance(clock: ManualClock) -> None:
    clock.advance(3_600_000)


def _reboot(clock: ManualClock) -> None:
    clock.reboot(down_ms=3_600_000)


def test_how_long_a_crowd_holds_up_the_only_one_of_another_machine(tmp_path: Path) -> None:
    """10,000 are ready, a worker is at them; then one of another machine comes."""
    root = project(tmp_path / "p")
    create(root, "crowd", READY)
    took = []
    with worker(root):
        until(lambda: done(root) > 100)
        for n in range(5):
            with Engine(load_config(start=root, environ={})) as engine:
                engine.create("alone", instance_id=f"alone-{n}")
            until(
                lambda n=n: (
                    ask(  # type: ignore[misc]  # a default binds the loop's value, or frozen is what is tested
                        root, "SELECT status FROM instance WHERE id = ?", f"alone-{n}"
                    )
                    == [("done",)]
                )
            )
            sql = "SELECT finished_at_ms - created_at_ms FROM instance WHERE id = ?"
            took += [ms for (ms,) in ask(root, sql, f"alone-{n}")]
        left = ask(root, "SELECT count(*) FROM instance WHERE status = 'ready'")[0][0]
    rows = [(f"{left:,} of {READY:,} were still ready", f"{max(took)} ms, at least {min(took)} ms")]
    print(report.table("### From start to done, beside a crowd", ("crowd", "one alone"), rows))
