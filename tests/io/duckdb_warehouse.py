"""
A warehouse in a file of real DuckDB.

    DuckdbWarehouse     what all warehouses can be asked
    holding             another process that has a file open
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, cast

import duckdb

from statepipe.io.declared import Declared
from statepipe.io.duckdb.connection import Connect, open_connection
from statepipe.io.duckdb.destination import DuckdbDestination
from statepipe.io.rows import Value
from statepipe.io.values import adapt, write_json
from tests.io.warehouse import Faults

#: JSON numbers are decimal; 1e16 and 10000000000000000 are the same one.
_json = partial(json.loads, parse_float=Decimal, parse_int=Decimal)

_HOLD = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


class DuckdbWarehouse:
    """A file that is not there yet."""

    kind = "duckdb"
    upserts = True
    stride = 11

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made: list[DuckdbDestination] = []
        self._owner: duckdb.DuckDBPyConnection | None = None

    @property
    def owner(self) -> duckdb.DuckDBPyConnection:
        """A connection that stays open: the last one to close writes all of it to the file."""
        if self._owner is None:
            self._owner = duckdb.connect(self.path)
        return self._owner

    def destination(
        self,
        *,
        table: str = "t",
        key: tuple[str, ...] = (),
        replace: bool = False,
        declared: Declared | None = None,
        faults: Faults | None = None,
    ) -> DuckdbDestination:
        """Return a destination that does not wait long for anybody."""
        made = DuckdbDestination(
            self.path,
            table=table,
            key=key,
            replace=replace,
            declared=declared,
            busy_ms=50,
            connect=faulty(faults) if faults else None,
        )
        self._made.append(made)
        return made

    def query(self, sql: str) -> list[Any]:
        """Return what another connection reads."""
        return self.owner.execute(sql).fetchall()

    def script(self, sql: str) -> None:
        """Run statements as the owner of the file would."""
        self.owner.execute(sql or "SELECT 1")

    def clear(self) -> None:
        """Drop the table and the ledger."""
        for table in ("t", "_statepipe_epoch", "_statepipe_ledger"):
            self.script(f"DROP TABLE IF EXISTS {table}")

    def tables(self) -> set[str]:
        """Return the names of all tables."""
        return {name for (name,) in self.query("SELECT table_name FROM duckdb_tables()")}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let another process have the file open."""
        self.close()
        with holding(self.path):
            yield

    def failure(self) -> Exception:
        """Return an I/O error."""
        return duckdb.IOException("Could not read from file: Input/output error")

    lost = failure

    def refusing_triggers(self) -> str:
        """Return nothing: a trigger of DuckDB cannot refuse one row."""
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
        return type(stored) is str and (
            _is_json(stored, write_json(value)) or stored == adapt(value)
        )

    def close(self) -> None:
        """Close the destinations, and the file."""
        for made in self._made:
            made.close()
        if self._owner is not None:
            self._owner.close()
            self._owner = None


def _is_json(stored: str, text: str) -> bool:
    try:
        return stored == text or bool(_json(stored) == _json(text))
    except ValueError:
        return False


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Have `path` open in another process."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        yield
        holder.communicate()


def faulty(faults: Faults) -> Connect:
    """Return what opens connections that fail as `faults` says."""

    def connect(path: Path, busy_ms: int) -> duckdb.DuckDBPyConnection:
        real = open_connection(path, busy_ms)
        faults.opened.append(real)
        return cast("duckdb.DuckDBPyConnection", _FaultyConnection(real, faults))

    return connect


class _FaultyConnection:
    def __init__(self, real: duckdb.DuckDBPyConnection, faults: Faults) -> None:
        self._real = real
        self._faults = faults

    def __getattr__(self, name: str) -> Value:
        return getattr(self._real, name)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> duckdb.DuckDBPyConnection:
        return self._faults.run(sql, lambda: self._real.execute(sql, parameters))
