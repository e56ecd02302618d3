"""
Drafts in SQLite: a table like another one.

    make_like      a draft with the columns, constraints and unique indexes of a table, and
                   with its numbers: those of AUTOINCREMENT go on behind the table's
    drop_drafts    those that nobody goes on with

SQLite has no way to make a table like another but to say its CREATE TABLE again, under
another name. A foreign key that leads to the table itself then has to lead to the draft; what
it is called in there only SQLite knows, so a table of nothing is renamed for it.
"""

from contextlib import closing
from typing import Final

from statepipe.io.drafts import Execute, made_again
from statepipe.io.table import quote
from statepipe.sqlite import sqlite3

_DEFINITION: Final = """
SELECT sql
  FROM sqlite_master
 WHERE tbl_name = ? COLLATE NOCASE
   AND (sql LIKE 'CREATE TABLE%' OR sql LIKE 'CREATE UNIQUE%')
 ORDER BY type DESC, name
"""

_NAMES: Final = "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, ?) = ?"

_REFERS_TO_ITSELF: Final = (
    'SELECT 1 FROM pragma_foreign_key_list(?) WHERE "table" = ? COLLATE NOCASE'
)

_HAS_NUMBERS: Final = "SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"

# The draft has no row of its own yet: SQLite writes one with the first number it gives.
_GO_ON: Final = """
INSERT INTO sqlite_sequence (name, seq)
SELECT ?, seq FROM sqlite_sequence WHERE name = ? COLLATE NOCASE
"""

_ONLY_TABLE: Final = (
    "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name <> 'sqlite_sequence'"
)


def make_like(execute: Execute, table: str, *, draft: str) -> None:
    """
    Make `draft` like `table`.

    Raises:
        DataError: If the table's definition cannot be said again.
    """
    refers = execute(_REFERS_TO_ITSELF, (table, table)).fetchone() is not None
    for number, (sql,) in enumerate(execute(_DEFINITION, (table,)).fetchall()):
        again = made_again(sql, table=table, draft=draft, number=number)
        if refers and number == 0:  # the table is the first
            again = _renamed(sql, draft)
        execute(again, ())
    if execute(_HAS_NUMBERS, ()).fetchone():
        execute(_GO_ON, (draft, table))


def drop_drafts(execute: Execute, *, prefix: str) -> None:
    """Drop the tables whose names begin with `prefix`."""
    for (name,) in execute(_NAMES, (len(prefix), prefix)).fetchall():
        execute(f"DROP TABLE {quote(name)}", ())


def _renamed(sql: str, name: str) -> str:
    """Return the CREATE TABLE `sql` for a table called `name`, its references to itself too."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as scratch:
        scratch.execute(sql)
        ((known, _),) = scratch.execute(_ONLY_TABLE).fetchall()
        scratch.execute(f"ALTER TABLE {quote(known)} RENAME TO {quote(name)}")
        ((_, renamed),) = scratch.execute(_ONLY_TABLE).fetchall()
    return str(renamed)
