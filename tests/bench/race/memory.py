"""
How much memory a run takes, and whether that depends on how many rows there are.

    peak        the machine of the race on some rows: what its processes had at most
    limited     the same in processes whose address space may not grow far
"""

import os
import sys
from pathlib import Path

from tests.bench.race.data import Data
from tests.bench.race.entrants import project, statepipe
from tests.bench.race.measure import Measured, measured

_TO = "sqlite:///warehouse.db"
_BOUND_S = 1_800


def peak(folder: Path, data: Data, *, path: str, batch_size: int | None = None) -> Measured:
    """Run the machine's `path` in `folder`, which is made."""
    folder.mkdir()
    project(folder, path=path, to=_TO, batch_size=batch_size)
    return measured(statepipe(data, _TO), cwd=folder, environ=os.environ, bound_s=_BOUND_S)


def limited(folder: Path, data: Data, *, growth_mib: int) -> Measured:
    """Run the dict path in `folder`, which is made, within so much above its idle size."""
    folder.mkdir()
    project(folder, path="rows", to=_TO)
    module = "tests.bench.race.limited"
    command: list[str | Path] = [sys.executable, "-m", module, folder, str(growth_mib), *data]
    return measured(command, cwd=folder, environ=os.environ, bound_s=_BOUND_S)
