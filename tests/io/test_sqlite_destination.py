"""
What only the SQLite destination does; what all do is in `conformance`.
"""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import Busy, DataError, DefinitionError
from statepipe.io import values
from statepipe.io.destinations import Landed, open_destination
from statepipe.io.fitting import Fitted
from statepipe.io.rows import Records
from statepipe.io.sqlite.connection import open_connection
from statepipe.io.sqlite.destination import SqliteDestination
from statepipe.io.table import Column
from statepipe.sqlite import APPLICATION_ID, sqlite3
from tests.io.sqlite_warehouse import SqliteWarehouse, destination, query, script
from tests.io.warehouse import batch


def test_a_new_table_is_strict_and_typed_by_its_first_batch(tmp_path: Path) -> None:
    """One type gives a typed column, several give ANY, and the key cannot be null."""
    first = [
        {"id": "k", "i": 1, "r": 1.5, "t": "x", "b": b"y", "mixed": 1, "none": None},
        {"id": "l", "i": None, "r": 2.5, "t": "", "b": b"", "mixed": "2", "none": None},
    ]
    destination(tmp_path / "w.db", key=("id",)).load(batch(first))

    assert query(
        tmp_path / "w.db", 'SELECT name, type, "notnull", pk FROM pragma_table_info("t")'
    ) == [
        ("id", "TEXT", 1, 1),
        ("i", "INTEGER", 0, 0),
        ("r", "REAL", 0, 0),
        ("t", "TEXT", 0, 0),
        ("b", "BLOB", 0, 0),
        ("mixed", "ANY", 0, 0),
        ("none", "ANY", 0, 0),
    ]
    assert query(tmp_path / "w.db", "SELECT strict FROM pragma_table_list('t')") == [(1,)]
    assert query(tmp_path / "w.db", "SELECT mixed FROM t") == [(1,), ("2",)]


@pytest.mark.parametrize("name", ["sqlite_x", "SQLITE_x", "_Statepipe_x"])
def test_names_that_sqlite_or_we_keep_are_refused(tmp_path: Path, name: str) -> None:
    """The machine is wrong, and says so before a file is made."""
    with pytest.raises(DefinitionError, match="reserved"):
        SqliteDestination(tmp_path / "w.db", table=name)
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_would_lose_a_row_without_a_word_rejects_it_instead(tmp_path: Path) -> None:
    """ON CONFLICT IGNORE and REPLACE of a table's own constraints are overruled."""
    script(
        tmp_path / "w.db",
        """
        CREATE TABLE t (
          id INTEGER PRIMARY KEY, u TEXT UNIQUE ON CONFLICT REPLACE,
          v TEXT UNIQUE ON CONFLICT IGNORE
        );
        INSERT INTO t VALUES (0, 'u', 'v');
        """,
    )

    answer = destination(tmp_path / "w.db").load(
        batch([{"id": 1, "u": "u"}, {"id": 2, "v": "v"}, {"id": 3, "u": "w"}])
    )

    assert [(e["position"], e["rule"], e["path"]) for e in answer.rejects] == [
        (0, "unique", "/u"),
        (1, "unique", "/v"),
    ]
    assert query(tmp_path / "w.db", "SELECT id FROM t ORDER BY id") == [(0,), (3,)]


def test_a_trigger_that_rolls_back_loads_nothing(tmp_path: Path) -> None:
    """F3: once the transaction is gone, no later row may land alone."""
    script(
        tmp_path / "w.db",
        """
        CREATE TABLE t (id INTEGER, name TEXT);
        CREATE TRIGGER out BEFORE INSERT ON t WHEN NEW.id = 2
        BEGIN SELECT RAISE(ROLLBACK, 'all of it'); END;
        """,
    )

    with pytest.raises(DataError, match="rolled the whole transaction back"):
        destination(tmp_path / "w.db").load(batch())

    assert query(tmp_path / "w.db", "SELECT count(*) FROM t") == [(0,)]
    assert query(tmp_path / "w.db", "SELECT name FROM sqlite_master WHERE name LIKE '_s%'") == []


def test_a_reader_that_never_ends_makes_commit_busy_and_nothing_lands(tmp_path: Path) -> None:
    """In a rollback journal a reader blocks COMMIT; that is a no, not a doubt."""
    target = destination(tmp_path / "w.db")
    target.load(batch())
    reader = sqlite3.connect(tmp_path / "w.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM t").fetchall()

    with pytest.raises(Busy):
        target.load(batch(number=1))
    reader.close()

    assert query(tmp_path / "w.db", "SELECT count(*) FROM t") == [(3,)]


def test_every_journal_mode_is_kept_and_made_durable(tmp_path: Path) -> None:
    """WAL needs FULL; a rollback journal needs EXTRA, or power loss undoes the last commit."""
    script(tmp_path / "wal.db", "PRAGMA journal_mode = wal; CREATE TABLE x (y)")

    for name, journal, synchronous in [("wal.db", "wal", 2), ("new.db", "delete", 3)]:
        connection = open_connection(tmp_path / name, 50)
        assert connection.execute("PRAGMA journal_mode").fetchone() == (journal,)
        assert connection.execute("PRAGMA synchronous").fetchone() == (synchronous,)
        connection.close()


def test_a_replaced_file_is_noticed_before_the_next_batch(tmp_path: Path) -> None:
    """F5: a file moved away under us would go on acknowledging."""
    target = destination(tmp_path / "w.db")
    target.load(batch())
    (tmp_path / "w.db").rename(tmp_path / "moved.db")

    with pytest.raises(DataError, match="replaced or removed"):
        target.load(batch(number=1))

    assert query(tmp_path / "moved.db", "SELECT count(*) FROM t") == [(3,)]
    assert target.load(batch()) == Landed(3, [], already=False)


def test_files_that_are_no_database_are_named_and_left_alone(tmp_path: Path) -> None:
    """Garbage, a folder, a missing folder: the error names the path, nothing changes."""
    (tmp_path / "garbage.db").write_bytes(b"not a database, and longer than one header" * 100)
    (tmp_path / "folder.db").mkdir()

    for path, reason in [
        (tmp_path / "garbage.db", "not a database"),
        (tmp_path / "folder.db", "not a regular file"),
        (tmp_path / "absent" / "w.db", "does not exist"),
    ]:
        with pytest.raises(DataError, match=reason) as refusal:
            destination(path).load(batch())
        assert str(path) in str(refusal.value)
    assert (tmp_path / "garbage.db").read_bytes().startswith(b"not a database")


def test_a_checkpoint_store_is_no_warehouse(tmp_path: Path) -> None:
    """Whosever it is: a load would put its table among the store's, or in the place of one."""
    script(tmp_path / "s.db", f"PRAGMA application_id = {APPLICATION_ID}; CREATE TABLE t (id)")
    before = (tmp_path / "s.db").read_bytes()
    target = destination(tmp_path / "s.db", replace=True)

    for _ in range(2):
        with pytest.raises(DataError, match="it is a checkpoint store"):
            target.load(batch())

    assert (tmp_path / "s.db").read_bytes() == before


def test_addresses_name_a_file_beside_the_machine_or_anywhere(tmp_path: Path) -> None:
    """Three slashes are relative, four absolute; nothing is made by opening."""
    relative = open_destination("sqlite:///w%20x.db", base_dir=tmp_path, table="t")
    absolute = open_destination(f"sqlite:///{tmp_path}/a.db", base_dir=Path("/nowhere"), table="t")

    assert isinstance(relative, SqliteDestination)
    assert isinstance(absolute, SqliteDestination)
    assert (relative.path, absolute.path) == (tmp_path / "w x.db", tmp_path / "a.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "to", ["w.db", "sqlite://w.db", "sqlite:///", "sqlite:///:memory:", "sqlit:///x"]
)
def test_addresses_nobody_speaks_are_refused(tmp_path: Path, to: str) -> None:
    """The error shows how to write one."""
    with pytest.raises(DefinitionError) as refusal:
        open_destination(to, base_dir=tmp_path, table="t")
    assert "sqlite:///warehouse.db" in refusal.value.next_step


def test_an_address_may_be_a_reference_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the warehouse is may be a matter of the environment."""
    monkeypatch.setenv("WAREHOUSE", f"sqlite:///{tmp_path}/w.db")

    target = open_destination("env:WAREHOUSE", base_dir=Path("/nowhere"), table="t")

    assert isinstance(target, SqliteDestination)
    assert target.path == tmp_path / "w.db"


def test_what_a_reference_leads_to_is_not_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a password in the wrong place."""
    monkeypatch.setenv("WAREHOUSE", "mysql://user:hunter2@host/db")

    with pytest.raises(DefinitionError, match="env:WAREHOUSE") as refusal:
        open_destination("env:WAREHOUSE", base_dir=tmp_path, table="t")

    assert "hunter2" not in f"{refusal.value.message} {refusal.value.next_step}"


@pytest.mark.parametrize(("first", "times", "rejected"), [("x", 1, []), (1, 2, [0])])
def test_a_batch_fitted_while_another_one_made_the_table_is_fitted_again_only_if_it_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: object, times: int, rejected: list[int]
) -> None:
    """It does if the table came to be another one than the batch would have made."""
    path = tmp_path / "w.db"
    fitted = []

    def fit(records: Records, **known: Any) -> Fitted[Column]:  # noqa: ANN401  (passed on)
        fitted.append(records)
        return values.fit(records, **known)

    def turn() -> None:
        destination(path).load(batch([{"id": 1, "x": first}]))

    second = [{"id": 2, "x": "5"}]
    monkeypatch.setattr("statepipe.io.sqlite.destination.fit", fit)
    answer = destination(path).load(batch(second, number=1, turn=turn))

    assert sum(records is second for records in fitted) == times
    assert [entry["position"] for entry in answer.rejects] == rejected
    assert query(path, "SELECT x FROM t") == [(first,), ("5",)][: 2 - len(rejected)]


@pytest.mark.parametrize("table", ["t", "T"])
def test_numbers_that_were_given_do_not_come_again_after_a_replacement(
    tmp_path: Path, table: str
) -> None:
    """AUTOINCREMENT promises that: who kept a number would find another row under it."""
    warehouse = SqliteWarehouse(tmp_path / "w.db")
    warehouse.script(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)")
    warehouse.script("INSERT INTO t (name) VALUES ('a'), ('b'), ('c')")
    warehouse.script("DELETE FROM t WHERE name = 'c'")

    for instance, ids in (("i-1", [4, 5]), ("i-2", [6, 7])):
        with closing(warehouse.destination(replace=True)) as target:
            target.load(batch([{"name": "x"}], instance=instance))
            target.load(batch([{"name": "y"}], number=1, digest=b"1", instance=instance))
            target.publish(batch([], number=2, digest=b"2", instance=instance))
        assert warehouse.query("SELECT id FROM t ORDER BY id") == [(each,) for each in ids]

    warehouse.script("INSERT INTO t (name) VALUES ('an application''s')")
    assert warehouse.query("SELECT max(id) FROM t") == [(8,)]
    assert warehouse.query("SELECT name, seq FROM sqlite_sequence") == [(table, 8)]
