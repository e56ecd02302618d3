"""
What the server's catalogs say of a table, and whether it can be loaded into.

    survey        the table and its draft, as they are now
    Known         what a destination makes of that
    key_problem   why a table cannot be upserted by a key
    is_unique     does an index refuse a second row of a key at once?
    has_ledger    is there a ledger in a schema?
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import errors
from psycopg.sql import SQL, Identifier

from statepipe.io.postgres.table import Column, Place, Table

#: One row a column; a table without columns that can be written has one row of NULLs.
#: A domain is judged by the type below it, and its own checks by the server. The last column
#: says that no row without a value passes, whatever a default, a trigger or a rule could do.
_LOOK: Final = """
SELECT n.nspname, c.relkind, c.relpersistence,
       a.attname,
       CASE WHEN b.typtype = 'e' THEN 'enum'
            WHEN b.typtype <> 'b' THEN 'other'
            WHEN b.typname = 'citext' OR b.typnamespace = 'pg_catalog'::regnamespace THEN b.typname
            ELSE 'other' END,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
       format_type(a.atttypid, a.atttypmod),
       a.attnotnull AND NOT a.atthasdef AND t.typdefault IS NULL AND a.attidentity = ''
       AND c.relkind = 'r' AND NOT c.relhasrules
       AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal)
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attribute a
    ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
   AND a.attgenerated = '' AND a.attidentity <> 'a'
  LEFT JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
 WHERE c.oid = to_regclass(%s)
 ORDER BY a.attnum
"""

#: A whole index on these columns and no other, which no transaction can defer.
_UNIQUE: Final = """
SELECT EXISTS (
    SELECT FROM pg_index i
     WHERE i.indrelid = to_regclass(%s) AND i.indisunique AND i.indimmediate AND i.indisvalid
       AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indnkeyatts = i.indnatts
       AND ARRAY(SELECT a.attname::text COLLATE "C"
                   FROM pg_attribute a
                  WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                  ORDER BY 1) = %s::text[])
"""


class Facts(NamedTuple):
    """
    What the catalogs say; equal as long as nobody alters anything.

    Attributes:
        schema: Of the table, or where it would be made; "" if there is no such schema.
        table: The rows of `_LOOK`; none if there is no table.
        draft: The same of its draft.
    """

    schema: str
    table: list[Any]
    draft: list[Any]

    @property
    def columns(self) -> Table | None:
        """The columns of the draft, else of the table; None if there is neither."""
        rows = self.draft or self.table
        return {row[3]: Column(*row[4:7]) for row in rows if row[3] is not None} if rows else None

    @property
    def required(self) -> list[str]:
        """The names of those without which the server surely refuses a row."""
        return [row[3] for row in self.draft or self.table if row[7]]

    @property
    def names(self) -> list[str]:
        """The names of the columns of the table."""
        return [row[3] for row in self.table if row[3] is not None]

    @property
    def problem(self) -> tuple[str, str] | None:
        """Why nothing can be loaded here, and what to do about it."""
        if not self.schema:
            return "no schema of the search path exists", "create one, then resume"
        if self.table and self.table[0][1] not in {"r", "p"}:
            return "it is no table", "name a table in the machine"
        if self.table and self.table[0][2] != "p":
            # After a crash of the server it would be empty, and its ledger would not.
            return (
                "the table is not kept over a crash of the server",
                "ALTER TABLE … SET LOGGED, then resume",
            )
        return None


class Known(NamedTuple):
    """
    What was learned when the table was looked at.

    Attributes:
        place: The table that is written, or will be made: the draft, if there is to be one.
        facts: All that was found, which must be the same once the table is locked.
        is_there: True if it is there.
        table: The columns that it has or will have; None if the first batch tells.
        lacks: Those of them that are not there, and will be added.
        has_ledger: True if its schema has a ledger.
    """

    place: Place
    facts: Facts
    is_there: bool
    table: Table | None
    lacks: Table
    has_ledger: bool


def survey(connection: psycopg.Connection, place: Place, *, draft: str) -> Facts:
    """Ask for the table at `place`, and for its draft, if `draft` is not ""."""
    table = connection.execute(_LOOK, (place.text,)).fetchall()
    schema = table[0][0] if table else place.schema or ""
    if not schema:
        (first,) = connection.execute("SELECT current_schema()").fetchone() or (None,)
        schema = first or ""
    found = []
    if draft and schema:
        found = connection.execute(_LOOK, (Place(schema, draft).text,)).fetchall()
    return Facts(schema, table, found)


def key_problem(
    connection: psycopg.Connection, place: Place, table: Table, key: Sequence[str], *, busy_ms: int
) -> str:
    """Return why the table cannot be upserted by `key`; "" if it can."""
    if missing := [name for name in key if name not in table]:
        return f"has no key column {missing[0]!r}"
    if is_unique(connection, place, key):
        return ""
    # Only the server knows which other indexes will do, and it looks at them under a lock.
    names = SQL(", ").join(map(Identifier, key))
    sql = SQL(
        "SET LOCAL lock_timeout = {};"
        "EXPLAIN INSERT INTO {} ({}) SELECT {} FROM {} ON CONFLICT ({}) DO NOTHING"
    )
    try:
        connection.execute(sql.format(busy_ms, place.sql, names, names, place.sql, names))
    except errors.InvalidColumnReference:
        return f"has no unique index on {', '.join(key)}"
    return ""


def is_unique(connection: psycopg.Connection, place: Place, key: Sequence[str]) -> bool:
    """Return True if the table has an index that refuses a second row of a key at once."""
    asked = (place.text, sorted(key, key=str.encode))
    return connection.execute(_UNIQUE, asked).fetchone() == (True,)


def has_ledger(connection: psycopg.Connection, schema: str) -> bool:
    """Return True if there is a ledger in `schema`."""
    there = Place(schema, "_statepipe_ledger").text
    return connection.execute("SELECT to_regclass(%s)", (there,)).fetchone() != (None,)
