"""
Drafts in SQLite: a table like another one, and putting it in that one's place.

    make_like      a draft with the columns, constraints and unique indexes of a table
    drop_drafts    those that nobody goes on with
    put_in_place   the draft's rows for those of the table

The table stays the same one, with its indexes, triggers and views: its rows go and the
draft's come, in the caller's transaction. SQLite has no way to make a table like another
but to say its CREATE TABLE again, under another name.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from statepipe.errors import DataError
from statepipe.io.table import quote

_NAME: Final = r"""("(?:[^"]|"")*"|\[[^\]]*\]|`(?:[^`]|``)*`|'(?:[^']|'')*'|[^\s(]+)"""

#: SQLite keeps the text of both from the name on, behind words of its own.
_TABLE: Final = re.compile(rf"CREATE TABLE\s+{_NAME}(.*)", re.DOTALL)
_INDEX: Final = re.compile(rf"CREATE UNIQUE INDEX\s+{_NAME}\s+ON\s+{_NAME}(.*)", re.DOTALL)

_DEFINITION: Final = """
SELECT sql
  FROM sqlite_master
 WHERE tbl_name = ? COLLATE NOCASE
   AND (sql LIKE 'CREATE TABLE%' OR sql LIKE 'CREATE UNIQUE%')
 ORDER BY type DESC, name
"""

_NAMES: Final = "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, ?) = ?"

_THERE: Final = "SELECT 1 FROM sqlite_master WHERE name = ? COLLATE NOCASE"

Execute = Callable[[str, Sequence[Any]], Any]


def make_like(execute: Execute, table: str, *, draft: str) -> None:
    """
    Make `draft` like `table`.

    Raises:
        DataError: If the table's definition cannot be said again.
    """
    for number, (sql,) in enumerate(execute(_DEFINITION, (table,)).fetchall()):
        made = _TABLE.fullmatch(sql)
        indexed = _INDEX.fullmatch(sql)
        if made:
            execute(f"CREATE TABLE {quote(draft)} {made[2]}", ())
        elif indexed:
            index = quote(f"{draft}_{number}")
            execute(f"CREATE UNIQUE INDEX {index} ON {quote(draft)} {indexed[3]}", ())
        else:
            raise DataError(
                f"no table can be made like {table!r}: {sql[:80]!a}",
                meaning="nothing was loaded",
                next_step="make it again with a plain CREATE TABLE, or load in another mode",
            )


def drop_drafts(execute: Execute, *, prefix: str) -> None:
    """Drop the tables whose names begin with `prefix`."""
    for (name,) in execute(_NAMES, (len(prefix), prefix)).fetchall():
        execute(f"DROP TABLE {quote(name)}", ())


def put_in_place(execute: Execute, table: str, *, draft: str, columns: Sequence[str]) -> None:
    """
    Put the rows of `draft` in the place of those of `table`, or the draft in its place.

    Raises:
        DataError: If a trigger of the table keeps rows back.
    """
    if not execute(_THERE, (table,)).fetchone():
        execute(f"ALTER TABLE {quote(draft)} RENAME TO {quote(table)}", ())
        return
    names = ", ".join(map(quote, columns))
    execute(f"DELETE FROM {quote(table)}", ())  # noqa: S608  (quoted)
    (expected,) = execute(f"SELECT count(*) FROM {quote(draft)}", ()).fetchone()  # noqa: S608  (quoted)
    moved = execute(
        f"INSERT INTO {quote(table)} ({names}) SELECT {names} FROM {quote(draft)}",  # noqa: S608  (quoted)
        (),
    ).rowcount
    if moved != expected:
        raise DataError(
            f"a trigger of {table!r} kept {expected - moved} rows of {expected} back",
            meaning=f"nothing was replaced; {table!r} has what it had",
            next_step="let the trigger refuse rows while they are loaded, or drop it; then resume",
        )
    execute(f"DROP TABLE {quote(draft)}", ())
