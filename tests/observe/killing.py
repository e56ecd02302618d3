"""
Workers that are killed at random moments: `python -m tests.observe.killing FOLDER SEED KILLS`.

Each is a process of its own, forked from this one so that starting it costs no imports, and
killed with SIGKILL once it has written so many rows of the journal. The last one ends.
"""

import os
import random
import signal
import sys
from contextlib import closing
from pathlib import Path
from threading import Event

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.store.file.opening import open_reader

#: Nobody waits for more looks than this, 2 ms apart.
_LOOKS_MAX = 30_000


def main(root: Path, *, seed: int, kills: int) -> None:
    """Let workers drive what is ready in `root`, kill `kills` of them, let the last one end."""
    rng = random.Random(seed)
    for _ in range(kills):
        if not _killed(root, rows=rng.randint(1, 25)):
            sys.exit("everything was done before the last kill")
    _, status = os.waitpid(_worker(root), 0)
    if status:
        sys.exit(f"the last worker ended with {status}")


def _worker(root: Path) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            with Engine(load_config(start=root, environ={}), in_flight_max=4) as engine:
                engine.work(until_idle=True)
        except BaseException:  # noqa: BLE001 it must end here, whatever it is
            os._exit(1)
        os._exit(0)
    return pid


def _killed(root: Path, *, rows: int) -> bool:
    """Kill a worker after so many rows; False if it had done everything before."""
    enough = _rows(root) + rows
    pid = _worker(root)
    for _ in range(_LOOKS_MAX):
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            return False
        if _rows(root) >= enough:
            break
        Event().wait(0.002)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def _rows(root: Path) -> int:
    with closing(open_reader(root / "statepipe.db")) as connection:
        rows: int = connection.execute("SELECT coalesce(max(n), 0) FROM journal").fetchone()[0]
    return rows


if __name__ == "__main__":
    main(Path(sys.argv[1]), seed=int(sys.argv[2]), kills=int(sys.argv[3]))
