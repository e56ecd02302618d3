"""The columnar path of the race: the same work by whole columns, never a dict."""

from collections.abc import Iterator

from departed_columns import blocks, enriched

from statepipe import Batch, Task


def extract(task: Task) -> Iterator[Batch]:
    """Read the departures block by block; the cursor counts them."""
    done = task.cursor or 0
    for number, block in enumerate(blocks(task.params["flights"], task.batch_size), 1):
        if number > done:
            yield Batch(block, cursor=number)


def transform(task: Task, batch: Batch) -> Batch:
    """Make rows of the warehouse of departures."""
    return Batch(enriched(batch.records, task.params["airlines"]))
