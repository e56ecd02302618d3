"""
The files that `statepipe init` writes: the smallest pipeline with every part of a real one.
"""

from typing import Final

_CONFIG: Final = """\
# What governs every machine here, changed without touching one.
store = "checkpoints/statepipe.db"

[policies.patient]                 # named by `retry = "patient"` in a machine
errors = ["ConnectionError", "TimeoutError", "Throttled"]
max_attempts = 5                   # all tries, the first included
interval = "1s"
backoff_rate = 2.0

[machines.orders.states.extracting]
batch_size = 5                     # small, so that there are several commits to look at
"""

_MACHINE: Final = """\
machine = "orders"
version = 1
why     = "Orders of a day, checked, with their total, in a warehouse."

extract   = "orders:extract"                          # function in orders.py
validate  = { contract = "contracts/order.json" }     # rejects go to quarantine
transform = "orders:transform"
load      = { to = "sqlite:///warehouse.db", table = "orders", key = ["id"] }  # exactly once
"""

_FUNCTIONS: Final = '''\
"""
Orders, from data/orders.csv to rows of the warehouse.

    extract     a source: each batch is committed with its place in the file
    transform   a map: called once per batch
"""

from collections.abc import Iterator
from pathlib import Path

from statepipe import Batch, Task, read_csv

DATA = Path(__file__).parent / "data" / "orders.csv"


def extract(task: Task) -> Iterator[Batch]:
    """Read the orders; after a crash it goes on behind the last committed batch."""
    yield from read_csv(task, DATA, types={"id": int, "quantity": int, "price": float})


def transform(task: Task, batch: Batch) -> Batch:
    """Add the total of each order."""
    return Batch([{**row, "total": row["quantity"] * row["price"]} for row in batch.records])
'''

_CONTRACT: Final = """\
{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "An order",
  "type": "object",
  "required": ["id", "customer", "quantity", "price"],
  "properties": {
    "id": { "type": "integer", "minimum": 1 },
    "customer": { "type": "string", "minLength": 1 },
    "quantity": { "type": "integer", "minimum": 1 },
    "price": { "type": "number", "exclusiveMinimum": 0 }
  }
}
"""

_DATA: Final = """\
id,customer,quantity,price
1,Ada,2,19.90
2,Grace,1,149.00
3,Edsger,5,3.20
4,Barbara,1,89.50
5,Donald,12,1.25
6,Tony,0,45.00
7,Frances,3,24.99
8,John,1,310.00
9,Margaret,7,9.75
10,,2,15.00
11,Niklaus,4,12.40
12,Radia,2,72.00
"""

_TEST: Final = '''\
"""The example, run on a copy of its folder: what is sound is loaded, the rest is put aside."""

import shutil
import sqlite3
from pathlib import Path

from statepipe import Engine, Reader, load_config

PROJECT = Path(__file__).parent.parent


def test_sound_orders_are_loaded_and_the_others_quarantined(tmp_path: Path) -> None:
    """Two of twelve orders break the contract: one without customer, one of nothing."""
    shutil.copytree(PROJECT / "machines", tmp_path / "machines")
    shutil.copy(PROJECT / "statepipe.toml", tmp_path)
    config = load_config(start=tmp_path, environ={})

    with Engine(config) as engine:
        statuses = engine.run([engine.create("orders", instance_id="test")])

    with Reader(config.store) as reader:
        rejected = {each.record["id"] for each in reader.rejected("test")}
    connection = sqlite3.connect(tmp_path / "warehouse.db")
    count, total = connection.execute("SELECT count(*), sum(total) FROM orders").fetchone()
    connection.close()
    assert statuses == {"test": "done"}
    assert (count, round(total, 2)) == (10, 956.12)
    assert rejected == {6, 10}
'''

_IGNORED: Final = """\
checkpoints/
warehouse.db*
__pycache__/
"""

#: Texts by path below the new folder, in the order they are best read.
FILES: Final = {
    "statepipe.toml": _CONFIG,
    "machines/orders.toml": _MACHINE,
    "machines/orders.py": _FUNCTIONS,
    "machines/contracts/order.json": _CONTRACT,
    "machines/data/orders.csv": _DATA,
    "tests/test_orders.py": _TEST,
    ".gitignore": _IGNORED,
}
