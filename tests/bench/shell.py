"""
What a person waits for: commands started from a shell, and a resume after kill -9.

    project         a folder with a machine, and a store with many instances
    median_ms       how long a command takes, from its start to its end
    resumed_ms      kill -9 a run, resume it; how long until the next batch is committed
"""

import os
import signal
import statistics
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from threading import Event

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.store.codec import encode
from statepipe.store.file.opening import open_reader
from statepipe.store.steering import instances as steering

COMMAND = str(Path(sys.executable).with_name("statepipe"))
#: Nobody waits longer than this for a commit, in seconds.
BOUND_S = 60

_MACHINE = """\
machine = "count"
version = 1
initial = "counting"

[params]
broken = { type = "bool", default = false }

[states.counting]
run      = "counting_:count"
executor = "inline"
timeout  = "1h"
on       = { ok = "done" }

[states.endless]
run      = "counting_:endless"
timeout  = "1h"
on       = { ok = "done" }

[states.done]
final = "success"
[states.failed]
final = "failure"
"""

_FUNCTIONS = '''\
"""Tasks for the bench."""

from statepipe import Batch, Fatal


def count(task):
    """End at once, well or badly."""
    if task.params["broken"]:
        raise Fatal("broken, as it was asked to be")


def endless(task):
    """Commit one small batch after the other, for ever."""
    number = task.cursor or 0
    while True:
        number += 1
        yield Batch([{"n": number}], cursor=number)
'''


def project(folder: Path, *, machine: str = "counting") -> Path:
    """Make a folder with the machine; `machine` is the state it begins in."""
    machines = folder / "machines"
    machines.mkdir(parents=True)
    other = "endless" if machine == "counting" else "counting"
    start = _MACHINE.index(f"[states.{other}]")
    end = _MACHINE.index("[states", start + 1)
    text = (_MACHINE[:start] + _MACHINE[end:]).replace(
        'initial = "counting"', f'initial = "{machine}"'
    )
    (machines / "count.toml").write_text(text, encoding="utf-8")
    (machines / "counting_.py").write_text(_FUNCTIONS, encoding="utf-8")
    (folder / "statepipe.toml").write_text('store = "statepipe.db"\n', encoding="utf-8")
    return folder


def fill(folder: Path, *, instances: int, failed: int, done: int) -> None:
    """Put `instances` into the project's store: most ready, some failed, some done."""
    with Engine(load_config(start=folder, environ={}), in_flight_max=1_000) as engine:
        program = engine._program("count")

        def create(prefix: str, count: int, *, broken: bool) -> None:
            params = encode({"broken": broken})
            steering.create(
                engine._store,
                machine="count",
                definition=program.definition,
                initial=program.table.machine.initial,
                instances=[steering.NewInstance(f"{prefix}-{n}", params) for n in range(count)],
            )

        create("broken", failed, broken=True)
        create("fine", done, broken=False)
        engine.work(["count"], until_idle=True)
        create("ready", instances - failed - done, broken=False)


def median_ms(folder: Path, *arguments: str, times: int = 20) -> float:
    """Return the median time of `statepipe ARGUMENTS`, run in `folder`, in milliseconds."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(
            [COMMAND, *arguments], cwd=folder, check=True, capture_output=True, timeout=BOUND_S
        )
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def resumed_ms(folder: Path) -> tuple[float, float]:
    """Kill a run in the middle and resume it: ms to the claim, and to the next batch."""
    store = folder / "statepipe.db"
    with Engine(load_config(start=folder, environ={})) as engine:
        engine.work(["count"], until_idle=True)  # so that there is a store to look into
    first = _start(folder, "run", "count", "--id", "it")
    _wait_for(store, kind="batch", above=20)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    seen = _newest(store, "batch")
    began = time.perf_counter()
    second = _start(folder, "resume", "it")
    claimed = _wait_for(store, kind="resume", above=0)
    next_batch = _wait_for(store, kind="batch", above=seen)
    os.killpg(second.pid, signal.SIGKILL)
    second.wait()
    return (claimed - began) * 1000, (next_batch - began) * 1000


def _start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [COMMAND, *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _wait_for(store: Path, *, kind: str, above: int) -> float:
    """Return when a journal row of `kind` with a seq above `above` was first seen."""
    bound = time.perf_counter() + BOUND_S
    while time.perf_counter() < bound:
        if _newest(store, kind) > above:
            return time.perf_counter()
        Event().wait(0.002)
    raise AssertionError(f"no {kind} above {above} for {BOUND_S} s")


def _newest(store: Path, kind: str) -> int:
    if not store.exists() or store.stat().st_size == 0:
        return 0
    with closing(open_reader(store)) as connection:
        sql = "SELECT coalesce(max(seq), 0) FROM journal WHERE kind = ?"
        newest: int = connection.execute(sql, (kind,)).fetchone()[0]
        return newest
