"""What JSON shows of plain data, and what becomes of it once somebody has edited that."""

import datetime as dt
import json
import math
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from statepipe.io.plainjson import UnreadableError, jsonable, mended

UTC = dt.UTC

RECORD = {
    "n": None,
    "flag": True,
    "int": 2**70,
    "float": 1.0,
    "nan": math.nan,
    "inf": math.inf,
    "text": "ü\u2028",
    "bytes": b"\x00\xff",
    "tuple": (1, (2, b"x")),
    "set": {Decimal("1.10"), Decimal(2)},
    "moment": dt.datetime(2026, 2, 8, 12, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    "date": dt.date(2026, 2, 8),
    "time": dt.time(5, 30),
    "took": dt.timedelta(days=1, microseconds=1),
    "price": Decimal("1.10"),
    "id": UUID(int=1),
    "nested": {1: {"when": dt.date(2026, 1, 1)}},
}


def shown() -> Any:  # noqa: ANN401  (JSON data)
    """Return the record as a person finds it in a file."""
    return json.loads(json.dumps(jsonable(RECORD)))


def test_what_was_not_edited_is_the_very_value_it_was() -> None:
    """All of it, or what is beside the field that was edited."""
    edited = shown() | {"text": "u"}

    assert mended(RECORD, shown()) is RECORD
    repaired = mended(RECORD, edited)
    assert repaired.pop("text") == "u"
    assert all(value is RECORD[name] for name, value in repaired.items())


@pytest.mark.parametrize(
    ("name", "json_value", "value"),
    [
        ("bytes", "AAE=", b"\x00\x01"),
        ("moment", "2026-02-09T00:00:00+00:00", dt.datetime(2026, 2, 9, tzinfo=UTC)),
        ("date", "2026-02-09", dt.date(2026, 2, 9)),
        ("time", "06:00", dt.time(6)),
        ("took", 1.5, dt.timedelta(seconds=1.5)),
        ("price", "1.20", Decimal("1.20")),
        ("price", 2, 2),
        ("price", None, None),
        ("id", str(UUID(int=2)), UUID(int=2)),
        ("tuple", [1, [3, "eA=="]], (1, (3, b"x"))),
        ("tuple", [1], (1,)),
        ("set", ["1.10", 5], {Decimal("1.10"), 5}),
        ("nested", {"1": {"when": "2026-01-02"}}, {1: {"when": dt.date(2026, 1, 2)}}),
        ("nested", {"1": {}, "2": "new"}, {1: {}, "2": "new"}),
        ("float", 1, 1.0),
        ("flag", 1, 1),
        ("int", 7, 7),
        ("nan", 0.5, 0.5),
        ("n", "text", "text"),
        ("date", ["2026-02-09"], ["2026-02-09"]),
    ],
)
def test_what_was_edited_has_the_type_of_what_it_stands_for(
    name: str, json_value: object, value: object
) -> None:
    """Where JSON shows a type as text; otherwise what JSON says is meant."""
    found = mended(RECORD, shown() | {name: json_value})[name]

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "json_value", "message"),
    [
        ("moment", "2026-02-09T00:00:00", "/moment was a datetime"),
        ("moment", "2026-02-09T00:00:00.1234567Z", "/moment: '.*' has finer parts"),
        ("time", "10:00:00,0000001", "/time: '10:00:00,0000001' has finer parts"),
        ("took", 0.1234567, "/took: 0.1234567 has finer parts"),
        ("date", "yesterday", "/date was a date, and 'yesterday' is none"),
        ("price", "cheap", "/price was a Decimal"),
        ("bytes", "no base64!", "/bytes was a bytes"),
        ("took", 1e300, "/took was a timedelta"),
        ("set", [[1]], "/set was a set"),
        ("nested", {"1": {"when": "x"}}, "/nested/1/when was a date"),
    ],
)
def test_what_cannot_be_of_that_type_is_refused_with_its_place(
    name: str, json_value: object, message: str
) -> None:
    """Rather than loaded as something else."""
    with pytest.raises(UnreadableError, match=message):
        mended(RECORD, shown() | {name: json_value})


def test_a_field_may_be_removed_and_two_keys_that_look_alike_are_refused() -> None:
    """Nobody could tell which of the two was edited."""
    assert mended({"a": 1, "b": 2}, {"b": 3}) == {"b": 3}
    with pytest.raises(UnreadableError, match="two keys"):
        mended({"x": {1: "a", "1": "b"}}, {"x": {"1": "c"}})
