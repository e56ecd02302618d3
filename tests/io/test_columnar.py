"""What of a table a contract proves by its columns, and what it must look at row by row."""

import datetime as dt
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from statepipe.errors import DataError
from statepipe.io.provable import re2_of
from tests.io.both_ways import agreed, contract

UTC = dt.UTC


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer"}, pa.array([1, -5], pa.int16()), pa.array([None], pa.int16())),
        ({"type": "number"}, pa.array([1], pa.uint64()), pa.array(["1"])),
        ({"type": ["integer", "null"]}, pa.array([1, None]), pa.array([True])),
        ({"type": "integer"}, pa.array([1.0, -3.0]), pa.array([1.5, 2.0])),
        ({"type": "number"}, pa.array([1.5, 1e300]), pa.array([math.nan, 1.0])),
        ({}, pa.array([1.5, None]), pa.array([math.inf])),
        ({"type": "string"}, pa.array(["a"], pa.string_view()), pa.array([b"a", None])),
        ({"type": "string"}, pa.array(["a", "b", "a"]).dictionary_encode(), pa.array([1])),
        ({"type": "boolean"}, pa.array([True, False]), pa.array([0])),
        ({"enum": ["a", None]}, pa.array(["a", None]), pa.array(["b", "a"])),
        ({"enum": [1, 2.5]}, pa.array([1.0, 2.5]), pa.array([3.0])),
        ({"enum": [1, "x", 300]}, pa.array([1], pa.int8()), pa.array([2], pa.int8())),
        ({"const": True}, pa.array([True]), pa.array([False])),
        ({"minimum": 0, "maximum": 2}, pa.array([0, 2]), pa.array([-1, 3])),
        ({"exclusiveMinimum": 0.5}, pa.array([1], pa.int8()), pa.array([0], pa.int8())),
        ({"exclusiveMaximum": 1.5}, pa.array([1.4999]), pa.array([1.5])),
        ({"minimum": -(2**70)}, pa.array([-(2**63)]), pa.array([math.nan])),
        ({"minLength": 1, "maxLength": 2}, pa.array(["é", "😀😀"]), pa.array(["", "e\u0301e"])),
        ({"pattern": "^[A-Z]{3}$"}, pa.array(["JFK"]), pa.array(["jfk", "JFKX", "JFK\n"])),
        ({"pattern": r"^\d+\.\d+$"}, pa.array(["1.25"]), pa.array(["٣.٣"])),
        ({"format": "date-time"}, pa.array(["2013-02-04T10:00:00Z"]), pa.array(["yesterday"])),
        ({"format": "date"}, pa.array(["2013-12-31"]), pa.array(["2013-02-30"])),
        ({"format": "date"}, pa.array([dt.date(2012, 2, 29)]), pa.array([dt.time(1)])),
        (
            {"type": "string", "format": "date-time"},
            pa.array([dt.datetime(2013, 2, 4, tzinfo=UTC)], pa.timestamp("us", "UTC")),
            pa.array([dt.datetime(2013, 2, 4)], pa.timestamp("us")),  # noqa: DTZ001  (a moment without an offset is what is tested)
        ),
        ({"type": "string"}, pa.array([dt.time(1), None]), None),
        ({"type": "string"}, pa.array([b"\xff"]), pa.array([dt.timedelta(1)])),
        ({"type": "number"}, pa.array([dt.timedelta(1)]), None),
        ({"type": "number", "minimum": 0}, pa.array([Decimal("0.1")]), pa.array([Decimal(-1)])),
        ({"type": "null"}, pa.nulls(2), pa.array([1])),
        (True, pa.array([1]), None),
    ],
    ids=str,
)
def test_what_a_column_proves_is_never_made_a_dict(
    tmp_path: Path, schema: object, good: pa.Array, bad: pa.Array | None
) -> None:
    """Good values are proved; bad ones are rejected in the same words as dicts are."""
    nullable = schema is True or "type" not in schema  # type: ignore[operator]  # a test draws it
    some = good if nullable or not good.null_count else good.drop_null()
    judge = contract(tmp_path, {"properties": {"x": schema}})

    assert agreed(judge, pa.table({"x": some})) == 0
    if bad is not None:
        assert agreed(judge, pa.table({"x": bad})) > 0
        assert judge.judge(pa.table({"x": bad})).rejects


def test_only_the_rows_in_doubt_are_made_dicts(tmp_path: Path) -> None:
    """Two of ten thousand, whatever the chunks."""
    part = pa.table({"n": [*range(4_999), -1], "s": ["a"] * 5_000})
    judge = contract(
        tmp_path,
        {
            "required": ["n"],
            "properties": {"n": {"type": "integer", "minimum": 0}, "s": {"enum": ["a"]}},
            "additionalProperties": False,
        },
    )

    assert agreed(judge, pa.concat_tables([part, part])) == 2


@pytest.mark.parametrize(
    ("schema", "table"),
    [
        ({"required": ["x", "y"]}, {"x": [1]}),
        ({"additionalProperties": False, "properties": {"x": {}}}, {"x": [1], "y": [2]}),
        ({"additionalProperties": {"type": "string"}}, {"x": [1]}),
        ({"properties": {"x": False}}, {"x": [1]}),
        ({"type": "array"}, {"x": [1]}),
        (False, {"x": [1]}),
    ],
    ids=str,
)
def test_what_is_wrong_with_all_rows_is_said_of_each(
    tmp_path: Path, schema: object, table: dict[str, Any]
) -> None:
    """A column that is missing, or one too many."""
    judge = contract(tmp_path, schema)

    assert agreed(judge, pa.table(table)) == 1
    assert len(judge.judge(pa.table(table)).rejects) == 1


@pytest.mark.parametrize(
    "schema",
    [
        {"minProperties": 1},
        {"anyOf": [{"required": ["x"]}]},
        {"allOf": [{"minProperties": 1}]},
        {"if": {"required": ["x"]}, "then": {"maxProperties": 5}},
        {"properties": {"x": {"anyOf": [{"type": "integer"}]}}},
        {"properties": {"x": {"multipleOf": 1}}},
        {"properties": {"x": {"type": "integer", "not": {"const": 3}}}},
        {"properties": {"x": {"enum": [1], "const": 1}}},
        {"properties": {"x": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}},
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "properties": {"x": {"minimum": 0, "exclusiveMinimum": True}},
        },
    ],
    ids=str,
)
def test_what_is_not_provable_is_judged_as_dicts(tmp_path: Path, schema: object) -> None:
    """The answer is the same; only the time differs."""
    judge = contract(tmp_path, schema)

    assert agreed(judge, pa.table({"x": [1, 2, 3]})) == 3


def test_a_condition_is_proved_by_keeping_both_of_its_branches(tmp_path: Path) -> None:
    """As in the contract of the flights: what departed has a delay."""
    judge = contract(
        tmp_path,
        {
            "if": {"properties": {"x": {"type": "integer"}}},
            "then": {"properties": {"y": {"type": "integer"}}},
            "allOf": [{"properties": {"x": {"minimum": 0}}}],
        },
    )

    assert agreed(judge, pa.table({"x": [1, None, -1, 2], "y": [1, None, 1, None]})) == 3


def test_annotations_are_not_in_the_way(tmp_path: Path) -> None:
    """Nobody should have to leave out the description to be fast."""
    judge = contract(
        tmp_path,
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "https://example.com/order.json",
            "title": "order",
            "$comment": "…",
            "properties": {"x": {"description": "a number", "type": "integer", "examples": [1]}},
        },
    )

    assert agreed(judge, pa.table({"x": [1]})) == 0


def test_text_that_is_no_unicode_is_not_let_through(tmp_path: Path) -> None:
    """No dict can be made of it, and no column of it is clean."""
    buffers = [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
    table = pa.table({"x": pa.Array.from_buffers(pa.string(), 1, buffers)})

    with pytest.raises(UnicodeDecodeError):
        contract(tmp_path, {}).judge(table)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """Even where every value would be proved."""
    table = pa.table([pa.array([1]), pa.array([2])], names=["x", "x"])

    with pytest.raises(DataError, match="two columns of the table are called 'x'"):
        contract(tmp_path, {}).judge(table)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?i)a",
        r"(?=a)",
        r"(a)\1",
        r"\bword\b",
        r"\p{L}",
        r"[^\s]",
        r"[[:alpha:]]",
        r"[a&&b]",
        r"[a--b]",
        r"a{1001}",
        r"\D",
        r"\u0041",
        r"a{x}",
    ],
)
def test_a_pattern_that_two_dialects_may_read_differently_is_not_proved(pattern: str) -> None:
    """Rather slow than wrong."""
    assert re2_of(pattern) is None


@pytest.mark.parametrize(
    "pattern", ["^[0-9A-Z]{2}$", r"^\d{4}-\d{2}$", "Z$", "^(EWR|JFK|LGA)$", r"^[\w.]+@[\w.]+$"]
)
def test_usual_patterns_are_proved(pattern: str) -> None:
    """If they were not, nothing would be gained."""
    assert re2_of(pattern) is not None
