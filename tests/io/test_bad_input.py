"""
What is wrong with data, a table, a credential or a disk, met by a real machine: a clear error.

Each test loads one good batch and then meets the trouble. The error names the row or the
setting, what it means for the data and what to do; what was committed before is whole, in
the rows and in the ledger; and once the cause is mended, `resume` ends exact.
"""

import pytest

from statepipe.machine.states.tasks import Load
from tests.io.postgres.server import Cluster
from tests.io.postgres.warehouse import PostgresWarehouse
from tests.io.receiver import Receiver
from tests.io.scene import GOOD, Make, is_whole
from tests.io.warehouse import Warehouse
from tests.io.web import serving


def test_a_field_without_a_column_names_column_and_record(
    make: Make, table: Load, database: Warehouse
) -> None:
    """The rows before stand; with the column there, the rest is loaded."""
    scene = make(table, [{"id": 3, "name": "c"}, {"id": 4, "nane": "d"}])

    said = scene.fails()

    assert said[0] == (
        "DataError: the destination's table has no column 'nane', which record 1 of the batch has;"
        ' did you mean "name"?'
    )
    assert said[1] == "nothing of this batch was loaded"
    assert 'ADD COLUMN "nane"' in said[2]
    assert is_whole(database)
    database.script("ALTER TABLE t ADD COLUMN nane text")
    assert scene.resume() == "done"
    assert database.query("SELECT id, name, nane FROM t ORDER BY id") == [
        (1, "a", None),
        (2, "b", None),
        (3, "c", None),
        (4, None, "d"),
    ]


def test_a_value_that_does_not_fit_its_column_is_rejected_by_field(
    make: Make, table: Load, database: Warehouse
) -> None:
    """What the column would change costs its record only: value, type and column are named."""
    database.script("CREATE TABLE t (id integer PRIMARY KEY, name text, n integer)")
    scene = make(table, [{"id": 3, "name": "c", "n": "7"}, {"id": 4, "name": "d", "n": 4}])

    assert scene.run() == "done"

    ((record, reason),) = scene.rejects()
    assert record == {"id": 3, "name": "c", "n": "7"}
    assert reason.startswith("/n: ")
    assert "'7'" in reason
    assert "integer column" in reason.lower()
    assert database.query("SELECT id FROM t ORDER BY id") == [(1,), (2,), (4,)]


def test_a_column_of_an_unknown_type_is_named(
    make: Make, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL alone has types that are not known here; SQLite has five, all known."""
    warehouse = PostgresWarehouse(cluster)
    monkeypatch.setenv("WAREHOUSE", warehouse.url())
    table = Load(to="env:WAREHOUSE", table="t", key=("id",))
    warehouse.script("CREATE TABLE t (id integer PRIMARY KEY, name text, place point)")
    scene = make(table, [{"id": 3, "name": "c", "place": "(1,2)"}])

    said = scene.fails()

    assert said[0] == "DataError: column 'place' is of type point, which cannot be loaded into"
    assert "make it text or jsonb, then resume; or leave the field out in the task" in said[2]
    assert "then rewind to it" in said[2], "a resume would load the same batches again"
    assert is_whole(warehouse)
    warehouse.script("ALTER TABLE t ALTER COLUMN place TYPE text")
    assert scene.resume() == "done"
    assert warehouse.query("SELECT id, place FROM t ORDER BY id") == [
        (1, None),
        (2, None),
        (3, "(1,2)"),
    ]
    warehouse.close()


def test_a_key_column_that_the_table_lacks_is_named(
    make: Make, table: Load, database: Warehouse
) -> None:
    """Before anything is loaded; then with the column but without an index; then it works."""
    database.script("CREATE TABLE t (name text)")
    scene = make(table)

    said = scene.fails()
    assert "table 't' has no key column 'id'" in said[0]
    assert "CREATE UNIQUE INDEX" in said[2]
    database.script("ALTER TABLE t ADD COLUMN id integer")
    said = scene.fails()
    assert "table 't' has no unique index on id" in said[0]
    assert database.query("SELECT count(*) FROM t") == [(0,)]

    database.script("CREATE UNIQUE INDEX one ON t (id)")
    assert scene.resume() == "done"
    assert is_whole(database)


def test_a_record_without_its_key_is_rejected_and_one_key_twice_counts_in_order(
    make: Make, table: Load, database: Warehouse
) -> None:
    """Within a batch as between two: what the last record says of a field wins."""
    twice = [{"id": 3, "name": "c"}, {"name": "?"}, {"id": 3, "name": "d"}, {"id": 1, "name": "z"}]
    scene = make(table, twice)

    assert scene.run() == "done"

    assert scene.rejects() == [({"name": "?"}, "/id: the key is missing")]
    assert database.query("SELECT id, name FROM t ORDER BY id") == [(1, "z"), (2, "b"), (3, "d")]
    assert database.query(
        "SELECT batch, records, rejected FROM _statepipe_ledger ORDER BY batch"
    ) == [(0, 2, 0), (1, 3, 1)]


def test_a_table_that_refuses_a_batch_as_a_whole_says_why(
    make: Make, table: Load, database: Warehouse
) -> None:
    """A deferred constraint is judged at COMMIT, of all rows together; a parent mends it."""
    if database.kind == "duckdb":
        pytest.skip("it has no deferred constraints")
    database.script("""
        CREATE TABLE parent (id integer PRIMARY KEY);
        INSERT INTO parent VALUES (1), (2);
        CREATE TABLE t (id integer PRIMARY KEY REFERENCES parent DEFERRABLE INITIALLY DEFERRED,
                        name text)
    """)
    scene = make(table, [{"id": 3, "name": "c"}])

    said = scene.fails()

    assert "foreign key" in said[0].lower()
    assert "cannot load into" in said[0]
    assert said[1] == "nothing of this batch was loaded"
    assert is_whole(database)
    database.script("INSERT INTO parent VALUES (3)")
    assert scene.resume() == "done"
    assert database.query("SELECT id, name FROM t ORDER BY id") == [(1, "a"), (2, "b"), (3, "c")]


def test_a_receiver_that_refuses_a_batch_says_why_in_its_words(make: Make) -> None:
    """Which records, and what it said of them; once it takes them, each is there once."""
    receiver = Receiver(refuses=lambda record: record["name"] == "c")
    with serving(receiver) as web:
        load = Load(to=f"{web.url}/orders", effect="exactly_once")
        scene = make(load, [{"id": 3, "name": "c"}])

        said = scene.fails()

        assert f"{web.url}/orders refused records 0 to 0 of batch 1: 422 " in said[0]
        assert "no such thing as [{'id': 3" in said[0]
        assert "sent again under the same keys" in said[1]
        assert receiver.taken == GOOD
        receiver.refuses = lambda _: False
        receiver.reconsider()
        assert scene.resume() == "done"
    assert receiver.taken == [*GOOD, {"id": 3, "name": "c"}]
    assert sorted(receiver.keys.values()) == [1, 2]
