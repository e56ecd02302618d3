"""
A table that is dropped while it is being loaded: half of a load is not taken for all of it (R4).

Files are no such case: a load writes those again that its folder has lost.
"""

import re
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from statepipe.errors import LedgerMismatch, Unreachable
from statepipe.io.destinations import Destination, Landed, LoadBatch, open_destination
from statepipe.machine.states.tasks import Load
from statepipe.runtime.tasks import builtin
from tests.io.scene import Make
from tests.io.warehouse import Warehouse, batch

_T = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)"


@pytest.mark.parametrize("key", [(), ("id",)], ids=["append", "upsert"])
def test_a_table_that_was_dropped_meanwhile_is_not_made_anew(
    database: Warehouse, key: tuple[str, ...]
) -> None:
    """By whoever goes on, connected or not; also by a batch that has nothing to put there."""
    made = partial(database.destination, key=key)
    with closing(made()) as target, closing(made()) as another:
        target.load(batch(number=0))
        another.load(batch(number=1))
        database.script("DROP TABLE t")
        for number, rows in ((2, None), (3, [])):
            for who in (target, another):
                with pytest.raises(LedgerMismatch, match="'t' was dropped while") as refusal:
                    who.load(batch(rows, number=number))
        assert "t" not in database.tables()
        assert target.load(batch(number=0)) == Landed(3, [], already=True)

    way = (
        "statepipe rewind i-1 --to loading, then" if key else "DELETE FROM _statepipe_ledger WHERE"
    )
    assert way in refusal.value.next_step
    assert database.query("SELECT batch FROM _statepipe_ledger ORDER BY batch") == [(0,), (1,)]


def test_a_table_put_back_is_loaded_on(database: Warehouse) -> None:
    """Its rows are its owner's to restore; the ledger says which batches these are."""
    target = database.destination(key=("id",))
    target.load(batch(number=0))
    database.script("DROP TABLE t")
    with pytest.raises(LedgerMismatch):
        target.load(batch(number=1))
    database.script(f"{_T}; INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")

    assert target.load(batch([{"id": 4, "name": "d"}], number=1)) == Landed(1, [], already=False)
    assert database.query("SELECT count(*) FROM t") == [(4,)]


@pytest.mark.parametrize("other", [{"instance": "i-2"}, {"generation": 2}, {"visit": 2}], ids=str)
def test_what_another_stay_has_loaded_is_nothing_to_this_one(
    database: Warehouse, other: dict[str, str | int]
) -> None:
    """Whoever begins with a table that is not there makes it."""
    target = database.destination()
    target.load(batch())
    database.script("DROP TABLE t")

    assert target.load(batch(number=1, **other)) == Landed(3, [], already=False)
    assert database.query("SELECT count(*) FROM t") == [(3,)]


def test_batches_of_which_nothing_was_loaded_have_no_table_to_lose(database: Warehouse) -> None:
    """A batch of rejects makes none, so the next one does."""
    target = database.destination()

    assert len(target.load(batch([{}])).rejects) == 1
    assert target.load(batch(number=1)) == Landed(3, [], already=False)


def opened_once(*args: Any, **asked: Any) -> Destination:  # noqa: ANN401  (whatever is passed on)
    """Open a destination that is lost after its first batch."""
    real = open_destination(*args, **asked)
    load = real.load

    def lost(offered: LoadBatch) -> Landed:
        if offered.number:
            raise Unreachable("gone", meaning="nothing was loaded", next_step="again")
        return load(offered)

    real.load = lost  # type: ignore[method-assign,assignment]
    return real


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_the_way_out_that_is_named_loads_all_of_it(
    make: Make, table: Load, database: Warehouse, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upsert is rewound; what was appended cannot be, so the ledger is made to forget it."""
    asked = table if mode == "upsert" else replace(table, mode="append", key=())
    scene = make(asked, [{"id": 3, "name": "c"}])
    with monkeypatch.context() as patch:
        patch.setattr(builtin, "open_destination", opened_once)
        scene.fails()
    database.script("DROP TABLE t")

    said = scene.fails()

    assert said[0].startswith("LedgerMismatch: table 't' was dropped while instance 'i' was")
    if mode == "upsert":
        assert "again: statepipe rewind i --to loading, then resume" in said[-1]
        scene.engine.rewind("i", to="loading")
        assert scene.engine.run(["i"]) == {"i": "done"}
    else:
        forget = re.search(r"DELETE FROM .*(?=, then resume)", said[-1])
        assert forget is not None
        database.script(forget[0])
        assert scene.resume() == "done"
    assert database.query("SELECT id FROM t ORDER BY id") == [(1,), (2,), (3,)]
