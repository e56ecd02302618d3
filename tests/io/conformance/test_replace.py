"""
The mode `replace` at every destination: what was, and then what is; nothing in between.
"""

import itertools
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import pytest

from statepipe.errors import Busy, DataError, Fenced, LedgerMismatch
from statepipe.io.destinations import Destination, LoadBatch
from statepipe.io.rows import Value
from tests.io.warehouse import Crash, Faults, Warehouse, batch

OLD = [{"id": n, "name": "old"} for n in range(5)]
NEW = [{"id": n, "name": "new"} for n in range(3, 9)]


def offers(
    target: Destination, rows: list[dict[str, Any]], **identity: Value
) -> list[Callable[[], Any]]:
    """Return the steps of a load: two batches and the publication, each to be called."""

    def step(number: int, records: list[dict[str, Any]]) -> LoadBatch:
        return batch(records, number=number, digest=b"%d" % number, **identity)

    middle = len(rows) // 2
    return [
        lambda: target.load(step(0, rows[:middle])),
        lambda: target.load(step(1, rows[middle:])),
        lambda: target.publish(step(2, [])),
    ]


def replace(warehouse: Warehouse, rows: list[dict[str, Any]], **identity: Value) -> None:
    """Load `rows` in the place of what there is."""
    key = identity.pop("key", ())
    with closing(warehouse.destination(replace=True, key=key)) as target:
        for offer in offers(target, rows, **identity):
            offer()


def rows_of(warehouse: Warehouse) -> list[Any]:
    """Return what readers see."""
    return warehouse.query("SELECT id, name FROM t ORDER BY id, name")


def seen(rows: list[dict[str, Any]]) -> list[Any]:
    """Return what readers should see of `rows`."""
    return [tuple(row.values()) for row in rows]


@pytest.mark.parametrize("key", [(), ("id",)], ids=["no key", "key"])
def test_what_was_stays_until_all_is_loaded(warehouse: Warehouse, key: tuple[str, ...]) -> None:
    """Batches go into a draft; the publication puts it in place, and leaves no draft behind."""
    if key and not warehouse.upserts:
        pytest.skip("files have no keys")
    replace(warehouse, OLD, key=key)
    target = warehouse.destination(replace=True, key=key)
    first, second, publication = offers(target, NEW, instance="i-2")

    first()
    second()
    assert rows_of(warehouse) == seen(OLD)
    publication()

    assert rows_of(warehouse) == seen(NEW)
    assert "t" in warehouse.tables()
    assert not [name for name in warehouse.tables() if "draft" in name]


def test_a_first_load_makes_the_table(warehouse: Warehouse) -> None:
    """There is nothing to replace, so the draft becomes the table; nobody sees it before."""
    key = ("id",) if warehouse.upserts else ()
    target = warehouse.destination(replace=True, key=key)
    first, second, publication = offers(target, NEW)

    first()
    second()
    assert "t" not in warehouse.tables()
    publication()

    assert rows_of(warehouse) == seen(NEW)
    with closing(warehouse.destination(key=key)) as later:
        assert later.load(batch(OLD, instance="i-2")).records == 5


def test_a_load_of_nothing_empties_the_table(warehouse: Warehouse) -> None:
    """A source that had nothing to say is replaced by nothing: no row of yesterday stays."""
    replace(warehouse, OLD)

    with closing(warehouse.destination(replace=True)) as target:
        target.publish(batch([], instance="i-2", number=0))

    assert rows_of(warehouse) == []


@pytest.mark.parametrize("table", ["", "CREATE TABLE t (id INTEGER, name TEXT)"])
def test_batches_without_records_replace_by_nothing(warehouse: Warehouse, table: str) -> None:
    """Whether there is a table or not."""
    if table and not warehouse.upserts:
        pytest.skip("files have no other owners")
    warehouse.script(table)

    replace(warehouse, [])

    if table:
        assert rows_of(warehouse) == []


@pytest.mark.parametrize(
    ("after", "table"),
    [(False, ""), (True, "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")],
    ids=["before, a new table", "after"],
)
def test_a_replacement_killed_at_any_statement_is_whole_or_absent(
    warehouse: Warehouse, *, after: bool, table: str
) -> None:
    """Readers see one or the other after each kill, and the new in the end, once."""
    if table and not warehouse.upserts:
        pytest.skip("files have no other owners")
    for at in itertools.count(0, warehouse.stride):
        if table:
            warehouse.script(f"{table}; INSERT INTO t VALUES (1, 'old')")
        faults = Faults(at=at, after=after, error=Crash())
        killed = warehouse.destination(replace=True, faults=faults)
        try:
            for offer in offers(killed, NEW):
                offer()
        except Crash:
            faults.die()
        else:
            break
        if table:
            assert rows_of(warehouse) in ([(1, "old")], seen(NEW))

        replace(warehouse, NEW)

        assert rows_of(warehouse) == seen(NEW)
        assert not [name for name in warehouse.tables() if "draft" in name]
        warehouse.clear()
    assert at < len(faults.statements) + warehouse.stride


def test_publishing_again_does_nothing(database: Warehouse) -> None:
    """The ledger has the publication; what others wrote since then stays."""
    replace(database, OLD)
    database.script("INSERT INTO t VALUES (100, 'since then')")

    replace(database, OLD)

    assert rows_of(database) == [*seen(OLD), (100, "since then")]


def test_a_rewound_load_replaces_again(warehouse: Warehouse) -> None:
    """A generation is a load of its own, and a draft that was given up is dropped."""
    replace(warehouse, OLD)
    given_up = warehouse.destination(replace=True)
    offers(given_up, OLD, generation=2, epoch=2)[0]()

    replace(warehouse, NEW, generation=3, epoch=3)

    assert rows_of(warehouse) == seen(NEW)
    assert not [name for name in warehouse.tables() if "draft" in name]


def test_the_table_keeps_its_shape_and_its_constraints_judge_each_row(database: Warehouse) -> None:
    """The draft is like the table: a row that it refuses costs that row, as ever."""
    database.script("""
        CREATE TABLE t (
          id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT 'x', n INTEGER CHECK (n < 10), u TEXT
        );
        CREATE UNIQUE INDEX only_u ON t (u);
        CREATE VIEW v AS SELECT id FROM t;
        INSERT INTO t VALUES (1, 'old', 1, 'u');
    """)
    target = database.destination(replace=True, key=("id",))
    records = [
        {"id": 1, "n": 1, "u": "u"},
        {"id": 2, "n": 10, "u": "v"},
        {"id": 3, "n": 2, "u": "u"},
        {"id": 4, "n": 3, "u": "w"},
    ]

    answer = target.load(batch(records))
    target.publish(batch([], number=1))

    assert [(e["position"], e["rule"]) for e in answer.rejects] == [(1, "check"), (2, "unique")]
    assert database.query("SELECT id, name, n, u FROM t ORDER BY id") == [
        (1, "x", 1, "u"),
        (4, "x", 3, "w"),
    ]
    assert database.query("SELECT count(*) FROM v") == [(2,)]
    with pytest.raises(Exception, match=r"(?i)unique"):
        database.script("INSERT INTO t (id, u) VALUES (5, 'w')")


def test_a_swap_that_the_table_refuses_leaves_what_was(database: Warehouse) -> None:
    """A trigger may have its own mind; then nothing is replaced, and it can be tried again."""
    database.script("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
    database.script("INSERT INTO t VALUES (1, 'old')")
    if not (triggers := database.refusing_triggers()):
        pytest.skip("triggers refuse nothing here")
    database.script(triggers)
    target = database.destination(replace=True)
    for name in ("no", "hush"):
        steps = offers(target, [{"id": 1, "name": "a"}, {"id": 2, "name": name}], instance=name)
        steps[0]()
        steps[1]()

        with pytest.raises(DataError):
            steps[2]()

        assert rows_of(database) == [(1, "old")]


def test_a_draft_that_somebody_dropped_is_not_taken_for_an_empty_one(database: Warehouse) -> None:
    """Half of a load is no load: it stops before what is there is replaced by the other half."""
    replace(database, OLD)
    target = database.destination(replace=True)
    first, second, publication = offers(target, NEW, instance="i-2")
    first()
    (draft,) = [name for name in database.tables() if "draft" in name]
    database.script(f"DROP TABLE {draft}")

    with pytest.raises(LedgerMismatch, match="draft of table 't'"):
        second()
    with pytest.raises(LedgerMismatch, match="draft of table 't'"):
        publication()

    assert rows_of(database) == seen(OLD)


def test_a_zombie_publishes_nothing(warehouse: Warehouse) -> None:
    """Whoever was taken over has a lower epoch; its draft is its successor's."""
    replace(warehouse, OLD)
    zombie = warehouse.destination(replace=True)
    first, _, publication = offers(zombie, OLD[:2], instance="i-2", epoch=4)
    first()

    replace(warehouse, NEW, instance="i-2", epoch=5, generation=2)

    with pytest.raises((Fenced, LedgerMismatch)):
        publication()
    assert rows_of(warehouse) == seen(NEW)


def test_readers_never_see_half(warehouse: Warehouse) -> None:
    """Somebody reads all the time, while the table is replaced again and again."""
    sets = [[{"id": n, "name": str(k)} for n in range(200 + k)] for k in range(6)]
    replace(warehouse, sets[0], instance="0")
    found: set[tuple[int, str, str]] = set()
    is_over = threading.Event()

    def load() -> None:
        for k, rows in enumerate(sets[1:], 1):
            while True:
                with suppress(Busy):
                    replace(warehouse, rows, instance=str(k))
                    break
        is_over.set()

    loader = threading.Thread(target=load)
    loader.start()
    while not is_over.is_set():
        found.update(warehouse.query("SELECT count(*), min(name), max(name) FROM t"))
    loader.join()

    assert found <= {(len(rows), rows[0]["name"], rows[0]["name"]) for rows in sets}
    assert len(rows_of(warehouse)) == len(sets[-1])


def test_publishing_does_nothing_in_the_other_modes(warehouse: Warehouse) -> None:
    """They are there as soon as they are loaded."""
    target = warehouse.destination()
    target.load(batch(OLD))

    target.publish(batch([], number=1))

    assert rows_of(warehouse) == seen(OLD)
    assert warehouse.query("SELECT count(*) FROM _statepipe_ledger") == [(1,)]
