"""An API that does everything wrong but lie, read in each way of paging."""

from collections.abc import Iterator

from statepipe import Batch, ByCursor, ByLink, ByOffset, ByPage, HttpLimits, Task, read_rest

WAYS: dict[str, ByPage | ByOffset | ByCursor | ByLink] = {
    "page": ByPage(last="$.pages"),
    "offset": ByOffset(limit=40, more="$.more"),
    "cursor": ByCursor(path="$.next"),
    "link": ByLink(),
}


def extract(task: Task) -> Iterator[Batch]:
    """Read all rows."""
    way = task.params["way"]
    yield from read_rest(
        task,
        f"{task.params['url']}/{way}",
        records="$.rows",
        pages=WAYS[way],
        total="$.total",
        auth="env:ROUGH_TOKEN",
        decimals=way in ("offset", "cursor"),
        limits=HttpLimits(read_ms=250, total_ms=5_000),
        resource="rough-api",
    )


def transform(task: Task, batch: Batch) -> Batch:
    """Say which way a row came."""
    return Batch([{"way": task.params["way"], **row} for row in batch.records])
