"""
A process that has everything imported and forks workers on demand: `… nursery ROOT BEGAN_MS`.

Each line on standard input starts a worker under the fast clock; its process number is printed.
"""

import os
import signal
import sys
from pathlib import Path

from statepipe.config import load_config
from statepipe.engine import Engine
from tests.crash.triggers.fast import FastClock


def main(root: Path, began_ms: int) -> None:
    """Fork a worker for each line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(0)
            with Engine(load_config(start=root, environ={}), clock=FastClock(began_ms)) as engine:
                engine.work()
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
