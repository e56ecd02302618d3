"""
A process that looks once at the triggers of `beats`, and dies: `… looking ROOT NOW_MS [POINT]`.

Without a point it lives, and `points.log` has all there are.
"""

import random
import sys
from pathlib import Path

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.runtime.triggers.watch import Watch, registered
from statepipe.testing import ManualClock
from tests.crash.points import Points


def main(root: Path, now_ms: int, at: int | None) -> None:
    """Start what is due, with points."""
    Points(root, at=at).install()
    look(root, now_ms)


def look(root: Path, now_ms: int) -> None:
    """Start what is due."""
    with Engine(load_config(start=root, environ={}), clock=ManualClock(now_ms=now_ms)) as engine:
        store, program = engine._store, engine._program("beats")
        watched = registered(store, [program])
        rng = random.Random(now_ms)
        Watch(store, watched, observers=engine._observers, rng=rng).turn()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else None)
