"""What a column of Arrow proves of its values is what looking at each of them finds."""

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.io import arrowcells
from statepipe.io.sqlite.connection import Scratch
from statepipe.io.table import Column, Kind
from statepipe.io.values import fit

TEXTS = st.text(st.characters(codec="utf-8"), max_size=3)
INTS = {f"{sign}int{bits}": bits for sign in ("", "u") for bits in (8, 16, 32, 64)}
#: What there is: a strict column is never NUMERIC, and another one never ANY.
COLUMNS = [
    Column(kind=kind, strict=strict)
    for kind in Kind
    for strict in (True, False)
    if kind is not (Kind.NUMERIC if strict else Kind.ANY)
]


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


@given(
    column=columns(),
    known=st.none() | st.sampled_from(COLUMNS),
    key=st.sampled_from([(), ("x",)]),
)
def test_a_table_is_fitted_as_its_rows_are(
    *,
    column: Any,  # noqa: ANN401  (pyarrow.ChunkedArray)
    known: Column | None,
    key: tuple[str, ...],
) -> None:
    """The same rows, value for value and type for type; the same rejects; the same new table."""
    records = pa.table({"id": pa.array(range(len(column)), pa.int64()), "x": column})
    table = {"id": Column(kind=Kind.INTEGER, strict=known.strict), "x": known} if known else None
    scratch = Scratch()

    def fitted(records: Any) -> Any:  # noqa: ANN401  (a table or dicts; what is compared)
        found = fit(records, table=table, key=key, ask=scratch.ask)
        rows = [(run.fields, [*run.positions], [*map(_seen, run.rows)]) for run in found.runs]
        return rows, found.rejects, found.table

    assert fitted(records) == fitted(records.to_pylist())
    scratch.close()


def _seen(row: tuple[Any, ...]) -> list[tuple[type, str]]:
    return [(type(value), repr(value)) for value in row]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None], pa.int64()),
        ([2**63 - 1], pa.uint64()),
        ([1.5, math.inf, None], pa.float64()),
        (["a", None, "é"], pa.string()),
        (["a", None, "a"], pa.dictionary(pa.int8(), pa.string())),
        ([b"\0"], pa.binary()),
        ([True, None], pa.bool_()),
    ],
)
def test_what_most_tables_are_made_of_is_proved(values: list[Any], kind: pa.DataType) -> None:
    """Such columns are not walked."""
    cells = arrowcells.proved(pa.chunked_array([pa.array(values, kind)]))

    assert cells is not None
    assert cells.values == values
    assert cells.types == {int if type(value) is bool else type(value) for value in values}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([2**63], pa.uint64()),
        ([0.5, math.nan], pa.float64()),
        (["a", "b\0"], pa.string()),
        (["b\0"], pa.dictionary(pa.int8(), pa.string())),
    ],
)
def test_what_sqlite_cannot_keep_is_not_proved(values: list[Any], kind: pa.DataType) -> None:
    """Such columns are walked, and the record is rejected by its value."""
    assert arrowcells.proved(pa.chunked_array([pa.array(values, kind)])) is None


def test_a_nul_beside_a_slice_is_not_one_of_it() -> None:
    """The bytes of what was cut off are still there."""
    column = pa.chunked_array([pa.array(["a\0", "b", "c\0"])])

    assert not arrowcells.has_nul(column.slice(1, 1))
    assert arrowcells.has_nul(column.slice(1, 2))
