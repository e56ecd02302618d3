"""
A ledger that is removed in the middle of a load: what nobody can tell any more is not guessed (R4).

Made anew it would be empty, so what is there would be loaded again: appended twice, or an
earlier batch over a later one.
"""

import shutil
from contextlib import closing
from dataclasses import replace

import pytest

from statepipe.errors import LedgerMismatch
from statepipe.io.destinations import Landed
from statepipe.machine.states.tasks import Load
from statepipe.runtime.tasks import builtin
from tests.io.conformance.test_dropped import opened_once
from tests.io.folder_warehouse import FolderWarehouse
from tests.io.scene import Make
from tests.io.warehouse import Warehouse, batch


def remove_ledger(warehouse: Warehouse) -> None:
    """Remove the ledger, and nothing else."""
    if isinstance(warehouse, FolderWarehouse):
        shutil.rmtree(warehouse.ledger.parent)
    else:
        warehouse.script("DROP TABLE _statepipe_epoch; DROP TABLE _statepipe_ledger")


@pytest.mark.parametrize("appends", [True, False], ids=["append", "other"])
def test_a_ledger_that_was_removed_meanwhile_is_not_made_anew(
    warehouse: Warehouse, *, appends: bool
) -> None:
    """By whoever goes on, connected or not; a load that begins makes it as ever."""
    with closing(warehouse.destination()) as target:
        target.load(batch())
        remove_ledger(warehouse)
        for number in (0, 1):  # reconciling asks for the first one again
            with (
                closing(warehouse.destination()) as another,
                pytest.raises(LedgerMismatch, match=r"no ledger, although .* 'i-1'") as refusal,
            ):
                another.load(batch(number=number, begun=True, appends=appends))
        with pytest.raises(LedgerMismatch, match="no ledger, although"):
            target.load(batch(number=1, begun=True, appends=appends))

        way = "delete its rows by hand" if appends else "statepipe rewind i-1 --to loading"
        assert way in refusal.value.next_step
        assert warehouse.query("SELECT count(*) FROM t") == [(3,)]
        assert warehouse.destination().load(batch(instance="i-2")) == Landed(3, [], already=False)
    assert warehouse.query("SELECT instance FROM _statepipe_ledger") == [("i-2",)]


@pytest.mark.parametrize("mode", ["append", "upsert", "replace"])
def test_a_load_whose_ledger_was_removed_does_not_end(
    make: Make, table: Load, database: Warehouse, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is doubled, and no row is put back; the way out that is named loads all of it."""
    asked = table if mode == "upsert" else replace(table, mode=mode, key=())
    scene = make(asked, [{"id": 2, "name": "newer"}])
    with monkeypatch.context() as patch:
        patch.setattr(builtin, "open_destination", opened_once)
        scene.fails()
    remove_ledger(database)
    tables = database.tables()

    said = scene.fails()

    assert "has no ledger, although" in said[0]
    assert database.tables() == tables
    if mode == "append":
        assert database.query("SELECT id FROM t ORDER BY id") == [(1,), (2,)]
        return
    scene.engine.rewind("i", to="loading")
    assert scene.engine.run(["i"]) == {"i": "done"}
    there = [("a",), ("newer",)] if mode == "upsert" else [("a",), ("b",), ("newer",)]
    assert database.query("SELECT name FROM t ORDER BY name") == there


def test_a_lake_that_was_removed_is_not_begun_anew(
    make: Make, lake: FolderWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What else was in it is lost with it, which whoever goes on must hear."""
    scene = make(Load(to=f"{lake.kind}:///lake", table="t", mode="append"), [{"id": 3}])
    with monkeypatch.context() as patch:
        patch.setattr(builtin, "open_destination", opened_once)
        scene.fails()
    shutil.rmtree(lake.root)

    assert "has no ledger, although" in scene.fails()[0]
    assert not lake.root.exists()


def test_whoever_is_ready_before_the_ledger_is_made_waits_for_it(warehouse: Warehouse) -> None:
    """Batches are made ready side by side; the first one of all makes the ledger meanwhile."""
    with closing(warehouse.destination()) as first, closing(warehouse.destination()) as second:
        if not second.is_shared:
            pytest.skip("one process at a time may have it open")

        landed = second.load(batch(number=1, begun=True, turn=lambda: first.load(batch([]))))

        assert landed == Landed(3, [], already=False)
    assert warehouse.query("SELECT batch FROM _statepipe_ledger ORDER BY batch") == [(0,), (1,)]
