"""
Keys at every database: which records are of one, which of them wins, and tables without it.
"""

from typing import Any

import pyarrow as pa
import pytest

from statepipe.errors import DataError
from statepipe.io.destinations import Landed
from tests.io.warehouse import Warehouse, batch, rejects_of

#: A text of which case does not matter, and what has to be there for it.
ANY_CASE = {
    "sqlite": ("TEXT COLLATE NOCASE", ""),
    "duckdb": ("VARCHAR COLLATE NOCASE", ""),
    "postgres": (
        "text COLLATE anycase",
        """CREATE COLLATION anycase
        (provider = icu, locale = 'und-u-ks-level2', deterministic = false)""",
    ),
}


def test_a_key_upserts_and_the_last_of_a_batch_wins(database: Warehouse) -> None:
    """Rows with a known key are replaced; both records of one key count as loaded."""
    target = database.destination(key=("id",))
    target.load(batch())

    answer = target.load(batch([{"id": 1, "name": "x"}, {"id": 1, "name": "y"}], number=1))

    assert answer == Landed(2, [], already=False)
    assert database.query("SELECT * FROM t ORDER BY id") == [(1, "y"), (2, "b"), (3, "c")]


@pytest.mark.parametrize("replace", [False, True], ids=["upsert", "replace"])
def test_a_key_that_no_record_has_is_wrong_and_makes_no_table(
    database: Warehouse, *, replace: bool
) -> None:
    """Once there is a table that has it, the records are; they are rejected as ever."""
    wrong = database.destination(key=("ID",), replace=replace)
    with pytest.raises(DataError, match="no record of the batch has the field 'ID'"):
        wrong.load(batch())

    assert "t" not in database.tables()
    right = database.destination(key=("id",))
    right.load(batch())
    answer = right.load(batch([{"name": "x"}], number=1))
    assert [*rejects_of(answer)] == [(0, "key", "/id")]


@pytest.mark.parametrize("as_table", [False, True], ids=["dicts", "a table"])
def test_keys_that_only_the_database_finds_equal_are_one_key(
    database: Warehouse, *, as_table: bool
) -> None:
    """The last record of such a key wins too, although it is another text."""
    kind, before = ANY_CASE[database.kind]
    database.script(before)
    database.script(f"CREATE TABLE t (id {kind} PRIMARY KEY, n INTEGER)")
    target = database.destination(key=("id",))
    names = ["a", "b", "A", "c", "B", "a", "x", "X"]
    records = [{"id": name, "n": n} for n, name in enumerate(names)]

    answer = target.load(batch(pa.Table.from_pylist(records) if as_table else records))
    again = target.load(batch([{"id": "C", "n": 9}], number=1))

    assert (answer, again) == (Landed(8, [], already=False), Landed(1, [], already=False))
    assert database.query("SELECT lower(id), n FROM t ORDER BY 1") == [
        ("a", 5),
        ("b", 4),
        ("c", 9),
        ("x", 7),
    ]


def test_a_float_that_is_zero_is_one_key_whatever_its_sign(database: Warehouse) -> None:
    """0.0 and -0.0 are equal wherever floats are compared."""
    database.script("CREATE TABLE t (id DOUBLE PRECISION PRIMARY KEY, n INTEGER)")
    records = [{"id": value, "n": n} for n, value in enumerate([0.0, 1.0, -0.0])]

    answer = database.destination(key=("id",)).load(batch(records))

    assert answer == Landed(3, [], already=False)
    assert database.query("SELECT id, n FROM t ORDER BY id") == [(0, 2), (1, 1)]


@pytest.mark.parametrize("columnar", [False, True])
def test_a_boolean_is_no_number_of_a_key(database: Warehouse, *, columnar: bool) -> None:
    """SQLite has no booleans: true would take the row whose key is 1."""
    database.script("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
    target = database.destination(key=("id",))
    target.load(batch([{"id": 1, "name": "one"}]))
    odd: Any = [{"id": True, "name": "odd"}, {"id": False, "name": "odd"}]

    answer = target.load(batch(pa.Table.from_pylist(odd) if columnar else odd, number=1))

    assert [*rejects_of(answer)] == [(0, "type", "/id"), (1, "type", "/id")]
    assert database.query("SELECT id, name FROM t") == [(1, "one")]


def test_a_key_of_several_columns_is_one_key(database: Warehouse) -> None:
    """Rows are the same if all columns of the key are."""
    target = database.destination(key=("day", "id"))
    target.load(batch([{"day": "mon", "id": 1, "n": 1}, {"day": "tue", "id": 1, "n": 2}]))

    target.load(batch([{"n": 3, "id": 1, "day": "tue"}], number=1))

    assert database.query("SELECT day, id, n FROM t ORDER BY day") == [
        ("mon", 1, 1),
        ("tue", 1, 3),
    ]


def test_a_record_of_nothing_but_its_key_is_loaded(database: Warehouse) -> None:
    """There is nothing to update, and still the row is there once and counted."""
    target = database.destination(key=("id",))

    assert target.load(batch([{"id": 1}, {"id": 2}])).records == 2
    assert target.load(batch([{"id": 2}, {"id": 3}], number=1)).records == 2
    assert database.query("SELECT id FROM t ORDER BY id") == [(1,), (2,), (3,)]


def test_a_superseded_record_stands_if_the_one_that_supersedes_it_is_refused(
    database: Warehouse,
) -> None:
    """The last record of a key wins, unless the table refuses it; then the one before does."""
    database.script("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER CHECK (n < 10))")
    target = database.destination(key=("id",))

    answer = target.load(
        batch([{"id": 1, "n": 1}, {"id": 2, "n": 2}, {"id": 1, "n": 3}, {"id": 1, "n": 10}])
    )

    assert [(position, rule) for position, rule, _ in rejects_of(answer)] == [(3, "check")]
    assert answer.records == 3
    assert database.query("SELECT id, n FROM t ORDER BY id") == [(1, 3), (2, 2)]


def test_a_key_without_a_unique_index_is_refused_by_name(database: Warehouse) -> None:
    """The error says which index to make; nothing was loaded, and then it works."""
    database.script("CREATE TABLE t (id INTEGER, name TEXT)")
    target = database.destination(key=("id",))

    with pytest.raises(DataError, match="no unique index on id") as refusal:
        target.load(batch())

    assert "CREATE UNIQUE INDEX" in refusal.value.next_step
    database.script("CREATE UNIQUE INDEX one ON t (id)")
    assert target.load(batch()).records == 3


def test_a_table_without_the_key_is_refused_by_name(database: Warehouse) -> None:
    """The machine and the table contradict each other; the error says in what."""
    database.script("CREATE TABLE t (name TEXT)")

    with pytest.raises(DataError, match="table 't' has no key column 'id'") as refusal:
        database.destination(key=("id",)).load(batch())

    first, then = refusal.value.next_step.split("; or ")
    assert first == "correct `key` in the machine, then resume with --definition latest"
    assert then.startswith('ALTER TABLE t ADD COLUMN "id" …, fill it, CREATE UNIQUE INDEX … ON t')


def test_an_index_dropped_meanwhile_is_noticed_before_rows_are_doubled(
    database: Warehouse,
) -> None:
    """A key that is no key any more is refused, not appended by."""
    database.script("CREATE TABLE t (id INTEGER, name TEXT); CREATE UNIQUE INDEX one ON t (id)")
    target = database.destination(key=("id",))
    target.load(batch())
    target.load(batch(number=1))
    database.script("DROP INDEX one")

    with pytest.raises(DataError, match="no unique index on id"):
        target.load(batch(number=2))

    assert database.query("SELECT count(*) FROM t") == [(3,)]
