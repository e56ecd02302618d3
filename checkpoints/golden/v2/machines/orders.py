"""
Orders without a file: every instance makes its own, always the same ones.

    extract     12 orders in batches of 4, of which every fifth has no pieces
    transform   their totals; breaks in a `broken` instance until somebody repairs it
    check       counts them, as a result that guards look at
"""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from statepipe import Batch, Outcome, Task

ORDERS = 12

#: A file that a person makes once the cause of the failure is gone.
REPAIRED = Path(__file__).parent.parent / "repaired"


def extract(task: Task) -> Iterator[Batch]:
    """Yield the instance's orders from the cursor on."""
    for start in range(task.cursor or 0, ORDERS, task.batch_size):
        end = min(start + task.batch_size, ORDERS)
        orders = [
            {
                "id": f"{task.instance}-{number}",
                "day": task.params["day"],
                "quantity": number % 5,
                "price": Decimal(f"{number}.50"),
                "comment": "wrap it, please; " * number,
            }
            for number in range(start, end)
        ]
        yield Batch(orders, cursor=end)


def transform(task: Task, batch: Batch) -> Batch:
    """Add each order's total."""
    if task.params["broken"] and not REPAIRED.exists():
        raise RuntimeError("the price list is not readable")
    return Batch(
        [{**order, "total": order["quantity"] * order["price"]} for order in batch.records]
    )


def check(task: Task) -> Outcome:
    """Report how many orders there were."""
    return Outcome("ok", {"orders": ORDERS, "day": task.params["day"]})
