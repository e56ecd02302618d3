"""Views of text and bytes, as polars hands them out: gone before anything looks at a table."""

import pyarrow as pa
import pytest

from statepipe.io.arrow import as_table, columns_of, from_ipc, to_ipc

TEXT = pa.string_view()
CATEGORIES = pa.DictionaryArray.from_arrays(
    pa.array([0, 1], pa.uint32()), pa.array(["a", "b"], TEXT)
)


@pytest.mark.parametrize(
    ("column", "word"),
    [
        (pa.array(["a", "b"], TEXT), "str"),
        (pa.array([b"a", b"b"], pa.binary_view()), "bytes"),
        (pa.array([["a"], ["b"]], pa.list_(TEXT)), "list"),
        (pa.array([["a"], ["b"]], pa.large_list(TEXT)), "list"),
        (pa.array([["a"], ["b"]], pa.list_(TEXT, 1)), "list"),
        (pa.array([{"a": "x"}, {"a": "y"}], pa.struct({"a": TEXT})), "dict"),
        (CATEGORIES, "str"),
    ],
    ids=lambda each: str(getattr(each, "type", each)),
)
def test_a_view_becomes_what_arrow_can_work_with(column: pa.Array, word: str) -> None:
    """Wherever it is: inside of a list, a struct, or as the values of categories."""
    table = as_table(pa.table({"x": pa.chunked_array([column, column])}))

    assert "view" not in str(table.schema)
    assert list(columns_of(table)) == [("x", word, 0)]
    assert table.to_pylist() == [{"x": value} for value in [*column.to_pylist()] * 2]
    assert table.filter(pa.array([True, False] * 2)).num_rows == 2
    assert from_ipc(to_ipc(table).payload).equals(table.unify_dictionaries())
