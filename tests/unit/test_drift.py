"""The shape of a source's records: what drifts, what does not, and what is accepted then."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.drift import COLUMNS_MAX, KINDS, Column, Drift, Shape, accept, compare, shown, told

WARN = dict.fromkeys(KINDS, "warn")


def column(*types: str, records: int = 1_000, nulls: int = 0, absent: int = 0) -> Column:
    """Return what was seen of a column."""
    return Column(types, records, nulls, absent)


def shape(records: int = 1_000, **columns: Column) -> Shape:
    """Return a shape."""
    return Shape(records, columns)


def found(old: Shape | None, new: Shape) -> list[tuple[str, str, str, str]]:
    """Return kind, column, was and now of each drift."""
    return [tuple(drift[:4]) for drift in compare(old, new, WARN)]  # type: ignore[misc]  # a default binds the loop's value, or frozen is what is tested


def test_nothing_is_compared_with_the_first_batch() -> None:
    """The first run ever has nothing to drift from."""
    assert found(None, shape(id=column("int"))) == []


def test_a_batch_without_records_says_nothing() -> None:
    """An empty run is no drift, and moves nothing."""
    old = shape(id=column("int"))
    empty = shape(records=0)

    assert found(old, empty) == []
    assert accept(old, empty, ()).columns == old.columns


def test_columns_come_and_go_by_name() -> None:
    """The order of columns never mattered."""
    old = shape(id=column("int"), price=column("float"))
    new = shape(currency=column("str"), id=column("int"))

    assert found(old, new) == [
        ("added", "currency", "absent", "str"),
        ("removed", "price", "float", "absent"),
    ]
    assert found(old, shape(price=column("float"), id=column("int"))) == []


@pytest.mark.parametrize(
    ("old", "new", "drifted"),
    [
        (("int",), ("str",), True),
        (("int",), ("int", "str"), True),
        (("int", "str"), ("int",), False),
        (("float",), ("int",), False),
        (("float",), ("float", "int"), False),
        (("int",), ("float",), True),
        (("bool",), ("int",), True),
        ((), ("str",), False),
        (("str",), (), False),
    ],
)
def test_a_type_it_never_had_is_news(
    old: tuple[str, ...], new: tuple[str, ...], *, drifted: bool
) -> None:
    """An int among floats is none; where all was null, nobody knows the type yet."""
    was, now = " or ".join(old), " or ".join(new)
    expected = [("retyped", "x", was, now)] if drifted else []

    assert found(shape(x=column(*old)), shape(x=column(*new))) == expected


@pytest.mark.parametrize(
    ("nulls_before", "records", "nulls", "jumped"),
    [
        (0, 1_000, 100, True),
        (0, 1_000, 99, False),
        (300, 1_000, 400, True),
        (300, 10, 5, False),
        (300, 10, 10, True),
        (990, 1_000, 0, False),
        (0, 5, 1, True),
        (0, 1, 0, False),
    ],
)
def test_a_share_of_nulls_jumps_by_ten_points_and_more_than_chance(
    nulls_before: int, records: int, nulls: int, *, jumped: bool
) -> None:
    """Five of ten prove little where three of ten were null; a fall is good news."""
    old = shape(x=column("int", nulls=nulls_before))
    new = shape(records, x=column("int", records=records, nulls=nulls))

    assert bool(found(old, new)) is jumped


@pytest.mark.parametrize(
    ("absent", "records", "gone"),
    [(0, 1, True), (500, 5, False), (500, 10, True), (990, 100, False)],
)
def test_a_column_is_gone_if_chance_does_not_explain_it(
    absent: int, records: int, *, gone: bool
) -> None:
    """A field that one record in a hundred has is missing from most batches."""
    old = shape(x=column("int", absent=absent, nulls=absent))

    assert bool(found(old, shape(records))) is gone


def test_what_was_warned_of_is_accepted_and_not_told_again() -> None:
    """A new column is known then, a removed one forgotten, a type added, a share measured anew."""
    old = shape(a=column("int"), b=column("int"), c=column("int"))
    new = shape(
        1_000, a=column("str"), c=column("int", nulls=500), d=column("date", absent=10, nulls=10)
    )
    drifts = tuple(compare(old, new, WARN))
    assert [each.kind for each in drifts] == ["added", "retyped", "removed", "nulls"]

    after = accept(old, new, drifts)

    assert found(after, new) == []
    assert after.columns["a"].types == ("int", "str")
    assert "b" not in after.columns
    assert after.columns["c"] == column("int", nulls=500)
    assert after.columns["d"].records == 1_000


def test_a_column_that_comes_back_is_new_again() -> None:
    """It was accepted that it is gone."""
    old, without = shape(a=column("int"), b=column("int")), shape(a=column("int"))
    gone = accept(old, without, tuple(compare(old, without, WARN)))

    assert found(gone, old) == [("added", "b", "absent", "int")]


def test_what_was_quarantined_leaves_the_shape_as_it_was() -> None:
    """What goes on has not drifted; the drift itself is not accepted."""
    old = shape(a=column("int"))
    drift = Drift("added", "b", "absent", "int", "quarantine")

    assert accept(old, shape(a=column("int")), (drift,)).columns.keys() == {"a"}


def test_old_batches_fade() -> None:
    """A share of nulls is that of some hundred thousand records, not of all there ever were."""
    now = shape(x=column("int", records=10_000_000, nulls=0))
    for _ in range(9):
        now = accept(now, shape(50_000, x=column("int", records=50_000, nulls=25_000)), ())

    assert now.columns["x"].records <= 100_000
    assert now.columns["x"].nulls / now.columns["x"].records > 0.4


def test_a_shape_is_plain_data_and_back() -> None:
    """As the store keeps it."""
    some = shape(7, id=column("int", "str", records=7, nulls=2, absent=1))

    assert Shape.read(some.plain()) == some


def test_a_drift_is_told_in_a_line() -> None:
    """For the journal."""
    assert told(Drift("retyped", "price", "int", "str", "warn")) == (
        "price retyped, int -> str (warn)"
    )


@pytest.mark.parametrize("name", ["x" * 1_000, "\ud800", ""])
def test_any_name_can_be_shown(name: str) -> None:
    """It goes into a row and onto a terminal."""
    assert len(shown(name).encode()) <= 202


_COLUMNS = st.builds(
    lambda types, records, share: Column(
        tuple(sorted(types)), records, int(records * share), int(records * share / 2)
    ),
    st.sets(st.sampled_from(["int", "float", "str"])),
    st.integers(1, 2_000),
    st.floats(0, 1),
)
_SHAPES = st.builds(
    lambda records, columns: Shape(
        records,
        {
            name: each._replace(records=records, nulls=min(each.nulls, records), absent=0)
            for name, each in columns.items()
        },
    ),
    st.integers(1, 2_000),
    st.dictionaries(st.sampled_from("abcd"), _COLUMNS, max_size=4),
)


@given(batches=st.lists(_SHAPES, min_size=1, max_size=5))
def test_a_batch_that_was_just_accepted_never_drifts(batches: list[Any]) -> None:
    """Else the same warning would come with each batch."""
    accepted: Shape | None = None
    for batch in batches:
        drifts = tuple(compare(accepted, batch, WARN))
        accepted = accept(accepted, batch, drifts)

        kinds = {each.kind for each in compare(accepted, batch, WARN)}
        assert not kinds & {"added", "retyped"}
        assert not {each[:2] for each in compare(accepted, batch, WARN)} & {d[:2] for d in drifts}
        assert all(each.absent <= each.nulls <= each.records for each in accepted.columns.values())
        assert len(accepted.columns) <= COLUMNS_MAX
