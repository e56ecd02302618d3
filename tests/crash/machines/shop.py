"""
A small shop's orders: the pipeline that the crash tests kill.

Five batches. Two are too large for a row of the store and become staged files, one has so
many rejects that these become a file, too; ids come back, so that an upsert which is done
twice or in another order shows. Each call of a function here leaves a line in `calls.log`,
by which a test counts the work that was done again; the call that the file `deadly` names
kills its process.
"""

import base64
import hashlib
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from statepipe import Batch, Task

ROOT = Path(__file__).parents[1]

BATCHES = 5
LARGE = {1, 3}
FULL_OF_REJECTS = 3


def extract(task: Task) -> Iterator[Batch]:
    """Yield the batches after the cursor; they are always the same."""
    for number in range(task.cursor or 0, BATCHES):
        called("extract", number)
        yield Batch(orders(number), cursor=number + 1)


def transform(task: Task, batch: Batch) -> Batch:
    """Give each order the values that only a careful warehouse keeps."""
    called("transform", int(task.idempotency_key.rpartition(":")[2]))
    made = []
    for order in batch.records:
        if order["note"] == "not for sale":
            task.reject(order, "not for sale")
        else:
            made.append(priced(order))
    return Batch(made)


def called(function: str, number: int) -> None:
    """Write one line, whole, whoever dies next."""
    log = os.open(ROOT / "calls.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(log, f"{function} {number}\n".encode())
    finally:
        os.close(log)
    deadly = ROOT / "deadly"
    if deadly.exists() and deadly.read_text("utf-8") == f"{function} {number}":
        deadly.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def orders(number: int) -> list[dict[str, Any]]:
    """Return the orders of one batch; every third is refused by the contract."""
    count = 39 if number in LARGE else 6
    # Hashes, since whatever can be compressed would fit into the row after all.
    text_bytes = 2_700 if number in LARGE else 10
    return [
        {
            "id": (number * 4 + place) % 150,
            "quantity": 77 if place == 4 else place,
            "price": place / 8,
            "note": "not for sale" if place == 1 else None,
            "text": base64.b64encode(noise(f"{number}/{place}", text_bytes)).decode(),
            "refused": place % 3 == 2 or (number == FULL_OF_REJECTS and place % 3 == 0),
        }
        for place in range(count)
    ]


def priced(order: dict[str, Any]) -> dict[str, Any]:
    """Return what is loaded of one order."""
    return {
        "id": order["id"],
        "quantity": order["quantity"],
        "price": order["price"],
        "note": order["note"],
        "text": order["text"],
        "digest": noise(order["text"], 16),
        "gift": order["id"] % 2 == 0,
        "ordered_at": datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=order["id"]),
        "amount": Decimal(order["quantity"]) * Decimal("0.10"),
    }


def noise(seed: str, size: int) -> bytes:
    """Return `size` bytes that look random and never change."""
    return hashlib.shake_256(seed.encode()).digest(size)
