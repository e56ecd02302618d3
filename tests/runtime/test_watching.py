"""A watched batch: what goes on, what is put aside and why, and what stops the source."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.drift import COLUMNS_MAX, KINDS, Column, Shape, compare
from statepipe.errors import DataError, SchemaDrift
from statepipe.io.blocks import Blocks, Columns
from statepipe.io.coded import Coded
from statepipe.runtime.tasks.watching import Watched, observe, watched

WARN = dict.fromkeys(KINDS, "warn")
QUARANTINE = dict.fromkeys(KINDS, "quarantine")
HALT = dict.fromkeys(KINDS, "halt")

#: What was accepted: two columns, always there and never null.
BEFORE = observe([{"id": n, "name": "x"} for n in range(1_000)])


def watch(
    records: object, actions: Mapping[str, str] | None = QUARANTINE, before: Shape | None = BEFORE
) -> Watched:
    """Watch one batch against an accepted shape."""
    return watched(records, actions, lambda: None if before is None else before.plain())


def rejects(seen: Watched) -> list[tuple[int, str, str]]:
    """Return position, path and message of each reject."""
    return [(each["position"], each["path"], each["message"]) for each in seen.rejects]


def drifts(seen: Watched) -> list[str]:
    """Return kind and column of each drift."""
    assert seen.seen is not None
    return [f"{kind} {column}" for kind, column, *_ in seen.seen["drifts"]]


def test_a_batch_that_nobody_watches_is_not_even_looked_at() -> None:
    """And the store is not asked."""
    records = iter([{"id": 1}])

    assert watched(records, None, lambda: pytest.fail("asked")) == Watched(records, [], None)


def test_a_batch_as_it_was_goes_on_untouched() -> None:
    """No copy is made where nothing drifted."""
    records = [{"name": "y", "id": 5}]

    assert watch(records).records is records
    assert drifts(watch(records)) == []


def test_records_and_tables_have_the_same_shape() -> None:
    """So a source may change from one to the other."""
    records: list[dict[str, Any]] = [
        {
            "i": 1,
            "f": 1.5,
            "s": "x",
            "b": True,
            "y": b"x",
            "d": dt.date(2026, 1, 1),
            "t": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
            "c": dt.time(1),
            "u": dt.timedelta(1),
            "m": Decimal("1.5"),
            "l": [1],
            "o": {"a": 1},
            "n": None,
        },
        dict.fromkeys("ifsbydtcumlon"),
    ]
    table = pa.Table.from_pylist(records)
    table = table.set_column(2, "s", table["s"].dictionary_encode())

    assert observe(table) == observe(records)


def test_absent_is_null_and_more() -> None:
    """A field that is left out is null to most, but it may be gone for good."""
    assert observe([{"a": 1}, {"a": None}, {"b": "x"}, {}]) == Shape(
        4, {"a": Column(("int",), 4, 3, 2), "b": Column(("str",), 4, 3, 3)}
    )


@pytest.mark.parametrize("as_table", [False, True], ids=["dicts", "table"])
def test_each_record_that_drifted_is_put_aside_with_its_reason(*, as_table: bool) -> None:
    """In dicts one record drifts alone; a column's type is that of a whole table."""
    records: list[dict[str, Any]] = [{"id": n, "name": "x"} for n in range(4)]
    records[1] = {"id": 1, "name": 5}
    records[3] = {"id": 3, "name": "x", "tax/eu": 7}
    table = pa.table({"id": [1, 2], "name": [5, None]})

    seen = watch(table if as_table else records)

    if as_table:
        assert seen.records.num_rows == 0
        assert rejects(seen) == [
            (0, "/name", "name retyped, str -> int (quarantine)"),
            (1, "/name", "name retyped, str -> int (quarantine)"),
        ]
        assert [each["record"] for each in seen.rejects] == table.to_pylist()
    else:
        assert seen.records == [{"id": 0, "name": "x"}, {"id": 2, "name": "x"}]
        assert rejects(seen) == [
            (1, "/name", "name retyped, str -> int or str (quarantine)"),
            (3, "/tax~1eu", "tax/eu added, absent -> int (quarantine)"),
        ]
        assert [each["record"] for each in seen.rejects] == [records[1], records[3]]


def test_nulls_are_put_aside_where_their_share_jumped() -> None:
    """The records that have a value are as they always were."""
    table = pa.table({"id": list(range(10)), "name": ["x"] * 5 + [None] * 5})

    for some in (table, table.to_pylist()):
        seen = watch(some)
        assert [each["position"] for each in seen.rejects] == [5, 6, 7, 8, 9]
        assert drifts(seen) == ["nulls name"]
        assert seen.seen is not None
        assert seen.seen["shape"]["records"] == 5


def test_a_column_that_is_gone_is_gone_from_every_record() -> None:
    """Nothing goes on, and nothing is accepted."""
    seen = watch([{"id": 1}, {"id": 2}])

    assert (seen.records, len(seen.rejects)) == ([], 2)
    assert seen.seen is not None
    assert seen.seen["shape"]["records"] == 0


def test_what_is_left_is_looked_at_again() -> None:
    """Without the records that drifted another column may be in none."""
    actions = {**QUARANTINE, "nulls": "warn"}

    seen = watch([{"id": "a", "name": "x"}, {"id": 1}, {"id": 2}], actions)

    assert drifts(seen) == ["retyped id", "nulls name", "removed name"]
    assert len(seen.rejects) == 3


def test_kinds_are_treated_each_its_way() -> None:
    """A new column may be fine where a new type is not."""
    seen = watch(
        [{"id": 1, "name": "x", "more": 1}, {"id": "2", "name": "x"}],
        {**WARN, "retyped": "quarantine"},
    )

    assert seen.records == [{"id": 1, "name": "x", "more": 1}]
    assert drifts(seen) == ["added more", "retyped id"]


def test_a_halt_names_what_drifted_and_what_to_say_if_it_is_right() -> None:
    """One kind that halts is enough, whatever else drifted."""
    with pytest.raises(SchemaDrift) as halted:
        watch([{"id": "1", "name": "x", "more": 1}], {**QUARANTINE, "added": "halt"})

    assert "more added, absent -> int (halt)" in str(halted.value)
    assert 'say added = "warn" for drift in the machine, and resume' in str(halted.value)
    assert [drift[0] for drift in halted.value.drifts] == ["added", "retyped"]


def test_the_first_batch_is_accepted_whatever_is_in_it() -> None:
    """Even by a source that halts at every drift."""
    seen = watch([{"anything": 1}, {"else": "x"}], HALT, before=None)

    assert (len(seen.records), seen.rejects, drifts(seen)) == (2, [], [])


def test_data_in_the_place_of_names_is_refused() -> None:
    """A shape that grew with each record would be none."""
    records = [{f"customer-{n}": n} for n in range(COLUMNS_MAX + 1)]

    with pytest.raises(DataError, match="2,003 different fields, more than 2,000"):
        watch(records, WARN)


def test_what_is_no_record_is_left_to_the_staging() -> None:
    """Which says what is wrong with it."""
    assert watch([{"id": 1}, 7]).seen is None


_VALUES = st.sampled_from([None, 1, 1.5, "x", True])
_RECORDS = st.lists(
    st.dictionaries(st.sampled_from(["id", "name", "more"]), _VALUES, max_size=3), max_size=8
)


@given(records=_RECORDS, before=st.none() | _RECORDS.filter(bool))
def test_nothing_that_goes_on_has_drifted_and_nothing_is_lost(
    records: list[dict[str, Any]], before: list[dict[str, Any]] | None
) -> None:
    """Kept + rejected = read, each record as it was, in its order."""
    accepted = None if before is None else observe(before)

    seen = watch(records, QUARANTINE, accepted)

    places = [each["position"] for each in seen.rejects]
    assert places == sorted(set(places))
    assert [each["record"] for each in seen.rejects] == [records[at] for at in places]
    assert seen.records == [each for at, each in enumerate(records) if at not in set(places)]
    assert compare(accepted, observe(seen.records), QUARANTINE) == []

    by_columns = watch(in_blocks(records), QUARANTINE, accepted)
    assert by_columns.rejects == seen.rejects
    assert by_columns.seen == seen.seen
    assert list(by_columns.records) == seen.records


def in_blocks(records: list[dict[str, Any]]) -> Blocks:
    """Return `records`, each third as a dict and the others as columns of their own."""
    return Blocks(
        [
            Columns(tuple(each), [Coded([value], b"\0") for value in each.values()])
            if each and at % 3
            else [each]
            for at, each in enumerate(records)
        ]
    )
