"""
Reading a file as the engine does: undisturbed, or with a crash after each batch.
"""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from statepipe.batch import Batch
from statepipe.io.rows import Value
from statepipe.model import Record, Task
from statepipe.store.codec import decode, encode

Reader = Callable[[Task], Iterator[Batch]]


def task(*, batch_size: int = 2, cursor: Value = None, watermark: Value = None) -> Task:
    """Return a source's task; a cursor has been through a checkpoint."""
    return Task(
        instance="i",
        machine="m",
        state="extracting",
        name="extracting",
        attempt=1,
        params={},
        cursor=decode(encode(cursor)),
        watermark=watermark,
        results={},
        batch_size=batch_size,
        log=logging.getLogger("test"),
        idempotency_key="k",
        _beat=lambda: None,
        _is_cancelled=lambda: False,
    )


def read(reader: Reader, *, batch_size: int = 2) -> tuple[list[Record], list[tuple[Record, str]]]:
    """Return all records and all rejects of an undisturbed run."""
    source = task(batch_size=batch_size)
    records = [record for batch in reader(source) for record in batch.records]
    return records, source._rejects


def read_with_crashes(
    reader: Reader, *, batch_size: int = 2, watermark: Value = None
) -> tuple[list[Record], list[tuple[Record, str]]]:
    """Return the same, with a crash after each committed batch: one batch a run."""
    records: list[Record] = []
    rejects: list[tuple[Record, str]] = []
    cursor = None
    while True:
        source = task(batch_size=batch_size, cursor=cursor, watermark=watermark)
        batch = next(reader(source), None)
        if batch is None:
            return records, rejects
        assert len(batch.records) + len(source._rejects) <= batch_size
        records += batch.records
        rejects += source._rejects
        cursor = batch.cursor


def write(path: Path, data: bytes) -> Path:
    """Write a small file and return its path."""
    path.write_bytes(data)
    return path
