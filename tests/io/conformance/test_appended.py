"""
A load that appends is done again after a rewind: what nobody heard of is there once (R4).
"""

from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from statepipe.errors import LedgerMismatch, Unreachable
from statepipe.io.destinations import Destination, Landed, LoadBatch, open_destination
from statepipe.io.rows import Value
from statepipe.machine.states.tasks import Load
from statepipe.runtime.tasks import builtin
from tests.io.scene import Make, Scene
from tests.io.warehouse import Warehouse, batch

OTHER_STAYS: list[dict[str, Value]] = [
    {"generation": 1, "number": 1},
    {"visit": 2},
    {"state": "loading more"},
    {"instance": "i-2"},
    {"store_id": "store-2"},
]


def test_what_an_earlier_generation_has_appended_is_not_appended_again(
    warehouse: Warehouse,
) -> None:
    """Nothing changes, however often it is tried; the ledger row that is there still answers."""
    with closing(warehouse.destination()) as target:
        target.load(batch(appends=True))
        for number in (0, 1):
            with pytest.raises(LedgerMismatch, match=r"3 records of .* in generation 1") as refusal:
                target.load(batch(appends=True, generation=3, number=number, epoch=2))
        assert target.load(batch(appends=True, epoch=2)) == Landed(3, [], already=True)

    assert "generation 1 in _statepipe_ledger; then resume" in refusal.value.next_step
    assert warehouse.query("SELECT count(*) FROM t") == [(3,)]


@pytest.mark.parametrize("other", OTHER_STAYS, ids=str)
def test_what_others_have_appended_is_nothing_to_a_load(
    warehouse: Warehouse, other: dict[str, Value]
) -> None:
    """Another batch, visit, state, instance or store: these rows are not the same ones."""
    with closing(warehouse.destination()) as target:
        target.load(batch(appends=True))
        again = target.load(batch(appends=True, **{"generation": 2, **other}))

    assert again == Landed(3, [], already=False)


def test_a_batch_of_which_every_record_was_rejected_has_appended_nothing(
    database: Warehouse,
) -> None:
    """So it is loaded again after a rewind, to be judged again."""
    database.script("CREATE TABLE t (id INTEGER CHECK (id > 7), name TEXT)")
    with closing(database.destination()) as target:
        assert len(target.load(batch(appends=True)).rejects) == 3
        again = target.load(batch([{"id": 8, "name": "h"}], appends=True, generation=2))

    assert again == Landed(1, [], already=False)


@pytest.fixture
def unheard(make: Make, table: Load, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Return an instance that appends, and whose batches landed without anybody's hearing of it."""

    def opened(*args: Any, **asked: Any) -> Destination:  # noqa: ANN401  (whatever is passed on)
        real = open_destination(*args, **asked)
        load = real.load

        def lost(offered: LoadBatch) -> Landed:
            load(offered)
            real.close()
            raise Unreachable("gone", meaning="who knows", next_step="again")

        monkeypatch.setattr(real, "load", lost)
        return real

    scene = make(replace(table, mode="append", key=()))
    with monkeypatch.context() as patch:
        patch.setattr(builtin, "open_destination", opened)
        scene.fails()
    return scene


def test_a_rewind_of_what_landed_unheard_doubles_nothing(
    unheard: Scene, database: Warehouse
) -> None:
    """The store does not know, so it is rewound; the load is refused, with the way out."""
    unheard.engine.rewind("i", to="extracting")
    assert unheard.engine.run(["i"]) == {"i": "failed"}

    said = unheard.fails()

    assert said[0].startswith("LedgerMismatch: 2 records of instance 'i' were appended")
    assert database.query("SELECT id FROM t ORDER BY id") == [(1,), (2,)]
    database.script("DELETE FROM t; DELETE FROM _statepipe_ledger WHERE generation = 1")
    assert unheard.resume() == "done"
    assert database.query("SELECT id FROM t ORDER BY id") == [(1,), (2,)]


def test_a_resume_of_what_landed_unheard_takes_it_as_loaded(
    unheard: Scene, database: Warehouse
) -> None:
    """The same stay goes on, and the ledger answers for the batch."""
    assert unheard.resume() == "done"
    assert database.query("SELECT id FROM t ORDER BY id") == [(1,), (2,)]
