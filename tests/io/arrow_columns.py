"""Columns of Arrow to hold against their own values, for tests of what a column proves."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from statepipe.io.fitting import Run

TEXTS = st.text(st.characters(codec="utf-8"), max_size=3)
INTS = {f"{sign}int{bits}": bits for sign in ("", "u") for bits in (8, 16, 32, 64)}


def _ints(name: str) -> st.SearchStrategy[int]:
    bits = INTS[name]
    low, high = (0, 2**bits) if name[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return st.integers(low, high - 1)


VALUES: dict[Any, st.SearchStrategy[Any]] = {
    pa.null(): st.none(),
    pa.bool_(): st.booleans(),
    pa.float16(): st.floats(width=16),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.string(): TEXTS,
    pa.large_string(): TEXTS,
    pa.dictionary(pa.int8(), pa.string()): TEXTS,
    pa.dictionary(pa.int32(), pa.int64()): st.integers(-2, 2),
    pa.binary(): st.binary(max_size=3),
    pa.large_binary(): st.binary(max_size=3),
    pa.binary(2): st.binary(min_size=2, max_size=2),
    pa.date32(): st.dates(),
    pa.timestamp("us"): st.datetimes(),
    pa.decimal128(5, 2): st.decimals("-999.99", "999.99", places=2),
    pa.list_(pa.int64()): st.lists(st.integers(-2, 2), max_size=2),
    **{getattr(pa, name)(): _ints(name) for name in INTS},
}


@st.composite
def columns(draw: st.DrawFn) -> Any:  # noqa: ANN401  (pyarrow.ChunkedArray)
    """A column in one chunk or several, cut out of a longer one or not."""
    kind = draw(st.sampled_from(list(VALUES)))
    values = st.lists(st.none() | VALUES[kind], max_size=6)
    chunks = [pa.array(draw(values), kind) for _ in range(draw(st.integers(1, 3)))]
    column = pa.chunked_array(chunks, kind)
    first = draw(st.integers(0, len(column)))
    return column.slice(first, draw(st.integers(0, len(column))))


def seen(row: tuple[Any, ...]) -> list[tuple[type, str]]:
    """Return what must be the same of two rows: 1, 1.0 and True are not, and NaN is itself."""
    return [(type(value), repr(value)) for value in row]


def as_rows(runs: Iterable[Run]) -> list[Any]:
    """Return what must be the same of two lists of runs."""
    return [(run.fields, [*run.positions], [*map(seen, run.rows)]) for run in runs]
