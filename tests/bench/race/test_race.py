"""
`make bench`: a year of New York's departures into a warehouse, beside those who could do it too.

Taking turns, whole commands, medians. All entrants must leave the same rows, value for value
and type for type, or there is no race.
"""

import os
import shutil
import statistics
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.bench import cores, raw, report
from tests.bench.race import data, memory
from tests.bench.race.entrants import ENTRANTS
from tests.bench.race.measure import Measured
from tests.bench.race.warehouses import Content, Postgres, Sqlite, Warehouse
from tests.io.postgres.server import Cluster

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3_600)]

ROUNDS = int(os.environ.get("STATEPIPE_BENCH_ROUNDS", "3"))
#: Around a round with two cores, two processes at once take at most so much longer than one alone.
TWO_CORES_MAX = 1.15
#: How much more memory ten times the rows may take.
GROWTH_MAX = 1.15


@pytest.fixture(scope="module")
def flights() -> data.Data:
    """Return the departures, fetched if need be."""
    return data.fetched()


@pytest.fixture(params=["sqlite", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    """Return an empty warehouse of each kind in turn."""
    if request.param == "sqlite":
        yield Sqlite(tmp_path / "warehouse")
        return
    # As somebody's server is, not as tests want it: a commit that returned is on the disk.
    cluster = Cluster(fsync="on", autovacuum="on", shared_buffers="128MB", max_wal_size="1GB")
    try:
        cluster.start()
        yield Postgres(cluster)
    finally:
        cluster.remove()


def test_a_year_of_departures(
    flights: data.Data, warehouse: Warehouse, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """336,776 departures read, judged, enriched, upserted; 8,255 never left and are put aside."""
    took: dict[str, list[Measured]] = {entrant.name: [] for entrant in ENTRANTS}
    first: Content | None = None
    print(report.table("### The machine", ("fact", "value"), _facts(tmp_path)))
    slowdowns = [cores.slowdown()]
    for turn in range(ROUNDS):
        for entrant in ENTRANTS:
            if turn and entrant.is_slow:
                continue
            warehouse.empty()
            folder = tmp_path / f"{entrant.name}-{turn}"
            took[entrant.name].append(entrant.run(flights, warehouse, folder=folder))
            found = warehouse.content()
            first = first or found
            assert found.rows == data.ROWS - data.CANCELLED, entrant.name
            assert found == first, entrant.name
        slowdowns.append(cores.slowdown())
    kind = request.node.callspec.params["warehouse"]
    print(_table(f"### {data.ROWS:,} departures into {kind}, median of {ROUNDS}", took))
    said = ", ".join(f"{each:.2f}" for each in slowdowns)
    print(f"Two processes at once, of one alone, around the rounds: {said}.")
    turns = [turn for turn, pair in enumerate(pairwise(slowdowns)) if max(pair) <= TWO_CORES_MAX]
    if 0 < len(turns) < ROUNDS:
        some = {
            name: [runs[turn] for turn in turns if turn < len(runs)] for name, runs in took.items()
        }
        print(_table(f"### The same of the {len(turns)} that had two cores, by that", some))


@pytest.mark.parametrize("path", ["rows", "columns"])
def test_ten_times_the_departures_take_no_more_memory(
    flights: data.Data, tmp_path: Path, path: str
) -> None:
    """300,000 and 3,000,000; rows in processes that may grow by 400 MiB of address space."""
    took = {}
    for count in (300_000, 3_000_000):
        folder, some = tmp_path / str(count), data.repeated(flights, count, folder=data.cache())
        if path == "rows":
            took[count] = memory.limited(folder, some, growth_mib=400)
        else:
            took[count] = memory.peak(folder, some, path=path)
        shutil.rmtree(folder)
    few, many = took.values()
    rows = [
        (
            f"{count:,}",
            f"{each.largest_mib:.0f}",
            f"{each.largest_mib / few.largest_mib:.2f}",
            f"{each.together_mib:.0f}",
            f"{each.wall_s:.0f}",
        )
        for count, each in took.items()
    ]
    head = ("departures", "largest MiB", "of few", "together MiB", "wall s")
    print(report.table(f"### Memory, {path}", head, rows))

    assert many.largest_mib < few.largest_mib * GROWTH_MAX


def _facts(folder: Path) -> list[tuple[str, str]]:
    return report.facts(folder, fsync_ms=raw.fsync_ms(folder))


def _table(title: str, took: dict[str, list[Measured]]) -> str:
    took = {name: runs for name, runs in took.items() if runs}
    middle = {
        name: Measured(*map(statistics.median, zip(*runs, strict=True)))
        for name, runs in took.items()
    }
    best_s = {name: min(run.wall_s for run in runs) for name, runs in took.items()}
    plain = ENTRANTS[0].name
    base = middle[plain]
    rows = [
        (
            name,
            f"{each.wall_s:.1f}",
            f"{each.wall_s / base.wall_s:.2f}",
            f"{best_s[name]:.1f}",
            f"{best_s[name] / best_s[plain]:.2f}",
            f"{each.cpu_s:.1f}",
            f"{each.cpu_s / base.cpu_s:.2f}",
            f"{each.largest_mib:.0f}",
            f"{each.together_mib:.0f}",
        )
        for name, each in middle.items()
    ]
    head = (
        *("", "wall s", "of plain", "best s", "of plain", "CPU s", "of plain"),
        *("largest MiB", "together MiB"),
    )
    return report.table(title, head, rows)
