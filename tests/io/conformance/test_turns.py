"""
Two processes that load the batches of one attempt in turn: `parallel` of a load.

Each looks at the table and gets its batch ready while the other one still loads the batch
before it.
"""

from contextlib import closing
from functools import partial

import pytest

from statepipe.io.destinations import LoadBatch
from statepipe.io.rows import Value
from tests.io.ends import End
from tests.io.warehouse import Warehouse, batch


def step(number: int, **more: Value) -> LoadBatch:
    """Return a batch of one row that all have, of which the last counts, and one of its own."""
    rows = [{"id": 0, "name": str(number)}, {"id": number + 1, "name": "own"}]
    return batch(rows, number=number, digest=b"%d" % number, **more)


@pytest.mark.parametrize("key", [(), ("id",)], ids=["append", "upsert"])
def test_what_was_ready_before_its_turn_is_loaded_after_what_was_before_it(
    end: End, key: tuple[str, ...]
) -> None:
    """Into a table that the batch before it made; a later batch has the last word."""
    with closing(end.destination(key=key)) as lead, closing(end.destination(key=key)) as beside:
        if not lead.is_shared:
            pytest.skip("one process at a time may have it open")
        for number in (0, 2):
            before = partial(lead.load, step(number))
            landed = beside.load(step(number + 1, turn=before))
            assert (landed.records, landed.already) == (2, False)

    common = [(0, "3")] if key else [(0, str(n)) for n in range(4)]
    # Of what has one key, appended, nothing says an order.
    assert sorted(end.rows()) == [*common, *((n + 1, "own") for n in range(4))]


@pytest.mark.parametrize("key", [(), ("id",)], ids=["no key", "key"])
def test_both_load_into_one_draft(warehouse: Warehouse, key: tuple[str, ...]) -> None:
    """Whoever of them makes it; it is published once, with the batches of both."""
    if key and not warehouse.upserts:
        pytest.skip("files have no keys")
    for instance in ("i-1", "i-2"):
        lead = warehouse.destination(replace=True, key=key)
        beside = warehouse.destination(replace=True, key=key)
        if not lead.is_shared:
            pytest.skip("one process at a time may have it open")
        before = partial(lead.load, step(0, instance=instance))
        beside.load(step(1, instance=instance, turn=before))
        lead.publish(batch([], instance=instance, number=2))

        rows = warehouse.query("SELECT id, name FROM t ORDER BY id, name")
        common = [(0, "1")] if key else [(0, "0"), (0, "1")]
        assert rows == [*common, (1, "own"), (2, "own")]
