"""
What a DuckDB file says of a table, and whether it can be loaded into.

    survey        the table or the draft, as it is now
    key_problem   why a table cannot be upserted by a key
    has_ledger    is there a ledger?
    constraints   what a row must keep, for `judge`
    make_like     a draft with the columns, constraints and unique indexes of a table
    drop_drafts   those that nobody goes on with
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import duckdb

from statepipe.io.drafts import made_again
from statepipe.io.table import insert_sql, quote

_OURS: Final = "database_name = current_database() AND schema_name = current_schema()"

#: The statements that make the table and its unique indexes, then its columns and their types.
_SURVEY: Final = f"""
SELECT 0 AS part, '' AS place, sql, ''
  FROM duckdb_tables()
 WHERE {_OURS} AND lower(table_name) = lower($1)
 UNION ALL
SELECT 1, index_name, sql, ''
  FROM duckdb_indexes()
 WHERE {_OURS} AND lower(table_name) = lower($1) AND is_unique
 UNION ALL
SELECT 2, lpad(CAST(column_index AS VARCHAR), 9, '0'), column_name, data_type
  FROM duckdb_columns()
 WHERE {_OURS} AND lower(table_name) = lower($1) AND NOT coalesce(is_generated, FALSE)
 ORDER BY part, place
"""  # noqa: S608  (made of constants)

_VIEW: Final = f"SELECT 1 FROM duckdb_views() WHERE {_OURS} AND lower(view_name) = lower(?)"  # noqa: S608  (made of constants)

_LEDGER: Final = f"SELECT 1 FROM duckdb_tables() WHERE {_OURS} AND table_name = '_statepipe_ledger'"  # noqa: S608  (made of constants)

_DEFAULTS: Final = f"""
SELECT column_name, column_default, is_nullable
  FROM duckdb_columns()
 WHERE {_OURS} AND lower(table_name) = lower(?)
"""  # noqa: S608  (made of constants)

_CONSTRAINTS: Final = f"""
SELECT constraint_type, expression, constraint_column_names,
       referenced_table, referenced_column_names
  FROM duckdb_constraints()
 WHERE {_OURS} AND lower(table_name) = lower(?)
   AND constraint_type IN ('CHECK', 'FOREIGN KEY', 'PRIMARY KEY', 'UNIQUE')
 ORDER BY constraint_index
"""  # noqa: S608  (made of constants)

_UNIQUE_INDEXES: Final = f"""
SELECT expressions
  FROM duckdb_indexes()
 WHERE {_OURS} AND lower(table_name) = lower(?) AND is_unique
"""  # noqa: S608  (made of constants)

_NAMES: Final = (
    f"SELECT table_name FROM duckdb_tables() WHERE {_OURS} AND starts_with(table_name, ?)"  # noqa: S608  (made of constants)
)

#: Runs a statement; what comes back has rows and their number.
Execute = Callable[..., Any]


class Facts(NamedTuple):
    """
    What the catalog says; equal as long as nobody alters anything.

    Attributes:
        sql: The statements that make the table and its unique indexes; none if there is no
            table.
        columns: Their types by the names of those that can be written.
    """

    sql: tuple[str, ...]
    columns: dict[str, str]


class Constraints(NamedTuple):
    """
    What a row of a table must keep.

    Attributes:
        defaults: What a column has that a record does not name, as SQL.
        not_null: Columns that are never NULL.
        checks: Expressions that are never false, with the columns that they name.
        unique: Lists of expressions that no two rows have in common.
        references: Columns, and the table and columns that have their values.
    """

    defaults: dict[str, str]
    not_null: list[str]
    checks: list[tuple[str, list[str]]]
    unique: list[list[str]]
    references: list[tuple[list[str], str, list[str]]]

    def refers_to(self, table: str) -> bool:
        """Return True if a foreign key leads to `table`."""
        return any(parent.lower() == table.lower() for _, parent, _ in self.references)


def survey(execute: Execute, table: str) -> Facts:
    """Ask for `table`, as it is now."""
    rows = execute(_SURVEY, (table,)).fetchall()
    if not rows or rows[0][0] != 0:  # the columns of a view are no table's
        return Facts((), {})
    sql = tuple(text for part, _, text, _ in rows if part < 2)  # noqa: PLR2004  (see there)
    return Facts(sql, {name: kind for part, _, name, kind in rows if part == 2})  # noqa: PLR2004  (the second half of the UNION)


def is_view(execute: Execute, name: str) -> bool:
    """Return True if `name` is a view."""
    return bool(execute(_VIEW, (name,)).fetchone())


def key_problem(
    execute: Execute, table: str, columns: Mapping[str, str], key: Sequence[str]
) -> str:
    """Return why the table cannot be upserted by `key`; "" if it can."""
    if missing := [name for name in key if name not in columns]:
        return f"has no key column {missing[0]!r}"
    sql = insert_sql(table, key, key=key).replace("INSERT OR ABORT", "INSERT")
    try:
        execute(f"EXPLAIN {sql}", (None,) * len(key))
    except duckdb.BinderException:
        return f"has no unique index on {', '.join(key)}"
    return ""


def has_ledger(execute: Execute) -> bool:
    """Return True if there is a ledger."""
    return bool(execute(_LEDGER).fetchone())


def constraints(execute: Execute, table: str) -> Constraints:
    """Return what a row of `table` must keep."""
    found = Constraints({}, [], [], [], [])
    for name, default, nullable in execute(_DEFAULTS, (table,)).fetchall():
        found.defaults[name] = default or "NULL"
        if not nullable:
            found.not_null.append(name)
    for kind, expression, columns, parent, theirs in execute(_CONSTRAINTS, (table,)).fetchall():
        if kind == "CHECK":
            found.checks.append((expression, columns))
        elif kind == "FOREIGN KEY":
            found.references.append((columns, parent, theirs))
        else:
            found.unique.append([quote(name) for name in columns])
    for (expressions,) in execute(_UNIQUE_INDEXES, (table,)).fetchall():
        found.unique.append(_list_of(execute, expressions))
    return found


def make_like(execute: Execute, facts: Facts, table: str, *, draft: str) -> None:
    """
    Make `draft` like `table`, of which `facts` are known.

    Raises:
        DataError: If the table's definition cannot be said again.
    """
    for number, sql in enumerate(facts.sql):
        execute(made_again(sql, table=table, draft=draft, number=number))


def drop_drafts(execute: Execute, *, prefix: str) -> None:
    """Drop the tables whose names begin with `prefix`."""
    for (name,) in execute(_NAMES, (prefix,)).fetchall():
        execute(f"DROP TABLE {quote(name)}")


def _list_of(execute: Execute, expressions: str) -> list[str]:
    """Return an index's expressions, which DuckDB tells as the text of a list."""
    (parts,) = execute("SELECT CAST(? AS VARCHAR[])", (expressions,)).fetchone()
    return list(parts)
