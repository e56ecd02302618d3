"""
A source that has nothing to say, through the engine: the table is there, and is right.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import Unreachable
from statepipe.io.destinations import Destination, LoadBatch, open_destination
from statepipe.machine.states.tasks import Load
from statepipe.runtime.tasks import builtin
from tests.io.scene import Make
from tests.io.warehouse import Warehouse

CONTRACT = """{
  "required": ["id"], "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}
}"""

LEDGER = "SELECT batch, records, rejected FROM _statepipe_ledger ORDER BY batch"


@pytest.fixture
def contract(tmp_path: Path) -> str:
    """Write a contract; return its path as a machine says it."""
    path = tmp_path / "machines" / "row.json"
    path.parent.mkdir()
    path.write_text(CONTRACT, encoding="utf-8")
    return path.name


@pytest.mark.parametrize("mode", ["append", "upsert", "replace"])
def test_a_run_without_batches_makes_the_table_of_its_contract(
    make: Make, table: Load, database: Warehouse, contract: str, mode: str
) -> None:
    """Who reads the table finds it, with its columns and without rows."""
    key = table.key if mode == "upsert" else ()
    scene = make(replace(table, mode=mode, key=key, contract=contract))
    scene.batches.clear()

    assert scene.run() == "done"

    assert database.query("SELECT id, name FROM t") == []
    assert database.query(LEDGER) == [(0, 0, 0), *([(1, 0, 0)] if mode == "replace" else [])]
    assert not [name for name in database.tables() if "draft" in name]


@pytest.mark.parametrize("with_contract", [False, True])
def test_a_replacement_without_batches_empties_the_table_once(
    make: Make,
    table: Load,
    database: Warehouse,
    contract: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    with_contract: bool,
) -> None:
    """Nobody hears that it is done, others write, it is tried again: what they wrote stays."""
    database.script("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
    database.script("INSERT INTO t VALUES (7, 'old')")
    scene = make(replace(table, mode="replace", contract=contract if with_contract else None))
    scene.batches.clear()
    seen = []

    def opened(*args: Any, **asked: Any) -> Destination:  # noqa: ANN401  (whatever is passed on)
        real = open_destination(*args, **asked)
        publish = real.publish

        def lost(batch: LoadBatch) -> None:
            publish(batch)
            seen.append(database.query("SELECT * FROM t"))
            if len(seen) == 1:
                database.script("INSERT INTO t VALUES (8, 'since then')")
                real.close()
                raise Unreachable("gone", meaning="who knows", next_step="again")

        monkeypatch.setattr(real, "publish", lost)
        return real

    monkeypatch.setattr(builtin, "open_destination", opened)

    assert scene.run() == "done"

    assert seen == [[], [(8, "since then")]]
    assert database.query("SELECT * FROM t") == [(8, "since then")]


@pytest.mark.parametrize("columns", ["add", "refuse"])
def test_a_run_without_batches_holds_the_table_against_its_contract(
    make: Make, table: Load, database: Warehouse, contract: str, columns: str
) -> None:
    """As one with batches would; nothing that is there changes."""
    database.script("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    database.script("INSERT INTO t VALUES (7)")
    scene = make(replace(table, contract=contract, columns=columns))
    scene.batches.clear()

    if columns == "add":
        assert scene.run() == "done"
        assert database.query("SELECT id, name FROM t") == [(7, None)]
    else:
        error = scene.fails()
        assert "it has 'name', and the table has no such column" in error[0]
        assert database.query("SELECT * FROM t") == [(7,)]
