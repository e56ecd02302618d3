"""
Tables of the SQLite destination: new ones, other people's ones, and what cannot be one.
"""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from statepipe.errors import DataError, DefinitionError
from statepipe.io.destinations import Landed, open_destination
from statepipe.io.sqlite import SqliteDestination
from statepipe.sqlite import sqlite3
from tests.io.warehouse import Crash, Faulty, batch, destination, query, script


def test_a_key_upserts_and_the_last_of_a_batch_wins(tmp_path: Path) -> None:
    """Rows with a known key are replaced; both records of one key count as loaded."""
    target = destination(tmp_path / "w.db", key=("id",))
    target.load(batch())

    answer = target.load(batch([{"id": 1, "name": "x"}, {"id": 1, "name": "y"}], number=1))

    assert answer == Landed(2, [], already=False)
    assert query(tmp_path / "w.db", "SELECT * FROM t") == [(1, "y"), (2, "b"), (3, "c")]


def test_a_field_a_record_lacks_keeps_what_the_table_has(tmp_path: Path) -> None:
    """Absent is not null: an upsert leaves the column alone, an insert takes its default."""
    script(tmp_path / "w.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT DEFAULT 'z')")
    target = destination(tmp_path / "w.db", key=("id",))
    target.load(batch([{"id": 1, "a": "a", "b": "b"}]))

    target.load(batch([{"id": 1, "a": None}, {"b": "q", "id": 2}, {"id": 3}], number=1))

    assert query(tmp_path / "w.db", "SELECT * FROM t") == [
        (1, None, "b"),
        (2, None, "q"),
        (3, None, "z"),
    ]


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


def test_names_of_any_characters_are_safe(tmp_path: Path) -> None:
    """Quotes, spaces and keywords are names like any other; nothing is run by them."""
    name = 'select "x"; DROP TABLE t; --'
    target = SqliteDestination(tmp_path / "w.db", table=name, key=('k"',))

    target.load(batch([{'k"': 1, "order": 2, "é ü": 3}]))

    assert query(tmp_path / "w.db", f'SELECT * FROM "{name.replace(chr(34), chr(34) * 2)}"') == [
        (1, 2, 3)
    ]


@pytest.mark.parametrize("name", ["", "a\0b", "sqlite_x", "_statepipe_ledger", "x" * 256, "\ud800"])
def test_names_no_table_can_have_are_refused(tmp_path: Path, name: str) -> None:
    """The machine is wrong, and says so before a file is made."""
    with pytest.raises(DefinitionError):
        SqliteDestination(tmp_path / "w.db", table=name)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_column_stops_the_whole_batch(tmp_path: Path) -> None:
    """Nothing of the batch is loaded, and the error says how to add the column."""
    target = destination(tmp_path / "w.db")
    target.load(batch())

    with pytest.raises(DataError, match=r"no column 'nmae'; did you mean \"name\"") as refusal:
        target.load(batch([{"id": 9}, {"id": 10, "nmae": "x"}], number=1))

    assert 'ADD COLUMN "nmae"' in refusal.value.next_step
    assert query(tmp_path / "w.db", "SELECT count(*) FROM t") == [(3,)]
    assert query(tmp_path / "w.db", "SELECT count(*) FROM _statepipe_ledger") == [(1,)]


def test_a_column_added_meanwhile_is_seen(tmp_path: Path) -> None:
    """Somebody's ALTER TABLE between two batches, or in the middle of one, is taken in."""
    target = destination(tmp_path / "w.db")
    target.load(batch())
    script(tmp_path / "w.db", "ALTER TABLE t ADD COLUMN extra ANY")

    target.load(batch([{"id": 4, "name": "d", "extra": 1.5}], number=1))

    assert query(tmp_path / "w.db", "SELECT * FROM t WHERE id = 4") == [(4, "d", 1.5)]


def test_a_table_made_by_somebody_else_in_between_is_judged_again(tmp_path: Path) -> None:
    """The values were fitted to a new table; then another loader made it first."""
    path = tmp_path / "w.db"

    class Rival(Faulty):
        def run(self, sql: str, call: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE" and sql not in self.statements:
                script(path, "CREATE TABLE t (id TEXT, name TEXT) STRICT")
            return super().run(sql, call)

    answer = destination(path, connect=Rival(error=Crash())).load(batch([{"id": 1}, {"id": "1"}]))

    assert [entry["record"] for entry in answer.rejects] == [{"id": 1}]
    assert query(path, "SELECT id FROM t") == [("1",)]


def test_rows_a_constraint_refuses_are_rejected_alone(tmp_path: Path) -> None:
    """NOT NULL, CHECK, UNIQUE, foreign keys and triggers cost their own row only."""
    script(
        tmp_path / "w.db",
        """
        CREATE TABLE parent (id INTEGER PRIMARY KEY);
        INSERT INTO parent VALUES (1);
        CREATE TABLE t (
          id INTEGER PRIMARY KEY, name TEXT NOT NULL, n INTEGER CHECK (n < 10),
          u TEXT UNIQUE ON CONFLICT REPLACE, p INTEGER REFERENCES parent
        );
        CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.name = 'no'
        BEGIN SELECT RAISE(ABORT, 'said no'); END;
        CREATE TRIGGER hush BEFORE INSERT ON t WHEN NEW.name = 'hush'
        BEGIN SELECT RAISE(IGNORE); END;
        """,
    )
    good = {"id": 1, "name": "ok", "n": 1, "u": "u1", "p": 1}
    records = [
        good,
        good | {"id": 2, "name": None, "u": "u2"},
        good | {"id": 3, "n": 10, "u": "u3"},
        good | {"id": 4},
        good | {"id": 5, "p": 7, "u": "u5"},
        good | {"id": 6, "name": "no", "u": "u6"},
        good | {"id": 7, "name": "hush", "u": "u7"},
        good | {"id": 8, "u": "u8"},
    ]
    target = destination(tmp_path / "w.db", key=("id",))

    answer = target.load(batch(records))

    assert [(e["position"], e["rule"], e["path"]) for e in answer.rejects] == [
        (1, "notnull", "/name"),
        (2, "check", ""),
        (3, "unique", "/u"),
        (4, "foreignkey", ""),
        (5, "trigger", ""),
        (6, "trigger", ""),
    ]
    assert query(tmp_path / "w.db", "SELECT id FROM t") == [(1,), (8,)]
    assert answer.records + len(answer.rejects) == len(records)
    assert target.load(batch(records)) == answer._replace(already=True)


def test_a_missing_or_null_key_is_rejected(tmp_path: Path) -> None:
    """SQLite takes two NULLs for two keys, so a repeated load would add a row."""
    answer = destination(tmp_path / "w.db", key=("id",)).load(
        batch([{"id": 1, "n": 1}, {"id": None, "n": 2}, {"n": 3}, {}])
    )

    assert [(e["rule"], e["path"]) for e in answer.rejects] == [
        ("key", "/id"),
        ("key", "/id"),
        ("empty", ""),
    ]


def test_a_key_without_a_unique_index_is_refused_by_name(tmp_path: Path) -> None:
    """The error says which index to make."""
    script(tmp_path / "w.db", "CREATE TABLE t (id INTEGER, name TEXT)")

    with pytest.raises(DataError, match="no unique index on id") as refusal:
        destination(tmp_path / "w.db", key=("id",)).load(batch())

    assert "CREATE UNIQUE INDEX" in refusal.value.next_step


def test_a_columnar_table_is_loaded_and_its_rejects_have_records(tmp_path: Path) -> None:
    """Arrow goes in by slices; what cannot be stored comes back as a dict."""
    table = pa.table({"id": [1, 2, 3], "x": [1.5, float("nan"), None]})

    answer = destination(tmp_path / "w.db").load(batch(table))

    assert query(tmp_path / "w.db", "SELECT * FROM t") == [(1, 1.5), (3, None)]
    assert [(e["record"]["id"], e["rule"], e["position"]) for e in answer.rejects] == [
        (2, "nan", 1)
    ]
    assert len(destination(tmp_path / "w.db").load(batch(table)).rejects) == 1


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


def test_addresses_name_a_file_beside_the_machine_or_anywhere(tmp_path: Path) -> None:
    """Three slashes are relative, four absolute; nothing is made by opening."""
    relative = open_destination("sqlite:///w%20x.db", base_dir=tmp_path, table="t")
    absolute = open_destination(f"sqlite:///{tmp_path}/a.db", base_dir=Path("/nowhere"), table="t")

    assert isinstance(relative, SqliteDestination)
    assert isinstance(absolute, SqliteDestination)
    assert (relative.path, absolute.path) == (tmp_path / "w x.db", tmp_path / "a.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "to",
    ["postgresql://x/y", "w.db", "sqlite://w.db", "sqlite:///", "sqlite:///:memory:", "sqlit:///x"],
)
def test_addresses_nobody_speaks_are_refused(tmp_path: Path, to: str) -> None:
    """The error shows how to write one."""
    with pytest.raises(DefinitionError) as refusal:
        open_destination(to, base_dir=tmp_path, table="t")
    assert "sqlite:///warehouse.db" in refusal.value.next_step
