"""
Which files the DuckDB destination takes for its own, before DuckDB opens them.
"""

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from statepipe.errors import DataError
from statepipe.io.duckdb.destination import DuckdbDestination
from statepipe.sqlite import sqlite3
from tests.io.warehouse import batch


def _make_csv(path: Path) -> None:
    path.write_text("id,name\n1,a\n", encoding="utf-8")


def _make_json(path: Path) -> None:
    path.write_text('{"id": 1}\n', encoding="utf-8")


def _make_parquet(path: Path) -> None:
    pq.write_table(pa.table({"id": [1]}), path)


def _make_sqlite(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER)")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("w.csv", _make_csv),
        ("w.json", _make_json),
        ("w.parquet", _make_parquet),
        ("w.db", _make_sqlite),
        ("empty.duckdb", Path.touch),
    ],
)
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    """DuckDB would open it as views of a database in memory, where rows are lost in silence."""
    path = tmp_path / name
    make(path)
    before = path.read_bytes()

    with pytest.raises(DataError, match="it is no DuckDB file"):
        DuckdbDestination(path, table="t2").load(batch())

    assert path.read_bytes() == before


def test_a_file_of_another_kind_that_is_being_read_is_refused(tmp_path: Path) -> None:
    """What this process has open is not opened to look at it: the connection is asked."""
    path = tmp_path / "w.csv"
    _make_csv(path)

    with path.open("rb"), pytest.raises(DataError, match="it is no DuckDB file"):
        DuckdbDestination(path, table="t2").load(batch())


def test_looking_at_the_file_does_not_give_up_its_lock(tmp_path: Path) -> None:
    """A process that closes a file lets go of its locks on it, and DuckDB would not know."""
    path = tmp_path / "w.duckdb"
    with closing(duckdb.connect(path)), closing(DuckdbDestination(path, table="t")) as target:
        target.load(batch())

        asked = [sys.executable, "-c", "import duckdb, sys; duckdb.connect(sys.argv[1])", str(path)]
        other = subprocess.run(asked, check=False, capture_output=True, text=True)

    assert "set lock on file" in other.stderr
