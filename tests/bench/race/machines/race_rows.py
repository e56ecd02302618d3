"""The dict path of the race: a file read as records, each enriched by itself."""

from collections.abc import Iterator

from departed import NUMBERS, airlines, enriched

from statepipe import Batch, Task, read_csv


def extract(task: Task) -> Iterator[Batch]:
    """Read the departures."""
    types = dict.fromkeys(NUMBERS, int)
    yield from read_csv(task, task.params["flights"], types=types, nulls=("NA",))


def transform(task: Task, batch: Batch) -> Batch:
    """Make rows of the warehouse of departures."""
    names = airlines(task.params["airlines"])
    return Batch([enriched(record, names) for record in batch.records])
