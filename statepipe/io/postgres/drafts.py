"""
Drafts in PostgreSQL: a table like another one, and putting it in that one's place.

    make_like      a draft with the columns, constraints and indexes of a table
    drop_drafts    those that nobody goes on with
    put_in_place   the draft's rows for those of the table, or the draft for no table

The table stays the same one, with its rights, views, triggers and foreign keys: its rows go
and the draft's come, in the caller's transaction. Readers see the old rows until COMMIT,
and are never made to wait, which TRUNCATE and RENAME would do.
"""

from collections.abc import Sequence
from typing import Final

import psycopg
from psycopg.sql import SQL, Identifier

from statepipe.errors import DataError
from statepipe.io.postgres.table import Place

_NAMES: Final = (
    "SELECT tablename FROM pg_tables WHERE schemaname = %s AND starts_with(tablename, %s)"
)

_NUMBERED: Final = (
    "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attidentity = 'd'"
)


def make_like(connection: psycopg.Connection, place: Place, *, draft: Place) -> None:
    """
    Make `draft` like the table at `place`. Foreign keys and triggers wait for the swap.

    Numbers that go into the table with the draft's rows are its own sequence's, not those of
    one that ends with the draft: others would be given them again. A column that is always
    generated gets its numbers in the swap.
    """
    connection.execute(SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(draft.sql, place.sql))
    for (name,) in connection.execute(_NUMBERED, (place.text,)).fetchall():
        alter = SQL("ALTER TABLE {} ALTER COLUMN {} ").format(draft.sql, Identifier(name))
        connection.execute(alter + SQL("DROP IDENTITY"))
        # By name, looked up row by row: otherwise the table could not be dropped before its draft.
        sequence = SQL("pg_get_serial_sequence({}, {})").format(place.text, name)
        connection.execute(alter + SQL("SET DEFAULT nextval({}::text)").format(sequence))


def drop_drafts(connection: psycopg.Connection, schema: str, *, prefix: str) -> None:
    """Drop the tables of a schema whose names begin with `prefix`."""
    for (name,) in connection.execute(_NAMES, (schema, prefix)).fetchall():
        connection.execute(SQL("DROP TABLE {}").format(Identifier(schema, name)))


def put_in_place(
    connection: psycopg.Connection, place: Place, *, draft: Place | None, columns: Sequence[str]
) -> None:
    """
    Put the rows of `draft` in the place of those at `place`; None has no rows.

    Raises:
        DataError: If a trigger of the table keeps rows back.
    """
    there = connection.execute("SELECT to_regclass(%s)", (place.text,)).fetchone()
    if there == (None,):
        if draft is not None:
            sql = SQL("ALTER TABLE {} RENAME TO {}")
            connection.execute(sql.format(draft.sql, Identifier(place.name)))
        return
    connection.execute(SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(place.sql))
    connection.execute(SQL("DELETE FROM {}").format(place.sql))
    if draft is None:
        return
    names = SQL(", ").join(map(Identifier, columns))
    (count,) = connection.execute(SQL("SELECT count(*) FROM {}").format(draft.sql)).fetchone() or (
        0,
    )
    moved = connection.execute(
        SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(place.sql, names, names, draft.sql)
    ).rowcount
    if moved != count:
        raise DataError(
            f"a trigger of {place.name!r} kept {count - moved} rows of {count} back",
            meaning=f"nothing was replaced; {place.name!r} has what it had",
            next_step="drop the trigger, or let it refuse rows while they are loaded; then resume",
        )
    connection.execute(SQL("DROP TABLE {}").format(draft.sql))
