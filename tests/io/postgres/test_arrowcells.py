"""What a column of Arrow proves to COPY is what looking at each of its values finds."""

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.errors import DataError
from statepipe.io.postgres import arrowcells
from statepipe.io.postgres.table import Column
from statepipe.io.postgres.values import fit
from tests.io.arrow_columns import as_rows, columns

#: Of lengths and precisions, four bytes are PostgreSQL's own.
COLUMNS = [
    *(Column(name, -1, name) for name in ("int2", "int4", "int8", "float4", "float8", "bool")),
    *(Column(name, -1, name) for name in ("text", "varchar", "bpchar", "citext", "bytea")),
    *(Column(name, -1, name) for name in ("numeric", "date", "timestamp", "timestamptz", "json")),
    Column("varchar", 6, "character varying(2)"),
    Column("bpchar", 6, "character(2)"),
    Column("numeric", (5 << 16) + 2 + 4, "numeric(5,2)"),
]


@given(
    column=columns(),
    known=st.none() | st.sampled_from(COLUMNS),
    key=st.sampled_from([(), ("x",), ("id", "x")]),
)
def test_a_table_is_fitted_as_its_rows_are(
    *,
    column: Any,  # noqa: ANN401  (pyarrow.ChunkedArray)
    known: Column | None,
    key: tuple[str, ...],
) -> None:
    """The same rows, value for value and type for type; the same rejects; the same new table."""
    records = pa.table({"id": pa.array(range(len(column)), pa.int64()), "x": column})
    table = {"id": Column("int8", -1, "bigint"), "x": known} if known else None

    def fitted(records: Any) -> Any:  # noqa: ANN401  (a table or dicts; what is compared)
        found = fit(records, table=table, key=key)
        return (
            as_rows(found.runs),
            found.rejects,
            found.runs and found.table,
        )  # without rows none is made

    assert fitted(records) == fitted(records.to_pylist())


@pytest.mark.parametrize(
    ("values", "kind", "column"),
    [
        ([-(2**15), 2**15 - 1, None], pa.int64(), "int2"),
        ([-(2**31)], pa.int32(), "int4"),
        ([2**63 - 1], pa.uint64(), "int8"),
        ([None], pa.int64(), "int2"),
        ([1.5, math.inf, None], pa.float64(), "float8"),
        ([0.5], pa.float32(), "float8"),
        (["a", None, "é"], pa.string(), "text"),
        (["a", None, "a"], pa.dictionary(pa.int8(), pa.string()), "varchar"),
        ([True, None], pa.bool_(), "bool"),
    ],
)
def test_what_most_tables_are_made_of_is_proved(
    values: list[Any], kind: pa.DataType, column: str
) -> None:
    """Such columns are not walked."""
    array = pa.chunked_array([pa.array(values, kind)])

    assert arrowcells.proved(array, Column(column, -1, column)) == values


@pytest.mark.parametrize(
    ("values", "kind", "column"),
    [
        ([-(2**15) - 1], pa.int32(), Column("int2", -1, "smallint")),
        ([2**15], pa.uint16(), Column("int2", -1, "smallint")),
        ([2**63], pa.uint64(), Column("int8", -1, "bigint")),
        (["a", "b\0"], pa.string(), Column("text", -1, "text")),
        (["abc"], pa.string(), Column("varchar", 6, "character varying(2)")),
        ([1], pa.int64(), Column("float8", -1, "double precision")),
        ([1.0], pa.float64(), Column("float4", -1, "real")),
        ([1], pa.int64(), Column("bool", -1, "boolean")),
        ([b"a"], pa.binary(), Column("text", -1, "text")),
    ],
)
def test_what_may_be_changed_is_looked_at(
    values: list[Any], kind: pa.DataType, column: Column
) -> None:
    """Nothing is proved of a column in which one value may not come back."""
    assert arrowcells.proved(pa.chunked_array([pa.array(values, kind)]), column) is None


def test_a_column_that_cannot_be_filled_is_refused() -> None:
    """Whoever brings the values."""
    table = {"x": Column("other", -1, "point")}

    with pytest.raises(DataError, match="'x' is of type point, which cannot be loaded into"):
        fit(pa.table({"x": ["(1,2)"]}), table=table, key=())
