"""
A mill: batches of grain that take a while each, and a line in `calls.log` for each call.

By the log a test counts what was done again. Every batch has one grain that weighs nothing,
which the contract rejects.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from statepipe import Batch, Task

ROOT = Path(__file__).parents[1]

#: Grains in a batch, the empty one included.
GRAINS = 20


def extract(task: Task) -> Iterator[Batch]:
    """Yield the batches after the cursor; they are always the same."""
    for number in range(task.cursor or 0, task.params["batches"]):
        called(task, number)
        grains = [
            {"id": f"{task.instance}/{number}/{place}", "weight": place} for place in range(GRAINS)
        ]
        yield Batch(grains, cursor=number + 1)


def grind(task: Task, batch: Batch) -> Batch:
    """Make flour of grain."""
    called(task, int(task.idempotency_key.rpartition(":")[2]))
    return Batch([{**grain, "flour": grain["weight"] * 2} for grain in batch.records])


def bake(task: Task, batch: Batch) -> Batch:
    """Make bread of flour."""
    called(task, int(task.idempotency_key.rpartition(":")[2]))
    return Batch([{"id": each["id"], "bread": each["flour"] + 1} for each in batch.records])


def called(task: Task, number: int) -> None:
    """Write one line, whole, whoever dies next; then work for some milliseconds."""
    log = os.open(ROOT / "calls.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(log, f"{task.instance} {task.state} {number}\n".encode())
    finally:
        os.close(log)
    hashlib.pbkdf2_hmac("sha256", b"millstone", b"grain", 4_000)
