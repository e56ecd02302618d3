"""
Rows into a table of SQLite: many to a statement, where nobody could tell.

    put           the rows of a run; how many the table took
    takes_many    can nobody tell one statement of many rows from many of one?

A statement of 64 rows costs a fifth less than 64 statements. But a foreign key is held
against the table when a statement ends, so a row could lean on one that comes behind it,
and what a trigger or a virtual table makes of a statement is its own matter.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final

from statepipe.io.fitting import Run
from statepipe.io.table import insert_sql
from statepipe.sqlite import sqlite3

#: More rows to a statement gain nothing more.
_ROWS_MAX: Final = 64
#: What every SQLite takes, unless whoever built it wanted less.
_VARIABLES_MAX: Final = 999

_IS_WATCHED: Final = """
SELECT 1 FROM sqlite_master
WHERE type = 'trigger' AND tbl_name = :name COLLATE NOCASE
   OR type = 'table' AND rootpage = 0 AND name = :name COLLATE NOCASE
UNION ALL
SELECT 1 FROM sqlite_master AS one, pragma_foreign_key_list(one.name) AS link
WHERE one.type = 'table'
  AND (one.name = :name COLLATE NOCASE OR link."table" = :name COLLATE NOCASE)
LIMIT 1
"""


def put(
    connection: sqlite3.Connection, table: str, run: Run, *, key: Sequence[str], many: bool
) -> int:
    """
    Put all rows of `run` into `table`; return how many it took.

    Args:
        connection: In a transaction, with a savepoint to go back to.
        table: The table.
        run: The rows.
        key: Columns of the key for an upsert; none to append.
        many: May a statement have many rows?
    """
    fields = len(run.fields)
    at_once = min(_ROWS_MAX, _VARIABLES_MAX // fields) if many else 1
    rows: Iterator[Any] = iter(run.rows)
    count: int = 0
    if at_once > 1 and (statements := len(run.rows) // at_once):
        sql = insert_sql(table, run.fields, key=key, rows=at_once)
        together = zip(*[chain.from_iterable(rows)] * (at_once * fields))  # noqa: B905  (one iterator)
        count = connection.executemany(sql, islice(together, statements)).rowcount
    rest: int = connection.executemany(insert_sql(table, run.fields, key=key), rows).rowcount
    return count + max(rest, 0)


def takes_many(execute: Callable[..., sqlite3.Cursor], table: str) -> bool:
    """Return True if nobody could tell one statement of many rows from many of one."""
    parameters: dict[str, Any] = {"name": table}
    return execute(_IS_WATCHED, parameters).fetchone() is None
