"""A column by codes is the column of its values, however many they are."""

from itertools import compress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.io.coded import Coded, different, filtered, runs_of

#: Columns whose values are their own codes, in one byte and in two.
_COLUMNS = st.one_of(
    st.lists(st.integers(0, 3), min_size=1, max_size=40),
    st.lists(st.integers(0, 299), min_size=1, max_size=40).map(lambda some: [*range(300), *some]),
)


def coded(column: list[Any]) -> Coded:
    """Return the column by codes."""
    values = list(dict.fromkeys(column))
    return Coded.of(values, list(map(values.index, column)))


@given(column=_COLUMNS, seed=st.integers(0, 1 << 20))
def test_a_coded_column_is_its_values(column: list[int], seed: int) -> None:
    """One by one, in slices, counted, looked for, filtered, and stored."""
    made = coded(column)
    wanted = [bool(seed >> at % 20 & 1) for at in range(len(column))]

    assert isinstance(made.codes, bytes) == (len(made.values) <= 256)
    assert list(made) == column
    assert [made[at] for at in range(-len(column), len(column))] == column * 2
    assert made[1:-1:2] == column[1:-1:2]
    assert set(different(made)) == set(column)
    assert [made.count(value) for value in (*column, -1)] == [*map(column.count, column), 0]
    assert made.where([value == column[0] for value in made.values]) == [
        at for at, value in enumerate(column) if value == column[0]
    ]
    assert list(Coded.from_bytes(made.values, made.code_bytes())) == column
    runs = runs_of(wanted)
    if runs:
        kept = filtered(made, runs)
        assert list(kept) == filtered(column, runs) == list(compress(column, wanted))
        assert set(different(kept)) == set(kept), "what was filtered away is not there any more"


@pytest.mark.parametrize(("values", "codes"), [(["a"], b"\0\1"), (range(300), b"\x2c\1")])
def test_a_code_without_a_value_is_refused(values: list[Any], codes: bytes) -> None:
    """In one byte and in two, the lower one first; the code before it is fine."""
    before = bytes([codes[0] - 1, *codes[1:]]) if len(values) > 1 else codes[:1]

    assert list(Coded.from_bytes(values, before)) == [values[-1]]
    with pytest.raises(ValueError, match="without a value"):
        Coded.from_bytes(values, codes)
