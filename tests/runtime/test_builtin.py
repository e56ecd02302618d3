"""The built-in tasks: contracts lose no record, loads lose and repeat no row."""

import json
from pathlib import Path
from typing import Any

import pytest

from statepipe.runtime.tasks.attempts import perform
from statepipe.sqlite import sqlite3
from tests.runtime.memory_loop import Loop, call_of, failed, given


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    """Answer as the loop would."""
    (tmp_path / "stage").mkdir()
    return Loop(tmp_path / "stage")


def test_a_contract_parts_what_it_reads_without_remainder(loop: Loop, tmp_path: Path) -> None:
    """Clean + rejected = read, batch by batch, and a resume judges only what is missing."""
    schema = tmp_path / "order.json"
    schema.write_text(json.dumps({"properties": {"n": {"type": "integer"}}}), encoding="utf-8")
    given(loop, [{"n": 1}, {"n": "two"}], [{"n": "three"}], [])
    call = {"work": "validate", "contract": str(schema)}

    loop.stop_at = 3
    perform(call_of(loop, None, **call), loop)
    loop.stop_at = None
    result = perform(call_of(loop, None, **call), loop)

    assert result["event"] == "ok"
    assert loop.records() == [[{"n": 1}], [], []]
    assert [(record, position) for record, _message, position in loop.rejected()] == [
        ({"n": "two"}, 1),
        ({"n": "three"}, 0),
    ]
    assert [(each.records, each.read) for each in loop.batches] == [(1, 2), (0, 1), (0, 0)]


def planned(loop: Loop, tmp_path: Path) -> dict[str, Any]:
    """Commit a plan of what is staged; return what a load call says besides."""
    loop.plan = [
        {"number": n, "records": each.records, "sha256": each.sha256, "loaded": False}
        for n, each in enumerate(loop.inputs)
    ]
    to = {"to": "sqlite:///warehouse.db", "table": "orders", "key": ["n"], "replace": False}
    posted = {"effect": "", "body": "", "auth": None}
    to |= {"contract": None, "adds": False}
    return {
        "work": "load",
        "load": {**to, **posted, "base_dir": str(tmp_path), "store_id": "store-1"},
    }


def rows(tmp_path: Path) -> list[Any]:
    """Return what the warehouse holds."""
    connection = sqlite3.connect(tmp_path / "warehouse.db")
    try:
        return list(connection.execute("SELECT n FROM orders ORDER BY n"))
    finally:
        connection.close()


@pytest.mark.parametrize("stop_at", [0, 1, 2, 3, 4, None])
def test_a_load_stopped_anywhere_ends_with_each_row_once(
    loop: Loop, tmp_path: Path, stop_at: int | None
) -> None:
    """What the destination has and the checkpoint does not know is not loaded again."""
    given(loop, [{"n": 1}, {"n": 2}], [{"n": 3}])
    call = planned(loop, tmp_path)

    loop.stop_at = stop_at
    perform(call_of(loop, None, **call), loop)
    loop.stop_at = None
    result = perform(call_of(loop, None, **call, epoch=2), loop)

    assert (result["event"], result["produced"]) == ("ok", False)
    assert rows(tmp_path) == [(1,), (2,), (3,)]


def test_a_destination_that_lost_a_batch_gets_it_again(loop: Loop, tmp_path: Path) -> None:
    """The ledger is compared with the plan before the load ends."""
    given(loop, [{"n": 1}], [{"n": 2}])
    call = planned(loop, tmp_path)
    perform(call_of(loop, None, **call), loop)
    connection = sqlite3.connect(tmp_path / "warehouse.db")
    with connection:
        connection.execute("DELETE FROM orders WHERE n = 2")
        connection.execute("DELETE FROM _statepipe_ledger WHERE batch = 1")
    connection.close()

    result = perform(call_of(loop, None, **call), loop)

    assert result["event"] == "ok"
    assert rows(tmp_path) == [(1,), (2,)]


def test_a_ledger_with_another_batch_stops_the_load(loop: Loop, tmp_path: Path) -> None:
    """Somebody else's data under our number is not ours to change."""
    given(loop, [{"n": 1}])
    call = planned(loop, tmp_path)
    perform(call_of(loop, None, **call), loop)
    connection = sqlite3.connect(tmp_path / "warehouse.db")
    with connection:
        connection.execute("UPDATE _statepipe_ledger SET digest = zeroblob(32)")
    connection.close()

    assert failed(perform(call_of(loop, None, **call), loop))[0] == "LedgerMismatch"
    assert rows(tmp_path) == [(1,)]


@pytest.mark.parametrize("stop_at", [0, 1, 2, 3, 4, None])
def test_a_load_that_replaces_is_published_once_and_whole(
    loop: Loop, tmp_path: Path, stop_at: int | None
) -> None:
    """Stopped anywhere, readers have all of the old or all of the new."""
    connection = sqlite3.connect(tmp_path / "warehouse.db")
    with connection:
        connection.execute("CREATE TABLE orders (n INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO orders VALUES (9)")
    connection.close()
    given(loop, [{"n": 1}, {"n": 2}], [{"n": 3}])
    call = planned(loop, tmp_path)
    call["load"]["replace"] = True

    loop.stop_at = stop_at
    perform(call_of(loop, None, **call), loop)
    assert rows(tmp_path) == ([(1,), (2,), (3,)] if stop_at is None else [(9,)])
    loop.stop_at = None
    result = perform(call_of(loop, None, **call, epoch=2), loop)

    assert result["event"] == "ok"
    assert rows(tmp_path) == [(1,), (2,), (3,)]
