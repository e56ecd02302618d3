"""
Declared columns in SQLite: what each is, and which others hold its values.

    maker    makes the columns for the fields of a contract
    holds    do the values of a field come back from a column as they were?
"""

from collections.abc import Callable
from typing import Final

from statepipe.io.declared import Field
from statepipe.io.table import Column, Kind, Table

#: A decimal is text, and a number among decimals is none: only ANY keeps both.
_KINDS: Final = {
    "integer": Kind.INTEGER,
    "boolean": Kind.INTEGER,
    "number": Kind.REAL,
    "decimal": Kind.ANY,
    "any": Kind.ANY,
}

_NUMBERS: Final = frozenset({Kind.INTEGER, Kind.REAL, Kind.NUMERIC})

#: The kinds of column beside the one that is made, ANY, and no type at all. Text that is no
#: number is left alone by a column for numbers that is not strict.
_HELD: Final = {
    "integer": _NUMBERS,
    "boolean": _NUMBERS,
    "number": frozenset({Kind.NUMERIC}),
    "date": frozenset({Kind.NUMERIC}),
    "datetime": frozenset({Kind.NUMERIC}),
    "time": frozenset({Kind.NUMERIC}),
    "uuid": frozenset({Kind.NUMERIC}),
    "json": frozenset({Kind.NUMERIC}),
}


def maker(table: Table | None) -> Callable[[Field], Column]:
    """Return what makes columns for `table`, or for a new one, which is strict."""
    strict = table is None or any(column.strict for column in table.values())

    def make(field: Field) -> Column:
        kind = _KINDS.get(field.shape, Kind.TEXT)
        if kind is Kind.ANY and not strict:
            kind = Kind.BLOB  # there ANY would be a number, and this is what keeps all values
        return Column(kind=kind, strict=strict, not_null=field.required)

    return make


def holds(column: Column, field: Field) -> bool:
    """Return True if `column` is one for the values of `field`."""
    if column.kind is Kind.ANY or (column.kind is Kind.BLOB and not column.strict):
        return True
    kinds = {_KINDS.get(field.shape, Kind.TEXT), *_HELD.get(field.shape, ())}
    return field.shape == "any" or column.kind in kinds
