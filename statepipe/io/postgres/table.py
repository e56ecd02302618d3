"""
A table of PostgreSQL, as far as loading needs to know it, and the statements about it.

    Column, Table   what is known of the columns that can be written
    BITS            how far whole numbers reach
    Place           the schema and the name a machine's `table` stands for
    create, add, upsert, stage, copy   statements, with every name quoted by psycopg.sql

No connection here. Types go by their names in pg_catalog ("int8"), not by those that
people write ("bigint"); `Column.sql` is for people.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from psycopg.sql import SQL, Composed, Identifier

from statepipe.errors import DefinitionError
from statepipe.io.table import check_name

#: PostgreSQL cuts longer identifiers off, with no more than a notice.
NAME_BYTES_MAX: Final = 63

#: The bits of a whole number besides its sign.
BITS: Final = {"int2": 15, "int4": 31, "int8": 63}

_RESERVED: Final = ("pg_", "_statepipe_")

#: The columns of a constraint; of a unique index that is none, too.
CONSTRAINED: Final = """
SELECT a.attname
  FROM pg_index i
  JOIN pg_class x ON x.oid = i.indexrelid
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
 WHERE i.indrelid = to_regclass(%s) AND x.relname = %s
 UNION
SELECT a.attname
  FROM pg_constraint k
  JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
 WHERE k.conrelid = to_regclass(%s) AND k.conname = %s
"""


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column that can be written.

    Attributes:
        type: What it holds, by its name in pg_catalog; "enum" for any enumeration,
            "other" for what has no name there.
        modifier: Length, precision or scale, as PostgreSQL packs them; -1 for none.
        sql: Its type as SQL spells it, for people and for making the column.
        not_null: True if it is to be made so; nothing is known of one that is there.
    """

    type: str
    modifier: int
    sql: str
    not_null: bool = False


#: Columns by name.
Table = Mapping[str, Column]


class Place(NamedTuple):
    """The schema and the name of a table; no schema means the first of the search path."""

    schema: str | None
    name: str

    @property
    def sql(self) -> Identifier:
        """The name as SQL."""
        return Identifier(*(part for part in self if part is not None))

    @property
    def text(self) -> str:
        """The name as `to_regclass` takes it."""
        return self.sql.as_string(None)


def place_of(table: str) -> Place:
    """
    Return where `table` is: "orders", or "sales.orders" in the schema sales.

    Raises:
        DefinitionError: If it can name no table, or one that is reserved.
    """
    first, dot, rest = table.partition(".")
    place = Place(first, rest) if dot else Place(None, first)
    for part in place:
        if part is not None:
            check_name(part, what="table", bytes_max=NAME_BYTES_MAX)
    problem = ""
    if "." in place.name:
        problem = "has more than one dot"
    elif place.name.startswith(_RESERVED):
        problem = "is reserved"
    if problem:
        raise DefinitionError(
            f"the table name {table!r} {problem}",
            meaning="nothing was loaded",
            next_step=f'write "table" or "schema.table", not beginning with {_either(_RESERVED)}',
        )
    return place


def create(place: Place, columns: Table, *, key: Sequence[str]) -> Composed:
    """Return the statement that makes the table; the key becomes its primary key."""
    for name in columns:
        check_name(name, what="field", bytes_max=NAME_BYTES_MAX)
    parts = [
        SQL("{} {}{}").format(
            Identifier(name), SQL(column.sql), SQL(" NOT NULL" if column.not_null else "")
        )
        for name, column in columns.items()
    ]
    if key:
        parts.append(SQL("PRIMARY KEY ({})").format(_names(key)))
    return SQL("CREATE TABLE {} ({})").format(place.sql, SQL(", ").join(parts))


def add(place: Place, columns: Table) -> Composed:
    """Return the statement that adds columns, NULL in the rows that are there."""
    for name in columns:
        check_name(name, what="field", bytes_max=NAME_BYTES_MAX)
    parts = [
        SQL("ADD COLUMN {} {}").format(Identifier(name), SQL(column.sql))
        for name, column in columns.items()
    ]
    return SQL("ALTER TABLE {} {}").format(place.sql, SQL(", ").join(parts))


def staging_of(place: Place, fields: Sequence[str], table: Table) -> Identifier:
    """Return the name of the staging table for these fields, as they are typed now."""
    told = repr((place, [(name, table[name]) for name in fields]))
    return Identifier("pg_temp", f"_statepipe_{sha256(told.encode()).hexdigest()[:16]}")


def stage(staging: Identifier, place: Place, fields: Sequence[str]) -> Composed:
    """
    Return the statement that makes the staging table, unless this session has it.

    It is kept for the session because making one for each batch costs as much as a
    commit; after each commit it is empty.
    """
    return SQL(
        "CREATE TEMP TABLE IF NOT EXISTS {} ON COMMIT DELETE ROWS AS SELECT {} FROM {} WITH NO DATA"
    ).format(staging, _names(fields), place.sql)


def copy(target: Identifier, fields: Sequence[str]) -> Composed:
    """Return the statement that takes rows in binary form."""
    return SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(target, _names(fields))


def upsert(
    place: Place, fields: Sequence[str], *, key: Sequence[str], staging: Identifier
) -> Composed:
    """
    Return the statement that moves the staged rows, one for each key, into the table.

    In the order of the key, so that two loaders who meet in the same rows wait for
    each other instead of dying in a deadlock.
    """
    # A record of nothing but its key still counts as one changed row.
    changed = [name for name in fields if name not in key] or [key[0]]
    return SQL(
        "INSERT INTO {} ({}) SELECT {} FROM {} ORDER BY {} ON CONFLICT ({}) DO UPDATE SET {}"
    ).format(
        place.sql,
        _names(fields),
        _names(fields),
        staging,
        _names(key),
        _names(key),
        SQL(", ").join(
            SQL("{} = excluded.{}").format(Identifier(name), Identifier(name)) for name in changed
        ),
    )


def _names(names: Iterable[str]) -> Composed:
    return SQL(", ").join(map(Identifier, names))


def _either(words: Sequence[str]) -> str:
    return " or ".join(words)
