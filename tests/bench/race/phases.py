"""
Where the time of a run goes: each state by the clock, and its functions by the profiler.

    python -m tests.bench.race.phases rows|columns|plain

The machine runs inline and twice: once for the clock, once under cProfile, which makes Python
look slower than it is beside what is written in C. The plain script has no states. For
PostgreSQL, RACE_WAREHOUSE is the address of an empty database.
"""

import cProfile
import os
import pstats
import runpy
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.runtime.driving.pools import Pools
from statepipe.runtime.executors.inline import InlineExecutor
from statepipe.store.file.opening import open_reader
from tests.bench import report
from tests.bench.race import data
from tests.bench.race.entrants import HERE, project

_SHOWN: Final = 12
_INLINE: Final = 'store = "statepipe.db"\n[policies.default]\nexecutor = "inline"\n'


class Profiled(InlineExecutor):
    """Runs each attempt under the profile of its state."""

    def __init__(self) -> None:
        super().__init__()
        self.profiles: dict[str, cProfile.Profile] = defaultdict(cProfile.Profile)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401  (whatever the call takes)
        """Call `fn`, profiled."""
        with self.profiles[args[0]["state"]]:
            return super().submit(fn, *args, **kwargs)


def main(path: str) -> None:
    """Print both tables."""
    flights = data.fetched()
    with tempfile.TemporaryDirectory() as folder:
        if path == "plain":
            plain(flights, Path(folder))
            return
        timed(flights, Path(folder) / "timed", path=path)
        profiled(flights, Path(folder) / "profiled", path=path)


def timed(flights: data.Data, folder: Path, *, path: str) -> None:
    """Print what each state took."""
    _run(flights, folder, path=path, pools=Pools())
    with closing(open_reader(folder / "statepipe.db")) as store:
        rows = [
            (state, f"{took_ms / 1000:.2f}", f"{took_ms * 1000 / records:.2f}")
            for state, took_ms, records in store.execute(
                "SELECT state, took_ms, records FROM attempts"
            )
        ]
    print(report.table(f"### {path}, by state", ("state", "s", "us a record"), rows))


def profiled(flights: data.Data, folder: Path, *, path: str) -> None:
    """Print the functions that each state spent most in."""
    executor = Profiled()
    pools = Pools()
    pools.get("inline")  # what is printed must be told apart from here on
    pools._made["inline"] = executor
    _run(flights, folder, path=path, pools=pools)
    for state, profile in executor.profiles.items():
        _print(f"### {path}, {state}: own time of functions", profile)


def plain(flights: data.Data, folder: Path) -> None:
    """Print the functions that the plain script spends most in."""
    os.chdir(folder)
    sys.argv = ["plain.py", *map(str, flights), str(folder / "plain.db")]
    profile = cProfile.Profile()
    with profile:
        runpy.run_path(str(HERE / "peers" / "plain.py"), run_name="__main__")
    _print("### plain: own time of functions", profile)


def _run(flights: data.Data, folder: Path, *, path: str, pools: Pools) -> None:
    folder.mkdir()
    is_postgres = "RACE_WAREHOUSE" in os.environ
    to = "env:RACE_WAREHOUSE" if is_postgres else "sqlite:///warehouse.db"
    project(folder, path=path, to=to)
    (folder / "statepipe.toml").write_text(_INLINE, encoding="utf-8")
    params = {name: str(value) for name, value in flights._asdict().items()}
    with Engine(load_config(start=folder, environ={}), pools=pools) as engine:
        instance = engine.create("race", params=params)
        assert instance is not None
        assert engine.run([instance]) == {instance: "done"}


def _print(title: str, profile: cProfile.Profile) -> None:
    stats = pstats.Stats(profile)
    whole_s = sum(each[2] for each in stats.stats.values())  # type: ignore[attr-defined]  # untyped, or private
    rows = []
    for place, facts in stats.stats.items():  # type: ignore[attr-defined]  # untyped, or private
        file, line, name = place
        where = f"{Path(file).name}:{line} {name}" if line else name
        rows.append((facts[2], facts[3], facts[1], where))
    rows.sort(reverse=True)
    cells = [
        (where, f"{own:.2f}", f"{own / whole_s:.0%}", f"{whole:.2f}", f"{calls:,}")
        for own, whole, calls, where in rows[:_SHOWN]
    ]
    head = ("function", "own s", "share", "with callees s", "calls")
    print(report.table(f"{title} ({whole_s:.1f} s)", head, cells))


if __name__ == "__main__":
    main(*sys.argv[1:])
