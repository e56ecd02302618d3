"""
Columns of Arrow as SQLite is given them, where the column itself proves that they are fine.

    proved      the values of a column and their types, or None if they must be looked at
    has_nul     is there a NUL in a column of texts?
    is_text     is it one of texts?

`io.values` says what becomes of a value, and looks at each where nothing is proved.
tests/io/test_arrowcells.py holds both ways against each other.

Imported when it is used, like `io.arrow`: pyarrow is an extra.
"""

from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from statepipe.io.fitting import Cells

_NULL: Final = type(None)
_INT_MAX: Final = 2**63 - 1

#: A pyarrow.ChunkedArray, or an Array.
Column = Any


def proved(column: Column) -> Cells | None:
    """Return what SQLite is given for `column`; None if its values must be looked at."""
    if pa.types.is_dictionary(column.type) and is_text(column.type.value_type):
        column = column.cast(column.type.value_type)
    kind = column.type
    plain: type = int
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif pa.types.is_integer(kind):
        if kind == pa.uint64() and (pc.max(column).as_py() or 0) > _INT_MAX:
            return None
    elif kind in {pa.float32(), pa.float64()}:
        plain = float
        if pc.any(pc.is_nan(column)).as_py():
            return None
    elif is_text(kind):
        plain = str
        if has_nul(column):
            return None
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        plain = bytes
    else:
        return None
    nulls = column.null_count
    types: set[type] = {plain} if nulls < len(column) else set()
    return Cells(column.to_pylist(), types | {_NULL} if nulls else types)


def has_nul(column: Column) -> bool:
    """Return True if a text of `column` contains a NUL character."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    # All bytes of a column at once take a thirtieth of the time of a search in each text.
    if all(_has_no_zero(chunk.buffers()[2]) for chunk in chunks):
        return False
    return bool(pc.any(pc.match_substring(column, "\0")).as_py())


def _has_no_zero(texts: Any) -> bool:  # noqa: ANN401  (pyarrow.Buffer)
    """Return True if there is no zero byte; what a slice has cut off is looked at too."""
    if texts is None or not texts.size:
        return True
    numbers = pa.Array.from_buffers(pa.uint8(), texts.size, [None, texts])
    return bool(pc.min(numbers).as_py() > 0)


def is_text(kind: Any) -> bool:  # noqa: ANN401  (pyarrow.DataType)
    """Return True for the types of texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
