"""Watermarks: instances raise them in the commit that ends them, people put them anywhere."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import ValueRefused
from statepipe.model import Reached
from statepipe.sqlite import sqlite3
from statepipe.store.codec import encode
from statepipe.store.file.connection import Store
from statepipe.store.walk import watermarks
from statepipe.store.walk.watermarks import Watermark
from tests.store import stores


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An open store."""
    return stores.opened(tmp_path)


def _reach(store: Store, value: Any, *, since: int = 0, instance: str = "a") -> bool:  # noqa: ANN401 plain data
    with store.write() as connection:
        return watermarks.advance(
            connection, "m", Reached("extracting", since, value), instance=instance, at_ms=7
        )


def _now(store: Store) -> Watermark:
    return watermarks.current(store.connection, "m", "extracting")


def test_a_machine_that_never_loaded_has_none(store: Store) -> None:
    """The first instance starts at the beginning."""
    assert _now(store) == Watermark(0, None)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (1, 2),
        (1, 1.5),
        ("2013-02-04T05:00:00Z", "2013-02-04T06:00:00Z"),
        (Decimal("1.20"), Decimal("1.3")),
        (dt.date(2013, 2, 4), dt.date(2013, 2, 5)),
        (dt.datetime(2013, 2, 4, tzinfo=dt.UTC), dt.datetime(2013, 2, 5, tzinfo=dt.UTC)),
    ],
)
def test_an_instance_raises_it_and_never_lowers_it(store: Store, low: Any, high: Any) -> None:  # noqa: ANN401 plain data
    """Instances may end in another order than they began in; values come back as they were."""
    assert _reach(store, high)
    assert not _reach(store, low, instance="b")
    assert not _reach(store, high, instance="c")

    assert _now(store).value == high
    assert type(_now(store).value) is type(high)


def test_what_cannot_be_compared_does_not_move_it(store: Store) -> None:
    """A column that changed its type is a person's matter."""
    assert _reach(store, 5)

    assert not _reach(store, "6")
    assert not _reach(store, value=True)
    assert _now(store).value == 5


def test_a_person_puts_it_anywhere_and_it_stays_there(store: Store) -> None:
    """An instance that began before must not take it away again; one that began after may."""
    _reach(store, 5)
    before = _now(store).n
    watermarks.put(store, "m", "extracting", 2, reason="load February again")
    after = _now(store).n

    assert not _reach(store, 9, since=before, instance="old")
    assert _now(store).value == 2
    assert _reach(store, 9, since=after, instance="new")
    assert [(move.value, move.instance, move.reason) for move in _moves(store)] == [
        (9, "new", None),
        (2, None, "load February again"),
        (5, "a", None),
    ]


def test_machines_and_states_have_their_own(store: Store) -> None:
    """And their own histories."""
    watermarks.put(store, "m", "extracting", 1, reason="x")
    watermarks.put(store, "m", "polling", 2, reason="x")
    watermarks.put(store, "other", "extracting", 3, reason="x")

    assert _now(store).value == 1
    assert [move.value for move in _moves(store)] == [2, 1]
    everything = watermarks.moves(store.connection, machine=None, limit=10)
    assert [move.value for move in everything] == [3, 2, 1]


def test_a_value_that_cannot_be_kept_is_refused(store: Store) -> None:
    """Nothing is written."""
    with pytest.raises(ValueRefused):
        watermarks.put(store, "m", "extracting", object(), reason="x")

    assert _now(store) == Watermark(0, None)


def test_a_move_is_an_instances_or_has_a_reason(store: Store) -> None:
    """Whoever looks must see who moved it."""
    sql = "INSERT INTO watermark (machine, state, value, at_ms) VALUES ('m', 's', x'01', 1)"
    with pytest.raises(sqlite3.IntegrityError), store.write() as connection:
        connection.execute(sql)


def test_sources_that_count_in_time_have_moments(store: Store) -> None:
    """For a metric: numbers, and text that is no moment, have none; the newest counts."""
    five = dt.datetime(2013, 2, 4, 5, tzinfo=dt.UTC)
    for machine, state, value in (
        ("a", "x", dt.date(2013, 2, 4)),
        ("a", "x", five),
        ("a", "y", 17),
        ("b", "x", "2013-02-04T05:00:00Z"),
        ("b", "y", "later"),
        ("b", "z", "2013-02-04T05:00:00"),
        ("c", "x", dt.date(2013, 2, 4)),
    ):
        watermarks.put(store, machine, state, value, reason="x")

    assert watermarks.moments(store.connection) == {
        ("a", "x"): five.timestamp(),
        ("b", "x"): five.timestamp(),
        ("c", "x"): five.timestamp() - 5 * 3_600,
    }


def test_a_store_without_watermarks_has_no_moments(store: Store) -> None:
    """The walk from source to source ends before it begins."""
    assert watermarks.moments(store.connection) == {}


def test_where_a_machine_stands_is_found_however_long_the_history(store: Store) -> None:
    """It is asked for with each commit of who waits for it, and by each look of a trigger."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def put(first: int, last: int) -> None:
        rows = [("ab"[n % 2], encode(n)) for n in range(first, last)]
        sql = """
INSERT INTO watermark (machine, state, value, at_ms, reason) VALUES ('m', ?, ?, 7, 'test')
"""
        with store.write() as connection:
            connection.executemany(sql, rows)

    def taken() -> tuple[list[Any], int]:
        nonlocal steps
        steps = 0
        store.connection.set_progress_handler(count, 1)
        found = watermarks.newest(store.connection, "m")
        store.connection.set_progress_handler(None, 1)
        return found, steps

    assert taken()[0] == []
    put(0, 10)
    watermarks.put(store, "other", "a", 99, reason="test")
    few, before = taken()
    assert few == [8, 9]
    put(10, 2_010)
    many, after = taken()

    assert many == [2_008, 2_009]
    assert 0 < after <= before * 2


def _moves(store: Store) -> list[watermarks.Move]:
    return watermarks.moves(store.connection, machine="m", limit=10)
