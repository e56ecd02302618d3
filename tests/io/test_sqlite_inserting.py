"""Many rows to a statement: what lands is what lands when each has a statement of its own."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.io.fitting import Run
from statepipe.io.sqlite.inserting import put, takes_many
from statepipe.io.table import Column, Kind, create_sql
from statepipe.sqlite import sqlite3
from tests.io.sqlite_warehouse import destination, query, script
from tests.io.warehouse import batch

#: Rows that a statement has of a few fields.
MANY = 64


@given(
    keys=st.lists(st.integers(0, 200), min_size=1, max_size=200),
    fields=st.sampled_from([2, 15, 16, 400, 600]),
    is_upsert=st.booleans(),
)
def test_many_to_a_statement_leave_the_table_that_one_each_leaves(
    *, keys: list[int], fields: int, is_upsert: bool
) -> None:
    """In the same order, with the last row of each key, and counted the same."""
    names = tuple(f"c{n}" for n in range(fields))
    columns: list[list[Any]] = [
        keys,
        [f"row {n}" for n in range(len(keys))],
        *[keys] * (fields - 2),
    ]
    run = Run(names, range(len(keys)), columns)
    table = {name: Column(kind=Kind.ANY, strict=True) for name in names}
    key = names[:1] if is_upsert else ()

    def left(*, many: bool) -> tuple[int, list[Any]]:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.execute(create_sql("t", table, key=key))
        count = put(connection, "t", run, key=key, many=many)
        rows = connection.execute("SELECT rowid, * FROM t ORDER BY rowid").fetchall()
        connection.close()
        return count, rows

    assert left(many=True) == left(many=False)
    assert left(many=True)[0] == len(keys)


@pytest.mark.parametrize("place", [0, MANY - 1, MANY, 2 * MANY])
def test_one_refused_row_takes_none_of_its_statement_with_it(tmp_path: Path, place: int) -> None:
    """Only it is rejected, wherever in a statement it stands."""
    script(tmp_path / "w.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER CHECK (n > 0))")
    records = [{"id": n, "n": 1} for n in range(2 * MANY + 1)]
    records[place]["n"] = 0

    answer = destination(tmp_path / "w.db", key=("id",)).load(batch(records))

    assert [(e["position"], e["rule"]) for e in answer.rejects] == [(place, "check")]
    assert answer.records == 2 * MANY
    ids = query(tmp_path / "w.db", "SELECT id FROM t ORDER BY id")
    assert ids == [(n,) for n in range(2 * MANY + 1) if n != place]


def test_a_row_may_not_lean_on_one_that_comes_behind_it(tmp_path: Path) -> None:
    """A foreign key is held against each record as if it came alone."""
    script(
        tmp_path / "w.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES t (id))",
    )
    records = [{"id": n, "parent": None} for n in range(2 * MANY)]
    records[0]["parent"] = 1  # which the table does not have yet
    records[3]["parent"] = 2

    answer = destination(tmp_path / "w.db", key=("id",)).load(batch(records))

    assert [(e["position"], e["rule"]) for e in answer.rejects] == [(0, "foreignkey")]


@pytest.mark.parametrize(
    ("sql", "many"),
    [
        ("", True),
        ("CREATE UNIQUE INDEX i ON t (x); CREATE TABLE u (t)", True),
        ("CREATE TRIGGER r AFTER INSERT ON T BEGIN SELECT 1; END", False),
        ("CREATE TABLE u (t REFERENCES T (id))", False),
        ("CREATE TABLE u (t REFERENCES other (id))", True),
        ("DROP TABLE t; CREATE TABLE T (id REFERENCES u (id))", False),
        ("DROP TABLE t; CREATE VIRTUAL TABLE T USING fts5(id)", False),
    ],
)
def test_a_statement_has_many_rows_where_nobody_can_tell(sql: str, many: bool) -> None:  # noqa: FBT001  (a parameter)
    """Not where a trigger, a foreign key or a virtual table is about."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(f"CREATE TABLE t (id INTEGER PRIMARY KEY, x); {sql}")

    assert takes_many(connection.execute, "t") is many
    connection.close()
