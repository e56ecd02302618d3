"""
Columns of Arrow as COPY is given them, where the column itself proves that they are fine.

    proved      the values of a column for one of the table, or None if they must be looked at

`io.postgres.values` says what becomes of a value, and looks at each where nothing is proved.
tests/io/postgres/test_arrowcells.py holds both ways against each other.

Imported when it is used, like `io.arrow`: pyarrow is an extra.
"""

from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from statepipe.io.arrowcells import has_nul, is_text
from statepipe.io.postgres.table import BITS, Column

#: A pyarrow.ChunkedArray, or an Array.
Values = Any

_TEXTS: Final = frozenset({"text", "varchar", "citext"})


def proved(values: Values, column: Column) -> list[Any] | None:
    """Return what `column` is given for `values`; None if each of them must be looked at."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    if column.type in BITS:
        fine = pa.types.is_integer(kind) and _is_in_range(values, BITS[column.type])
    elif column.type == "float8":
        fine = kind in {pa.float32(), pa.float64()}
    elif column.type == "bool":
        fine = pa.types.is_boolean(kind)
    elif column.type in _TEXTS and column.modifier < 0:
        fine = is_text(kind) and not has_nul(values)
    else:
        return None
    python_values: list[Any] | None = values.to_pylist() if fine else None
    return python_values


def _is_in_range(values: Values, bits: int) -> bool:
    kind = values.type
    if kind.bit_width <= bits or (kind.bit_width == bits + 1 and pa.types.is_signed_integer(kind)):
        return True
    ends = pc.min_max(values).as_py()
    return ends["min"] is None or (ends["min"] >= -(1 << bits) and ends["max"] < 1 << bits)
