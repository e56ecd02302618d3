"""
The process that dies: drives the shop's instance, with faults, as `python -m tests.crash.driver`.

    --at POINT      send ourselves --signal there (see `points.py`)
    --lease-ms      a short lease, so that nobody waits long for a sleeper's end
    --mutant        break the engine on purpose first (see `mutants.py`)

Prints one line of JSON: the statuses and what was fenced. Ends with an error's own
exit code, and with 76 if the instance was taken over.
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from statepipe.engine import Engine
from statepipe.errors import StatepipeError
from statepipe.store.walk import workers
from tests.crash import mutants, scene
from tests.crash.points import Points


def main(argv: Sequence[str]) -> int:
    """Drive; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--at")
    parser.add_argument("--signal", default="KILL")
    parser.add_argument("--env", choices=["process", "parallel"])
    parser.add_argument("--lease-ms", type=int)
    parser.add_argument("--mutant", choices=sorted(mutants.ALL))
    asked = parser.parse_args(argv)
    if asked.lease_ms:
        workers.register = partial(workers.register, lease_ms=asked.lease_ms)
    if asked.mutant:
        mutants.ALL[asked.mutant]()
    signum = signal.Signals[f"SIG{asked.signal}"]
    at = int(asked.at) if (asked.at or "").isdecimal() else asked.at
    if at is not None:
        points = Points(asked.root, at=at, signum=signum)
        points.install()
        workers.renew = _holding(points.others, workers.renew)
    try:
        with scene.make_engine(asked.root, env=asked.env) as engine:
            return _drive(engine)
    except StatepipeError as error:
        sys.stderr.write(f"{type(error).__name__}: {error.message}\n")
        return error.exit_code


def _holding(
    lock: AbstractContextManager[object], call: Callable[..., None]
) -> Callable[..., None]:
    def held(*arguments: object) -> None:
        with lock:
            call(*arguments)

    return held


def _drive(engine: Engine) -> int:
    statuses = scene.walk(engine)
    fenced = [] if engine._driver._loop is None else engine._driver._loop.fenced
    sys.stdout.write(json.dumps({"statuses": statuses, "fenced": fenced}) + "\n")
    return 76 if fenced else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
