"""
A run whose processes may not grow far.

    python -m tests.bench.race.limited FOLDER MIB FLIGHTS AIRLINES

Once all is imported, the address space of this process is limited to what it has plus MIB
mebibytes, and that of each worker to what a worker without work has plus as much. An
allocation beyond fails, in whichever of them it is. Prints what they had.
"""

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.runtime.driving.pools import Pools
from statepipe.runtime.executors.process import ProcessExecutor
from statepipe.runtime.executors.worker import Worker

_MIB = 1 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")


def main(folder: str, growth_mib: str, flights: str, airlines: str) -> None:
    """Drive the machine of a `project` to its end."""
    growth = int(growth_mib) * _MIB
    params = {"flights": flights, "airlines": airlines}
    config = load_config(start=Path(folder), environ={})
    with Engine(config, pools=Pools(processes=2)) as engine:
        instance = engine.create("race", params=params, instance_id="it")
        assert instance is not None
        driver = size_of(os.getpid())
        worker = idle_worker()
        limit_workers(worker + growth)
        resource.setrlimit(resource.RLIMIT_AS, (driver + growth, driver + growth))
        assert engine.run([instance]) == {instance: "done"}
    told = {"driver": driver / _MIB, "worker": worker / _MIB, "growth": growth / _MIB}
    sys.stdout.write(json.dumps(told) + "\n")


def idle_worker() -> int:
    """Return the address space of a worker that has done nothing yet, in bytes."""
    pool = ProcessExecutor(1)
    size = size_of(pool.submit(os.getpid).result())
    pool.shutdown()
    return size


def limit_workers(size: int) -> None:
    """Limit the address space of workers that start from now on to `size` bytes."""
    start = Worker.start

    def limited(**kwargs: Any) -> Worker:  # noqa: ANN401  (whatever the real one takes)
        worker = start(**kwargs)
        resource.prlimit(worker._pid, resource.RLIMIT_AS, (size, size))
        return worker

    Worker.start = limited  # type: ignore[method-assign]  # a test owns it


def size_of(pid: int) -> int:
    """Return the address space of a process, in bytes."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * _PAGE


if __name__ == "__main__":
    main(*sys.argv[1:])
