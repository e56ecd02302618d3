"""
What only the DuckDB destination does; what all do is in `conformance`.
"""

import datetime as dt
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from statepipe.errors import Busy, DataError, DefinitionError
from statepipe.io.destinations import Landed, open_destination
from statepipe.io.duckdb import destination as module
from statepipe.io.duckdb.connection import open_connection
from statepipe.io.duckdb.destination import DuckdbDestination
from tests.crash.processes import ROOT
from tests.io.conformance.test_protocol import STAY
from tests.io.duckdb_warehouse import DuckdbWarehouse, holding
from tests.io.warehouse import batch, rejects_of


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[DuckdbWarehouse]:
    """Return a file that is not there yet."""
    made = DuckdbWarehouse(tmp_path / "w.duckdb")
    yield made
    made.close()


def test_a_new_table_has_the_types_of_its_first_batch(warehouse: DuckdbWarehouse) -> None:
    """One type gives a column of that type, several one that holds them all."""
    moment = dt.datetime(2013, 2, 4, tzinfo=dt.UTC)
    records = [
        {"i": 1, "f": 1.5, "n": 1, "d": Decimal("1.5"), "t": "x", "b": b"y", "m": moment, "j": {}},
        {"i": 2, "f": 2.5, "n": 0.5, "d": None, "t": "", "b": b"", "m": None, "j": [1]},
    ]

    warehouse.destination(key=("i",)).load(batch(records))

    columns = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 't'"
    assert dict(warehouse.query(columns)) == {
        "i": "BIGINT",
        "f": "DOUBLE",
        "n": "DOUBLE",
        "d": "DECIMAL(38,18)",
        "t": "VARCHAR",
        "b": "BLOB",
        "m": "TIMESTAMP WITH TIME ZONE",
        "j": "JSON",
    }


def test_a_columnar_table_keeps_its_own_types_nested_ones_too(warehouse: DuckdbWarehouse) -> None:
    """No value is looked at; what comes has the types that Arrow gave it."""
    table = pa.table(
        {
            "small": pa.array([1, 2], pa.int16()),
            "list": [[1], []],
            "struct": [{"x": 1}, {"x": None}],
            "ns": pa.array([1, 2], pa.timestamp("ns")),
            "category": pa.array(["a", "b"]).dictionary_encode(),
        }
    )
    target = warehouse.destination()

    assert target.load(batch(table)) == Landed(2, [], already=False)
    assert target.load(batch(table, number=1)) == Landed(2, [], already=False)

    columns = "SELECT data_type FROM duckdb_columns() WHERE table_name = 't' ORDER BY column_index"
    assert [kind for (kind,) in warehouse.query(columns)] == [
        "SMALLINT",
        "BIGINT[]",
        "STRUCT(x BIGINT)",
        "TIMESTAMP_NS",
        "VARCHAR",
    ]
    assert warehouse.query("SELECT DISTINCT list, struct FROM t ORDER BY small") == [
        ([1], {"x": 1}),
        ([], {"x": None}),
    ]


COLUMNS: list[tuple[str, Any, bool]] = [
    ("TINYINT", 127, True),
    ("TINYINT", 128, False),
    ("UTINYINT", -1, False),
    ("HUGEINT", 2**100, True),
    ("INTEGER", 1.0, False),
    ("INTEGER", "1", False),
    ("INTEGER", True, False),
    ("FLOAT", 0.5, True),
    ("FLOAT", 0.1, False),
    ("DOUBLE", 3, True),
    ("DOUBLE", 2**53 + 1, False),
    ("DECIMAL(5,2)", Decimal("123.45"), True),
    ("DECIMAL(5,2)", 1.5, True),
    ("DECIMAL(5,2)", Decimal("1234.5"), False),
    ("DECIMAL(5,2)", Decimal("0.125"), False),
    ("VARCHAR", dt.date(2013, 2, 4), True),
    ("VARCHAR", 1, False),
    ("DATE", "2013-02-04", True),
    ("DATE", "2013-02-30", False),
    ("DATE", dt.datetime(2013, 2, 4, tzinfo=dt.UTC), False),
    ("TIMESTAMP", dt.datetime(2013, 2, 4, 10), True),  # noqa: DTZ001  (that is what it is for)
    ("TIMESTAMP", dt.datetime(2013, 2, 4, tzinfo=dt.UTC), False),
    ("TIMESTAMPTZ", "2013-02-04T10:00:00Z", True),
    ("TIMESTAMPTZ", dt.datetime(2013, 2, 4), False),  # noqa: DTZ001  (a moment without an offset is what is tested)
    ("UUID", "00000000-0000-0000-0000-000000000007", True),
    ("UUID", "7", False),
    ("ENUM('a', 'b')", "a", True),
    ("ENUM('a', 'b')", "c", False),
    ("JSON", {"a": [1]}, True),
    ("BLOB", "x", False),
]


@pytest.mark.parametrize(("kind", "value", "is_taken"), COLUMNS, ids=str)
def test_a_value_goes_into_a_column_only_if_it_comes_back(
    warehouse: DuckdbWarehouse, kind: str, value: object, *, is_taken: bool
) -> None:
    """Others cost their own record, with the field; so does a whole column of them."""
    warehouse.script(f"CREATE TABLE t (n INTEGER, v {kind})")

    answer = warehouse.destination().load(batch([{"n": 1, "v": value}, {"n": 2, "v": None}]))

    refused = [(position, path) for position, _, path in rejects_of(answer)]
    assert refused == ([] if is_taken else [(0, "/v")])
    assert warehouse.query("SELECT count(*) FROM t") == [(2 if is_taken else 1,)]


def test_a_columnar_column_of_another_type_is_judged_by_value(warehouse: DuckdbWarehouse) -> None:
    """What Arrow casts without loss goes by columns; of the rest each value is looked at."""
    warehouse.script("CREATE TABLE t (n TINYINT, f DOUBLE, s INTEGER, l INTEGER[])")
    narrow = pa.table({"n": [1, 200], "f": pa.array([1, 2], pa.int32())})
    target = warehouse.destination()

    answer = target.load(batch(narrow))

    assert [(position, path) for position, _, path in rejects_of(answer)] == [(1, "/n")]
    assert warehouse.query("SELECT n, f FROM t") == [(1, 1.0)]
    refused = target.load(batch(pa.table({"s": ["1"]}), number=1))
    assert [rule for _, rule, _ in rejects_of(refused)] == ["type"]
    with pytest.raises(DataError, match=r"column 'l' is of type INTEGER\[\]") as refusal:
        target.load(batch([{"l": [1]}], number=2))
    assert "task that makes the batch, then rewind to it" in refusal.value.next_step


def test_unique_rows_are_judged_in_the_order_of_the_batch(warehouse: DuckdbWarehouse) -> None:
    """A row that is refused takes nothing; two indexes may refuse each for its own reason."""
    warehouse.script("""
        CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT, n INTEGER DEFAULT 3 CHECK (n < 9));
        CREATE UNIQUE INDEX one ON t (lower(a));
        CREATE UNIQUE INDEX two ON t (b, n);
        INSERT INTO t VALUES (0, 'X', 'b0', 3);
    """)
    records = [
        {"id": 1, "a": "x", "b": "b1"},  # lower(a) is there
        {"id": 2, "a": "y", "b": "b1"},  # so nobody has this b yet
        {"id": 3, "a": "Y", "b": "b3"},
        {"id": 4, "a": "z", "b": "b1"},
        {"id": 5, "a": None, "b": None},
        {"id": 6, "a": None, "b": None},
        {"id": 0, "a": "x", "b": "b0"},  # itself
    ]

    answer = warehouse.destination(key=("id",)).load(batch(records))

    assert [(position, rule) for position, rule, _ in rejects_of(answer)] == [
        (0, "unique"),
        (2, "unique"),
        (3, "unique"),
    ]
    assert warehouse.query("SELECT id FROM t ORDER BY id") == [(0,), (2,), (5,), (6,)]


def test_many_refused_rows_take_few_statements(warehouse: DuckdbWarehouse) -> None:
    """A whole batch that is there already is judged at once, not row by row."""
    warehouse.script("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
    rows = [{"id": n, "name": "x"} for n in range(5_000)]
    target = warehouse.destination()
    target.load(batch(rows))

    answer = target.load(batch([*rows, {"id": 5_000, "name": "new"}], number=1))

    assert (answer.records, len(answer.rejects)) == (1, 5_000)
    assert warehouse.query("SELECT count(*) FROM t") == [(5_001,)]


def test_a_trigger_that_fails_stops_the_batch(warehouse: DuckdbWarehouse) -> None:
    """DuckDB's triggers cannot refuse one row; nothing is loaded, and their words are passed on."""
    warehouse.script("CREATE TABLE t (id INTEGER, name TEXT); CREATE TABLE log (x TEXT)")
    warehouse.script("""
        CREATE TRIGGER no AFTER INSERT ON t FOR EACH ROW
        INSERT INTO log VALUES (CASE WHEN NEW.name = 'b' THEN error('said no') END)
    """)

    with pytest.raises(DataError, match="said no"):
        warehouse.destination().load(batch())

    assert warehouse.query("SELECT count(*) FROM t") == [(0,)]
    assert "_statepipe_ledger" not in warehouse.tables()


def test_a_replacement_that_another_table_refuses_leaves_what_was(
    warehouse: DuckdbWarehouse,
) -> None:
    """Rows that others refer to cannot go; the error says whose they are."""
    warehouse.script("""
        CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT);
        CREATE TABLE child (t INTEGER REFERENCES t (id));
        INSERT INTO t VALUES (1, 'old'); INSERT INTO child VALUES (1);
    """)
    target = warehouse.destination(replace=True)
    target.load(batch([{"id": 2, "name": "new"}]))

    with pytest.raises(DataError, match="foreign key"):
        target.publish(batch([], number=1))

    assert warehouse.query("SELECT * FROM t") == [(1, "old")]


def test_records_of_one_batch_that_refer_to_each_other_are_refused_with_the_way_out(
    warehouse: DuckdbWarehouse,
) -> None:
    """DuckDB takes them in two transactions; who refers to nobody is rejected alone."""
    warehouse.script("CREATE TABLE t (id INTEGER PRIMARY KEY, boss INTEGER REFERENCES t (id))")
    target = warehouse.destination()

    with pytest.raises(DataError, match="records of one batch refer to each other") as refusal:
        target.load(batch([{"id": 1, "boss": None}, {"id": 2, "boss": 1}]))

    assert "without that foreign key" in refusal.value.next_step
    assert warehouse.query("SELECT count(*) FROM t") == [(0,)]
    assert target.load(batch([{"id": 1, "boss": None}])).records == 1
    landed = target.load(batch([{"id": 2, "boss": 1}, {"id": 3, "boss": 7}], number=1))
    assert [*rejects_of(landed)] == [(1, "foreignkey", "/boss")]
    assert warehouse.query("SELECT id FROM t ORDER BY id") == [(1,), (2,)]


def test_another_process_is_waited_for_and_then_the_error_names_it(tmp_path: Path) -> None:
    """One process may have the file open at a time; who it is, DuckDB says."""
    path = tmp_path / "w.duckdb"
    target = DuckdbDestination(path, table="t", busy_ms=60)

    with holding(path), pytest.raises(Busy, match=r"PID \d+"):
        target.load(batch())

    assert target.load(batch()) == Landed(3, [], already=False)
    target.close()


def test_the_file_is_let_go_of_between_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long load does not keep everybody else out: another process gets in meanwhile."""
    monkeypatch.setattr(module, "HELD_BATCHES_MAX", 2)
    opened = []

    def connect(path: Path, busy_ms: int) -> duckdb.DuckDBPyConnection:
        opened.append(path)
        return open_connection(path, busy_ms)

    with closing(DuckdbDestination(tmp_path / "w", table="t", connect=connect)) as target:
        for number in range(6):
            target.load(batch(number=number))

    assert len(opened) == 3


def test_a_replaced_file_is_noticed_before_the_next_batch(tmp_path: Path) -> None:
    """F5: a file moved away under us would go on acknowledging."""
    path, moved = tmp_path / "w.duckdb", tmp_path / "moved.duckdb"
    target = DuckdbDestination(path, table="t")
    target.load(batch())
    path.rename(moved)

    with pytest.raises(DataError, match="replaced or removed"):
        target.load(batch(number=1))

    assert target.load(batch()) == Landed(3, [], already=False)
    target.close()


def test_an_older_copy_of_the_file_is_filled_up(tmp_path: Path) -> None:
    """A backup that was put back lacks rows and ledger rows alike; the rest is loaded again."""
    path, backup = tmp_path / "w.duckdb", tmp_path / "backup"
    target = DuckdbDestination(path, table="t")
    target.load(batch(number=0))
    target.close()
    shutil.copy(path, backup)
    target.load(batch(number=1))
    target.close()
    shutil.copy(backup, path)

    assert [row.number for row in target.ledger(**STAY)] == [0]
    assert target.load(batch(number=1)) == Landed(3, [], already=False)
    target.close()
    warehouse = DuckdbWarehouse(path)
    assert warehouse.query("SELECT count(*) FROM t") == [(6,)]
    warehouse.close()


def test_a_log_that_came_back_after_a_power_cut_is_not_played_twice(tmp_path: Path) -> None:
    """DuckDB refuses it by name; the error says what the file has and what to do."""
    path, log = tmp_path / "w.duckdb", tmp_path / "w.duckdb.wal"
    target = DuckdbDestination(path, table="t")
    target.load(batch(number=0))
    target.close()
    target.load(batch(number=1))
    kept = log.read_bytes()
    target.close()
    log.write_bytes(kept)

    with pytest.raises(DataError, match="WAL") as refusal:
        target.load(batch(number=2))

    assert f"move {path}.wal away" in refusal.value.next_step
    log.unlink()
    assert target.load(batch(number=1)) == Landed(3, [], already=True)
    target.close()


def test_files_that_are_no_database_are_named_and_left_alone(tmp_path: Path) -> None:
    """Garbage, a folder, a missing folder: the error names the path, nothing changes."""
    garbage = b"not a database" * 1_000
    (tmp_path / "garbage").write_bytes(garbage)
    (tmp_path / "folder").mkdir()

    for path, reason in [
        (tmp_path / "garbage", "no DuckDB file"),
        (tmp_path / "folder", "not a regular file"),
        (tmp_path / "absent" / "w", "does not exist"),
    ]:
        with pytest.raises(DataError, match=reason) as refusal:
            DuckdbDestination(path, table="t").load(batch())
        assert str(path) in str(refusal.value)
    assert (tmp_path / "garbage").read_bytes() == garbage


def test_an_address_is_read_as_for_sqlite(tmp_path: Path) -> None:
    """Relative to the project, or absolute; the table's name is checked before any file is made."""
    target = open_destination("duckdb:///w%20x.db", base_dir=tmp_path, table="t", key=("id",))

    assert isinstance(target, DuckdbDestination)
    assert target.path == tmp_path / "w x.db"
    with pytest.raises(DefinitionError, match="reserved"):
        open_destination("duckdb:///w.db", base_dir=tmp_path, table="_statepipe_ledger")
    assert list(tmp_path.iterdir()) == []


_COMMIT = """
import os, sys
from pathlib import Path
from statepipe.io.duckdb.destination import DuckdbDestination
from tests.io.warehouse import batch
target = DuckdbDestination(Path(sys.argv[1]), table="t")
target.load(batch())
os.write(2, b"ACK")
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace: sudo make tools")
def test_what_is_acknowledged_is_on_the_disk(tmp_path: Path) -> None:
    """The log is synced after its last byte, and then the folder it is new in; then the answer."""
    log = tmp_path / "trace"
    trace = ["strace", "-f", "-y", "-o", str(log), "-e", "trace=write,pwrite64,fsync,fdatasync"]
    subprocess.run(
        [*trace, sys.executable, "-c", _COMMIT, str(tmp_path / "w.duckdb")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    lines = log.read_text(errors="replace").splitlines()
    end = next(n for n, line in enumerate(lines) if '"ACK"' in line)
    ours = [line for line in lines[:end] if str(tmp_path) in line]

    last = max(n for n, line in enumerate(ours) if "w.duckdb.wal" in line and "write(" in line)
    after = [line.split("(")[0].split()[-1] for line in ours[last + 1 :]]
    assert after == ["fdatasync", "fsync"]
    assert f"<{tmp_path}>" in ours[-1]
