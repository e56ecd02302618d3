"""A staged batch by columns is the sequence of records that it was made from."""

import tracemalloc
from itertools import compress
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.io.blocks import Blocks, Columns
from statepipe.io.contract import Contract
from statepipe.io.fitting import Why, split
from statepipe.io.rows import iter_rows, keep
from statepipe.store.stage.records import decode_blocks, decode_records, encode_records
from tests.io.both_ways import agreed_by_blocks, contract

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(allow_nan=False),
    st.sampled_from(["", "a", "ab", "2013-02-04"]),
    st.lists(st.integers(0, 2), max_size=2),
    st.dates(),
)
RECORDS = st.lists(st.dictionaries(st.sampled_from("abc"), VALUES), max_size=12)


def blocks(records: list[dict[str, Any]]) -> Blocks:
    """Return `records` as they come back from the stage."""
    encoded = encode_records(records)
    made = decode_blocks(encoded.format, encoded.payload)
    assert isinstance(made, Blocks)
    return made


@given(records=RECORDS, flags=st.lists(st.booleans(), min_size=12, max_size=12))
def test_blocks_are_the_records_they_were_made_from(
    records: list[dict[str, Any]], flags: list[bool]
) -> None:
    """As a sequence, filtered, cut, and staged once more."""
    made = blocks(records)
    wanted = flags[: len(records)]

    assert list(made) == records
    assert len(made) == len(records)
    assert [made[at] for at in range(len(records))] == records
    assert made[-2:] == records[-2:]
    assert [record for part in iter_rows(made) for record in part] == records
    assert list(keep(made, wanted)) == list(compress(records, wanted))
    assert encode_records(made) == encode_records(records)
    again = encode_records(keep(made, wanted))
    assert decode_records("msgpack", again.payload) == list(compress(records, wanted))


def test_blocks_end_where_their_records_do() -> None:
    """As a list does."""
    two = Blocks([Columns(("a",), [[1, 2]]), []])

    assert [two[-1], two[0]] == [{"a": 2}, {"a": 1}]
    with pytest.raises(IndexError):
        two[2]
    assert not Blocks([])


@given(records=RECORDS)
def test_blocks_are_split_into_the_runs_of_their_records(records: list[dict[str, Any]]) -> None:
    """Positions, fields and values, and what has no fields at all."""
    rejects: dict[int, Why] = {}
    others: dict[int, Why] = {}

    assert _told(split(blocks(records), rejects)) == _told(split(records, others))
    assert rejects == others


SCHEMA = {
    "properties": {
        "a": {"type": ["integer", "null"], "minimum": 0},
        "b": {"anyOf": [{"type": "string", "pattern": "^a"}, {"const": 1}], "not": {"const": 2}},
        "c": {"type": "array", "items": {"minimum": 1}},
    },
    "required": ["a"],
    "if": {"properties": {"a": {"const": 0}}},
    "then": {"properties": {"b": {"type": "string"}}},
}


@given(records=RECORDS)
def test_a_contract_judges_blocks_as_it_judges_dicts(
    records: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also by keywords that no Arrow column can be proved by; True is not 1 is not 1.0."""
    judge = contract(tmp_path_factory.getbasetemp(), SCHEMA)

    for _ in range(2):
        assert repr(judge.judge(blocks(records)).rejects) == repr(judge.judge(records).rejects)


def test_a_value_that_comes_often_is_judged_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """And only records with a strange one become dicts."""
    judge: Contract = contract(
        tmp_path_factory.getbasetemp(), {"properties": {"a": {"enum": ["x", "y"]}}}
    )

    assert agreed_by_blocks(judge, [{"a": value} for value in "xyxyxyz"]) == 1
    assert agreed_by_blocks(judge, [{"a": value} for value in ("x", 1, True, 1.0)]) == 4


DRAFT: Final = "$schema"


@pytest.mark.parametrize(
    "schema",
    [
        # Here `if` is a word like any other, but not in a part that says so.
        {
            DRAFT: "http://json-schema.org/draft-06/schema#",
            "allOf": [
                {
                    "$id": "urn:part",
                    DRAFT: "https://json-schema.org/draft/2020-12/schema",
                    "properties": {"a": {"if": True, "then": False}},
                }
            ],
        },
        # And nobody looks into its branches, which need not mean anything.
        {
            DRAFT: "http://json-schema.org/draft-06/schema#",
            "if": True,
            "then": {"properties": {"a": {"format": "unheard of"}}},
        },
    ],
)
def test_blocks_are_judged_by_the_draft_that_a_part_is_written_in(
    tmp_path: Path, schema: dict[str, Any]
) -> None:
    """What cannot be judged apart from the whole is judged with it."""
    agreed_by_blocks(contract(tmp_path, schema), [{"a": "x"}, {"a": "y"}])


def test_what_is_remembered_of_a_contract_is_bounded(tmp_path: Path) -> None:
    """By the batch, not by the data: long values are judged each time they come."""
    judge = contract(tmp_path, {"properties": {"a": {"type": "string"}}})
    tracemalloc.start()
    try:
        for batch in range(50):
            column = [f"{batch} {n} {'x' * 10_000}" for n in range(20)]
            assert not judge.judge(Blocks([Columns(("a", "b"), [column, column])])).rejects
        del column
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 1_000_000


def _told(runs: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401  (runs)
    """Return each record of the runs with its place and fields; how they are parted is free."""
    return [
        (position, run.fields, row)
        for run in runs
        for position, row in zip(run.positions, zip(*run.columns, strict=True), strict=True)
    ]
