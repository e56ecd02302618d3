"""Memory is bound by the batch, not by the data (R14)."""

from pathlib import Path

import pytest

from tests.bench.race import data, memory

MACHINES = Path(__file__).parents[2] / "machines"

FEW, MANY = 10_000, 60_000
#: A hundred bytes kept of each row would be more.
GROWTH_MAX = 1.1


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", ["rows", "columns"])
def test_six_times_the_rows_take_no_more_memory(tmp_path: Path, path: str) -> None:
    """Neither in the driver nor in a worker: both read, judge, map and load what was staged."""
    week = data.Data(MACHINES / "data" / "flights.csv", MACHINES / "data" / "airlines.csv")

    few, many = (
        memory.peak(
            tmp_path / str(rows),
            data.repeated(week, rows, folder=tmp_path),
            path=path,
            batch_size=1_000,
        )
        for rows in (FEW, MANY)
    )

    assert many.largest_mib < few.largest_mib * GROWTH_MAX, (few, many)
