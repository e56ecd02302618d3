"""
The order of a key, which may be another one after a table was made again.
"""

import pytest

from statepipe.errors import Fatal
from statepipe.io.sql.position import Asked
from statepipe.io.sql.records import keys_of
from tests.io.reading import task
from tests.io.sql.reading import ids_of, reader_of, started
from tests.io.warehouse import Warehouse


def filled(warehouse: Warehouse, *ids: int) -> None:
    """Make the table with these ids."""
    values = ", ".join(f"({n}, 'n')" for n in ids)
    warehouse.script("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
    warehouse.script(f"INSERT INTO t VALUES {values}")


def recreate(warehouse: Warehouse, key_type: str) -> None:
    """Make the table again with another type of its key, and the same rows."""
    warehouse.script(f"CREATE TABLE n (id {key_type} PRIMARY KEY, name TEXT)")
    warehouse.script("INSERT INTO n SELECT * FROM t")
    warehouse.script("DROP TABLE t")
    warehouse.script("ALTER TABLE n RENAME TO t")


@pytest.mark.parametrize(
    "asked", [{"table": "t"}, {"query": "SELECT * FROM t WHERE id IS NOT NULL"}]
)
def test_a_key_whose_type_changes_is_refused(warehouse: Warehouse, asked: dict[str, str]) -> None:
    """Numbers as text have another order: 10 to 12 come before 2, and would not be read."""
    filled(warehouse, *range(1, 13))
    reader = reader_of(warehouse, **asked)
    cursor = next(reader(task())).cursor

    recreate(warehouse, "TEXT")
    with pytest.raises(Fatal, match=r"key: column 'id' was INTEGER and is TEXT.*; batches read"):
        next(reader(task(cursor=cursor)))


def test_a_key_whose_collation_changes_is_refused(warehouse: Warehouse) -> None:
    """In SQLite also within one attempt, because each batch is a transaction of its own."""
    other = "NOCASE" if warehouse.kind == "sqlite" else '"en-x-icu"'
    own = "BINARY" if warehouse.kind == "sqlite" else '"C"'
    warehouse.script(f"CREATE TABLE t (id TEXT COLLATE {own} PRIMARY KEY, name TEXT)")
    warehouse.script("INSERT INTO t (id) VALUES ('A'), ('C'), ('E'), ('b'), ('d')")
    reading = started(warehouse)
    first = next(reading)
    if warehouse.kind == "postgres":
        reading.close()  # type: ignore[attr-defined]  # a generator, and its lock
        reading = reader_of(warehouse)(task(cursor=first.cursor))

    recreate(warehouse, f"TEXT COLLATE {other}")

    with pytest.raises(Fatal, match=rf"key: column 'id' was .* and is .*{other}.*; batches read"):
        next(reading)


def test_a_key_that_keeps_its_order_is_read_on(warehouse: Warehouse) -> None:
    """A wider column of numbers; also behind a cursor of a version that kept no types."""
    filled(warehouse, 1, 2, 3, 4, 5)
    cursor = next(started(warehouse)).cursor
    assert cursor.pop("order")

    recreate(warehouse, "BIGINT")
    second = next(reader_of(warehouse)(task(cursor=cursor)))
    recreate(warehouse, "INTEGER")

    assert ids_of(iter([second])) == [3, 4]
    assert ids_of(reader_of(warehouse)(task(cursor=second.cursor))) == [5]


def test_a_key_of_another_kind_of_value_is_refused_where_no_type_is_known() -> None:
    """Of databases that we cannot ask; a column of SQLite may have numbers, then text."""
    asked = Asked(table="t", query=None, key=("id",), watermark=None, params={}, assume_utc=False)

    with pytest.raises(Fatal, match="key: column 'id' was int and is str; batches read before"):
        keys_of([("3",)], ["id"], asked, (2,))

    assert keys_of([("3",)], ["id"], asked, (2,), mixes_types=True) == [("3",)]


def test_a_key_that_is_renamed_keeps_what_was_read(warehouse: Warehouse) -> None:
    """The batches before it were committed, and the message does not deny it."""
    filled(warehouse, 1, 2, 3)
    cursor = next(started(warehouse)).cursor
    warehouse.script("ALTER TABLE t RENAME COLUMN id TO no")

    with pytest.raises(Fatal, match="there is no column 'id'; batches read before are safe"):
        next(reader_of(warehouse)(task(cursor=cursor)))


def test_a_watermark_whose_type_changes_is_refused(warehouse: Warehouse) -> None:
    """How far the read goes is compared as well: 9 as text is above 12."""
    warehouse.script("CREATE TABLE t (id INTEGER PRIMARY KEY, moved INTEGER)")
    warehouse.script("INSERT INTO t VALUES (1, 1), (2, 2), (3, 9), (4, 12)")
    reader = reader_of(warehouse, watermark="moved")
    cursor = next(reader(task())).cursor

    warehouse.script("ALTER TABLE t RENAME TO o")
    warehouse.script("CREATE TABLE t (id INTEGER PRIMARY KEY, moved TEXT)")
    warehouse.script("INSERT INTO t SELECT * FROM o")

    with pytest.raises(Fatal, match="watermark: column 'moved' was INTEGER and is TEXT"):
        next(reader(task(cursor=cursor)))
