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
from tests.io.arrow_columns import as_rows, columns

#: What there is: a strict column is never NUMERIC, and another one never ANY.
COLUMNS = [
    Column(kind=kind, strict=strict)
    for kind in Kind
    for strict in (True, False)
    if kind is not (Kind.NUMERIC if strict else Kind.ANY)
]


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
        return as_rows(found.runs), found.rejects, found.table

    assert fitted(records) == fitted(records.to_pylist())
    scratch.close()


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
