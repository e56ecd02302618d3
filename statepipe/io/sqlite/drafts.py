"""
Drafts in SQLite: a table like another one.

    make_like      a draft with the columns, constraints and unique indexes of a table
    drop_drafts    those that nobody goes on with

SQLite has no way to make a table like another but to say its CREATE TABLE again, under
another name.
"""

from typing import Final

from statepipe.io.drafts import Execute, made_again
from statepipe.io.table import quote

_DEFINITION: Final = """
SELECT sql
  FROM sqlite_master
 WHERE tbl_name = ? COLLATE NOCASE
   AND (sql LIKE 'CREATE TABLE%' OR sql LIKE 'CREATE UNIQUE%')
 ORDER BY type DESC, name
"""

_NAMES: Final = "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, ?) = ?"


def make_like(execute: Execute, table: str, *, draft: str) -> None:
    """
    Make `draft` like `table`.

    Raises:
        DataError: If the table's definition cannot be said again.
    """
    for number, (sql,) in enumerate(execute(_DEFINITION, (table,)).fetchall()):
        execute(made_again(sql, table=table, draft=draft, number=number), ())


def drop_drafts(execute: Execute, *, prefix: str) -> None:
    """Drop the tables whose names begin with `prefix`."""
    for (name,) in execute(_NAMES, (len(prefix), prefix)).fetchall():
        execute(f"DROP TABLE {quote(name)}", ())
