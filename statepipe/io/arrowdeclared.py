"""
Declared columns where they are filled from Arrow: what each is, and which others hold its values.

    maker    makes the columns for the fields of a contract
    holds    do the values of a field come back from a column as they were?
"""

from collections.abc import Callable, Mapping
from typing import Final

from statepipe.io.arrowfit import TYPES
from statepipe.io.arrowvalues import Column
from statepipe.io.declared import Field

_KINDS: Final = {
    "integer": "int8",
    "number": "float8",
    "decimal": "numeric",
    "text": "text",
    "boolean": "bool",
    "date": "date",
    "datetime": "timestamptz",
    "time": "timetz",
    "uuid": "uuid",
    "json": "jsonb",
    "any": "jsonb",
}

#: The kinds beside the one that is made; see the table of `arrowvalues`.
_HELD: Final = {
    "integer": {"numeric", "float8", "jsonb"},
    "number": {"numeric", "jsonb"},
    "text": {"label", "jsonb"},
    "boolean": {"jsonb"},
    "date": {"text", "jsonb"},
    "datetime": {"text", "jsonb"},
    "time": {"text", "jsonb"},
    "uuid": {"text", "jsonb"},
    "json": {"text"},
}


def maker(
    instead: Mapping[str, str], sql: Mapping[str, str] | None = None
) -> Callable[[Field], Column]:
    """
    Return what makes columns.

    Args:
        instead: Kinds that the destination has no type for, and what it takes in their place.
        sql: How it calls its kinds; None if by themselves.
    """

    def make(field: Field) -> Column:
        kind = _KINDS[field.shape]
        kind = instead.get(kind, kind)
        return Column(kind, TYPES[kind], (sql or {}).get(kind, kind), not_null=field.required)

    return make


def holds(column: Column, field: Field) -> bool:
    """Return True if `column` is one for the values of `field`."""
    return field.shape == "any" or column.kind in {
        _KINDS[field.shape],
        *_HELD.get(field.shape, ()),
    }
