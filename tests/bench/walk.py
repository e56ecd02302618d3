"""
No-op instances, driven by the real engine on a real store.

    drive       some instances through some states; how long it took, and what it wrote
    Walked      the figures of one such drive
"""

import time
from pathlib import Path
from typing import NamedTuple

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Change, Task
from statepipe.policy import ExecutorKind
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.pools import Pools

#: Threads a bench gives to the engine; the default of 32 is for tasks that do something.
THREADS = 256


class Walked(NamedTuple):
    """One drive: how long to its last acknowledgement, the moments of all, and what it wrote."""

    took_s: float
    acknowledged_s: list[float]
    bytes_written: int
    bytes_grown: int


def nothing(task: Task) -> None:
    """Do nothing: what is measured is everything around it."""
    del task


def machine(states: int, executor: ExecutorKind) -> Machine:
    """Return a machine of so many no-op states in a row."""
    names = [f"s{number}" for number in range(states)]
    targets = [*names[1:], "done"]
    acting = [
        State(
            name=name,
            task=Run(function=nothing),
            on=(Transition(event="ok", target=target),),
            settings={"executor": executor},
        )
        for name, target in zip(names, targets, strict=True)
    ]
    return Machine(
        name="nothing", initial="s0", states=(*acting, State(name="done", final="success"))
    )


def drive(folder: Path, *, instances: int, states: int, executor: ExecutorKind) -> Walked:
    """Create `instances`, drive each through `states`; claims are in the time, too."""
    folder.mkdir()
    acknowledged_s: list[float] = []

    def note(_drive: Drive, _change: Change) -> None:
        acknowledged_s.append(time.perf_counter())

    engine = Engine(
        load_config(start=folder, environ={}),
        machines=[machine(states, executor)],
        in_flight_max=instances,
        pools=Pools(threads=THREADS),
        observe=note,
    )
    with engine:
        for _ in range(instances):
            engine.create("nothing")
        store = folder / "checkpoints" / "statepipe.db"
        engine._store.checkpoint_wal(above_bytes=0)
        size = store.stat().st_size  # `stat` is allowed while the store is open, `open` is not
        written = _bytes_written()
        began = time.perf_counter()
        engine.work(["nothing"], until_idle=True)
        took_s = acknowledged_s[-1] - began
        written = _bytes_written() - written
    return Walked(took_s, acknowledged_s, written, store.stat().st_size - size)


def _bytes_written() -> int:
    """Return how many bytes this process has given to write calls: WAL and checkpoints."""
    text = Path("/proc/self/io").read_text(encoding="ascii")
    return int(text.split("wchar: ")[1].split()[0])
