"""
Declared columns in PostgreSQL: what each is, and which others hold its values.

    make     the column for a field of a contract
    holds    do the values of a field come back from a column as they were?
"""

from typing import Final

from statepipe.io.declared import Field
from statepipe.io.postgres.table import Column

_MADE: Final = {
    "integer": ("int8", "bigint"),
    "number": ("float8", "double precision"),
    "decimal": ("numeric", "numeric"),
    "text": ("text", "text"),
    "boolean": ("bool", "boolean"),
    "date": ("date", "date"),
    "datetime": ("timestamptz", "timestamp with time zone"),
    "time": ("timetz", "time with time zone"),
    "uuid": ("uuid", "uuid"),
    "json": ("jsonb", "jsonb"),
    "any": ("jsonb", "jsonb"),
}

_JSON: Final = frozenset({"json", "jsonb"})
_TEXT: Final = frozenset({"text", "varchar", "citext"})

#: The types beside the one that is made; see the table of `values`.
_HELD: Final = {
    "integer": {"int2", "int4", "numeric", "float4", "float8", *_JSON},
    "number": {"float4", "numeric", *_JSON},
    "text": {"varchar", "citext", "bpchar", "enum", *_JSON},
    "boolean": _JSON,
    "date": _TEXT | _JSON,
    "datetime": _TEXT | _JSON,
    "time": _TEXT | _JSON,
    "uuid": _TEXT | _JSON,
    "json": _TEXT | _JSON,
}


def make(field: Field) -> Column:
    """Return the column for `field`."""
    name, sql = _MADE[field.shape]
    return Column(name, -1, sql, not_null=field.required)


def holds(column: Column, field: Field) -> bool:
    """Return True if `column` is one for the values of `field`."""
    types = {make(field).type, *_HELD.get(field.shape, ())}
    return field.shape == "any" or column.type in types
