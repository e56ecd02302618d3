"""
The types of DuckDB, as they are filled from Arrow.

    column_of     a column of a table that is there
    new_columns   those of a table that is to be made
    make_column   one that a contract says
    create_sql    the statement that makes a table
    add_sql       the statement that adds a column
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from statepipe.io import arrowfit
from statepipe.io.arrowdeclared import maker
from statepipe.io.arrowvalues import Column
from statepipe.io.fitting import Run
from statepipe.io.table import check_name, quote

_DECIMAL: Final = re.compile(r"DECIMAL\((\d+),(\d+)\)")

_KINDS: Final = {
    "BOOLEAN": ("bool", pa.bool_()),
    "TINYINT": ("int8", pa.int8()),
    "SMALLINT": ("int8", pa.int16()),
    "INTEGER": ("int8", pa.int32()),
    "BIGINT": ("int8", pa.int64()),
    "UTINYINT": ("int8", pa.uint8()),
    "USMALLINT": ("int8", pa.uint16()),
    "UINTEGER": ("int8", pa.uint32()),
    "UBIGINT": ("int8", pa.uint64()),
    "HUGEINT": ("int8", pa.decimal128(38, 0)),
    "FLOAT": ("float8", pa.float32()),
    "DOUBLE": ("float8", pa.float64()),
    "VARCHAR": ("text", pa.string()),
    "BLOB": ("bytea", pa.binary()),
    "DATE": ("date", pa.date32()),
    "TIME": ("time", pa.time64("us")),
    "TIMESTAMP": ("timestamp", pa.timestamp("us")),
    "TIMESTAMP WITH TIME ZONE": ("timestamptz", pa.timestamp("us", "UTC")),
    "INTERVAL": ("interval", pa.duration("us")),
    "UUID": ("uuid", pa.string()),
    "JSON": ("jsonb", pa.string()),
}

_SQL: Final = {
    "bool": "BOOLEAN",
    "int8": "BIGINT",
    "float8": "DOUBLE",
    "numeric": f"DECIMAL({arrowfit.DIGITS},{arrowfit.SCALE})",
    "text": "VARCHAR",
    "bytea": "BLOB",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "interval": "INTERVAL",
    "uuid": "UUID",
    "jsonb": "JSON",
}

#: A time with an offset has no place in Arrow, so it is kept as text.
_INSTEAD: Final = {"timetz": "text"}

make_column: Final = maker(_INSTEAD, _SQL)


def column_of(sql: str, given: Mapping[str, Any], name: str) -> Column:
    """
    Return the column called `name` of the type `sql`.

    Args:
        sql: Its type as the catalog has it.
        given: What DuckDB calls each column of the table that is loaded, and its Arrow type;
            nothing for dicts.
        name: Its name.
    """
    if sql in _KINDS:
        return Column(*_KINDS[sql], sql)
    if decimal := _DECIMAL.fullmatch(sql):
        return Column("numeric", pa.decimal128(int(decimal[1]), int(decimal[2])), sql)
    if sql.startswith("ENUM("):
        return Column("label", pa.string(), sql)
    theirs, arrow = given.get(name, ("", None))
    # Lists, structs, moments of nanoseconds: taken from a column that is just that.
    return Column("other", arrow if theirs == sql else None, sql)


def new_columns(runs: Sequence[Run], given: Mapping[str, Any]) -> dict[str, Column]:
    """Return the columns of a new table for `runs`; `given` as in `column_of`."""
    columns = arrowfit.infer(runs, instead=_INSTEAD)
    return {
        name: column._replace(
            sql=given[name][0]
            if name in given and column.kind != "jsonb"
            else _SQL.get(column.kind, column.sql)
        )
        for name, column in columns.items()
    }


def create_sql(table: str, columns: Mapping[str, Column], *, key: Sequence[str]) -> str:
    """Return the statement that makes `table`; the key becomes its primary key."""
    for name in columns:
        check_name(name, what="field")
    lines = [
        f"{quote(name)} {column.sql}{' NOT NULL' if column.not_null else ''}"
        for name, column in columns.items()
    ]
    if key:
        lines.append(f"PRIMARY KEY ({', '.join(map(quote, key))})")
    return f"CREATE TABLE {quote(table)} ({', '.join(lines)})"


def add_sql(table: str, name: str, column: Column) -> str:
    """Return the statement that adds a column, NULL in the rows that are there."""
    check_name(name, what="field")
    return f"ALTER TABLE {quote(table)} ADD COLUMN {quote(name)} {column.sql}"
