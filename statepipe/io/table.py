"""
A table of a SQLite destination, as far as loading needs to know it; no connection here.

    Kind, Column, Table   what the table's columns do to a value
    insert_sql            append or upsert one shape of record
    create_sql            a new STRICT table for the values of a first batch, or by contract
    add_sql               one more column
    check_name, quote     identifiers from a machine file, made safe
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from statepipe.errors import DefinitionError

NAME_BYTES_MAX = 255
_RESERVED = ("sqlite_", "_statepipe_")


class Kind(Enum):
    """What a column does to a value that is put into it: SQLite's affinities, and ANY."""

    INTEGER = "INTEGER"
    REAL = "REAL"
    TEXT = "TEXT"
    BLOB = "BLOB"
    NUMERIC = "NUMERIC"
    ANY = "ANY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """
    One column that can be written.

    Attributes:
        kind: Its affinity, or in a STRICT table its type.
        strict: True in a STRICT table, which refuses what its type cannot hold.
        not_null: True if it is to be made so; nothing is known of one that is there.
    """

    kind: Kind
    strict: bool
    not_null: bool = False


#: Columns by name, as the table spells them.
Table = Mapping[str, Column]


def kind_of(declared: str, *, strict: bool) -> Kind:
    """Return what a column `declared` so does to values (sqlite.org/datatype3.html, 3.1)."""
    declared = declared.upper()
    if strict:
        return Kind.INTEGER if declared == "INT" else Kind(declared)
    if "INT" in declared:
        return Kind.INTEGER
    if any(part in declared for part in ("CHAR", "CLOB", "TEXT")):
        return Kind.TEXT
    if "BLOB" in declared or not declared:
        return Kind.BLOB
    if any(part in declared for part in ("REAL", "FLOA", "DOUB")):
        return Kind.REAL
    return Kind.NUMERIC


_KIND_OF_VALUES = {int: Kind.INTEGER, float: Kind.REAL, str: Kind.TEXT, bytes: Kind.BLOB}


def table_for(types: Mapping[str, set[type]]) -> dict[str, Column]:
    """
    Return the columns of a new table for fields whose values have these `types`.

    One type, or one type and NULL, gives a column of that type; anything else ANY,
    which keeps every value as it is.
    """
    columns = {}
    for name, seen in types.items():
        known = seen - {type(None)}
        kind = _KIND_OF_VALUES[known.pop()] if len(known) == 1 else Kind.ANY
        columns[name] = Column(kind=kind, strict=True)
    return columns


def create_sql(table: str, columns: Table, *, key: Sequence[str]) -> str:
    """Return the statement that makes `table`; the key becomes its primary key."""
    lines = [
        f"{quote(name)} {column.kind.value}{' NOT NULL' if column.not_null or name in key else ''}"
        for name, column in columns.items()
    ]
    if key:
        lines.append(f"PRIMARY KEY ({', '.join(map(quote, key))})")
    return f"CREATE TABLE {quote(table)} ({', '.join(lines)}) STRICT"


def add_sql(table: str, name: str, column: Column) -> str:
    """Return the statement that adds a column, NULL in the rows that are there."""
    return f"ALTER TABLE {quote(table)} ADD COLUMN {quote(name)} {column.kind.value}"


def insert_sql(table: str, fields: Sequence[str], *, key: Sequence[str], rows: int = 1) -> str:
    """
    Return the statement that puts so many records with these `fields` into `table`.

    OR ABORT overrules an `ON CONFLICT IGNORE` or `REPLACE` the table may declare:
    these would lose a row without a word, here it is rejected with a reason.
    """
    names = [quote(name) for name in fields]
    sql = f"INSERT OR ABORT INTO {quote(table)}"
    record = f"({', '.join('?' * len(names))})"
    sql += f" ({', '.join(names)}) VALUES {', '.join([record] * rows)}"
    if key:
        # A record of nothing but its key still counts as one changed row.
        changed = [quote(name) for name in fields if name not in key] or [quote(key[0])]
        sql += f" ON CONFLICT ({', '.join(map(quote, key))}) DO UPDATE SET "
        sql += ", ".join(f"{name} = excluded.{name}" for name in changed)
    return sql


def check_table_name(name: str) -> None:
    """
    Refuse a table name that SQLite or our ledger keeps to itself.

    Raises:
        DefinitionError: With the reason.
    """
    check_name(name, what="table")
    if name.lower().startswith(_RESERVED):
        raise DefinitionError(
            f"the table name {name!r} is reserved",
            meaning="nothing was loaded",
            next_step=f"choose a name that does not begin with {' or '.join(_RESERVED)}",
        )


def check_name(name: str, *, what: str, bytes_max: int = NAME_BYTES_MAX) -> None:
    """
    Refuse a name that no SQL identifier can spell.

    Args:
        name: The name.
        what: What it is the name of, for the error.
        bytes_max: The longest name that the database keeps whole, in bytes of UTF-8.

    Raises:
        DefinitionError: With the reason.
    """
    reason = ""
    if not name:
        reason = "is empty"
    elif "\0" in name:
        reason = "contains a NUL character"
    elif len(name.encode("utf-8", "surrogatepass")) > bytes_max:
        reason = f"is longer than {bytes_max} bytes"
    elif any("\ud800" <= c <= "\udfff" for c in name):
        reason = "contains half a surrogate pair"
    if reason:
        raise DefinitionError(
            f"the {what} name {name[:80]!a} {reason}",
            meaning="nothing was loaded",
            next_step=f"rename the {what}",
        )


def quote(name: str) -> str:
    """Return `name` as an SQL identifier, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'
