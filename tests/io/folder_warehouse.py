"""
A warehouse of real files.

    FolderWarehouse     what all warehouses can be asked, of Parquet or JSON Lines
    FaultyFiles         file operations that fail or die like statements
"""

import gzip
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from statepipe.io.declared import Declared
from statepipe.io.destinations import Destination, open_destination
from statepipe.io.folders.destination import FolderDestination
from statepipe.io.folders.files import Files
from statepipe.io.folders.jsonl import JsonlFormat
from statepipe.io.folders.parquet import ParquetFormat
from statepipe.io.rows import Value
from statepipe.io.values import adapt, write_json
from statepipe.sqlite import sqlite3
from tests.io.sqlite_warehouse import faulty
from tests.io.warehouse import Faults

#: JSON numbers are decimal; 1e16 and 10000000000000000 are the same one.
_json = partial(json.loads, parse_float=Decimal, parse_int=Decimal)


class FolderWarehouse:
    """A folder that is not there yet."""

    upserts = False
    stride = 7

    def __init__(self, root: Path, kind: str) -> None:
        self.root = root
        self.kind = kind
        self.ledger = root / "_statepipe" / "ledger.db"
        self._made: list[Destination] = []
        self._reader = duckdb.connect()

    def destination(
        self,
        *,
        table: str = "t",
        key: tuple[str, ...] = (),
        replace: bool = False,
        declared: Declared | None = None,
        faults: Faults | None = None,
    ) -> FolderDestination:
        """Return a destination that does not wait long for anybody."""
        made = FolderDestination(
            self.root,
            format=ParquetFormat(table=table, declared=declared)
            if self.kind == "parquet"
            else JsonlFormat(),
            table=table,
            key=key,
            replace=replace,
            busy_ms=50,
            connect=faulty(faults) if faults else None,
            files=FaultyFiles(faults) if faults else None,
        )
        self._made.append(made)
        return made

    def opened(self, to: str, *, replace: bool = False) -> Destination:
        """Return a destination as a machine opens it."""
        made = open_destination(to, base_dir=self.root.parent, table="t", replace=replace)
        self._made.append(made)
        return made

    def query(self, sql: str) -> list[Any]:
        """Return what another process reads: the ledger's SQL by SQLite, the rest by DuckDB."""
        if "_statepipe" in sql:
            connection = sqlite3.connect(self.ledger)
            try:
                return list(connection.execute(sql).fetchall())
            finally:
                connection.close()
        with self._reader.cursor() as reader:
            for table in self.tables():
                if re.search(rf"\b{re.escape(table)}\b", sql) is None:
                    continue
                # A reader that meets a publication begins again.
                while True:
                    with suppress(FileNotFoundError):
                        rows = self.rows(table)
                        break
                nothing = pa.table(
                    {"id": pa.array([], pa.int64()), "name": pa.array([], pa.string())}
                )
                reader.register(table, rows if rows.column_names else nothing)
            return reader.execute(sql).fetchall()

    def rows(self, table: str) -> pa.Table:
        """Return what a reader of `*.parquet` or `*.jsonl` finds in a table's folder."""
        files = self.files(table)
        if self.kind == "parquet":
            return (
                pa.concat_tables([pq.read_table(file) for file in files]) if files else pa.table({})
            )
        records = [record for file in files for record in objects(file)]
        names = list(dict.fromkeys(name for record in records for name in record))
        columns = {name: [record.get(name) for record in records] for name in names}
        return pa.table({name: _column(values) for name, values in columns.items()})

    def files(self, table: str = "t") -> list[Path]:
        """Return the files that a reader sees."""
        return sorted((self.root / table).glob(f"[!.]*.{self.kind}*"))

    def script(self, sql: str) -> None:
        """Do nothing of what a database could do."""
        assert not sql

    def clear(self) -> None:
        """Empty the warehouse."""
        for made in self._made:
            made.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def tables(self) -> set[str]:
        """Return the names of all tables."""
        if not self.root.is_dir():
            return set()
        there = {each.name for each in self.root.iterdir() if not each.name.startswith((".", "_"))}
        return {name for name in there if (self.root / name).is_symlink() or self.files(name)}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the ledger."""
        holder = sqlite3.connect(self.ledger, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")
        holder.close()

    def failure(self) -> Exception:
        """Return an I/O error."""
        error: Exception = sqlite3.OperationalError("disk I/O error")
        return error

    lost = failure

    def refusing_triggers(self) -> str:
        """Return nothing: a file has no triggers."""
        return ""

    def is_same(self, stored: Value, value: Value) -> bool:
        """Return True if it is equal, or the text or the JSON that is documented."""
        if type(value) in {float, Decimal} and math.isnan(value):
            return type(stored) is float and math.isnan(stored)
        if type(value) is float and type(stored) is Decimal:
            return float(stored) == value
        if type(stored) is type(value) and stored == value:
            return True
        if type(stored) is float or type(stored) is Decimal:
            return type(value) in {int, Decimal} and bool(stored == value)
        text = write_json(value)
        if type(stored) is not str or _is_json(stored, text) or _is_json(json.dumps(stored), text):
            return type(stored) is str
        return bool(stored == adapt(value))

    def close(self) -> None:
        """Close the destinations."""
        for made in self._made:
            made.close()
        self._reader.close()


def objects(file: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON Lines file; those of one of its fields as JSON text."""
    data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return [json.loads(line) for line in data.decode().split("\n") if line]


def _column(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) == 1 and kinds <= {int, float, str}:
        return pa.array(values)
    return pa.array([None if value is None else json.dumps(value) for value in values], pa.string())


def _is_json(stored: str, text: str) -> bool:
    try:
        return stored == text or bool(_json(stored) == _json(text))
    except ValueError:
        return False


class FaultyFiles(Files):
    """File operations of which one fails, or is the last thing that the process does."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def make_folder(self, path: Path) -> None:
        """Make the folder, or fail."""
        self._faults.run("make_folder", partial(super().make_folder, path))

    def write(self, path: Path, write: Callable[[BinaryIO], None]) -> None:
        """Write the file, or fail."""
        self._faults.run("write", partial(super().write, path, write))

    def rename(self, old: Path, new: Path) -> None:
        """Rename the file, or fail."""
        self._faults.run("rename", partial(super().rename, old, new))

    def link(self, path: Path, target: str) -> None:
        """Make the link, or fail."""
        self._faults.run("link", partial(super().link, path, target))

    def unlink(self, path: Path) -> None:
        """Delete the file, or fail."""
        self._faults.run("unlink", partial(super().unlink, path))

    def sync(self, folder: Path) -> None:
        """Sync the folder, or fail."""
        self._faults.run("sync", partial(super().sync, folder))
