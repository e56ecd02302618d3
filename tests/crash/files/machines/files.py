"""The same rows from files of several kinds, without a key: what is loaded twice is twice there."""

from collections.abc import Iterator
from pathlib import Path

from statepipe import Batch, Task, read_csv, read_jsonl, read_parquet

DATA = Path(__file__).parents[1] / "data"


def extract(task: Task) -> Iterator[Batch]:
    """Read the files of a way."""
    way = task.params["way"]
    if way == "csv":
        return read_csv(task, DATA / "*.csv.*", types={"id": int})
    if way == "parquet":
        return read_parquet(task, DATA / "*.parquet")
    return read_jsonl(
        task,
        "s3://bucket/in/*.jsonl.gz",
        storage_options={
            "key": "env:S3_KEY",
            "secret": "env:S3_SECRET",
            "endpoint_url": task.params["url"],
        },
    )
