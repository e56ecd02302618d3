"""
A process that has everything imported and forks workers on demand: `… nursery ROOT LEASE_MS`.

Each line on standard input, "thread" or "process", starts a worker whose tasks run there; its
process number is printed. So a worker begins in milliseconds, and can be killed as often as a
test likes. They are processes like any other: of their own number, start time and engine.
"""

import os
import signal
import sys
from functools import partial
from pathlib import Path

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.runtime.driving.pools import Pools
from statepipe.store.walk import workers


def main(root: Path, lease_ms: int) -> None:
    """Fork a worker for each line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
    workers.register = partial(workers.register, lease_ms=lease_ms)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _work(root, env=line.strip())
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _work(root: Path, *, env: str) -> None:
    os.close(0)
    config = load_config(start=root, environ={}, env=env)
    engine = Engine(config, pools=Pools(processes=4, threads=4))
    signal.signal(signal.SIGTERM, lambda *_: engine.stop("the test is over"))
    with engine:
        engine.work()
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
