"""What a value becomes in a column: every kind of hostile value, exactly or not at all."""

import datetime as dt
import enum
import math
from collections import OrderedDict
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from statepipe.io.fitting import UnstorableError
from statepipe.io.loads import LoadBatch
from statepipe.io.sqlite.destination import SqliteDestination
from statepipe.io.values import adapt
from statepipe.sqlite import sqlite3

UTC = dt.UTC


class Colour(enum.IntEnum):
    """A subclass that plain checks let through."""

    RED = 1


STORED: list[tuple[Any, Any]] = [
    (None, None),
    (True, 1),
    (False, 0),
    (0, 0),
    (2**63 - 1, 2**63 - 1),
    (-(2**63), -(2**63)),
    (1.5, 1.5),
    (math.inf, math.inf),
    (5e-324, 5e-324),
    ("", ""),
    ("é\U0001f600\n'\"", "é\U0001f600\n'\""),
    (b"", b""),
    (b"\x00\xff", b"\x00\xff"),
    (dt.datetime(2013, 2, 4, 10, tzinfo=UTC), "2013-02-04T10:00:00+00:00"),
    (dt.datetime(2013, 2, 4, 10, 0, 0, 5, tzinfo=UTC), "2013-02-04T10:00:00.000005+00:00"),
    (dt.date(2013, 2, 4), "2013-02-04"),
    (dt.time(23, 59, 58), "23:59:58"),
    (dt.timedelta(days=1, seconds=3661, microseconds=500_000), "PT90061.5S"),
    (dt.timedelta(seconds=-1), "-PT1S"),
    (dt.timedelta(microseconds=-1), "-PT0.000001S"),
    (dt.timedelta(0), "PT0S"),
    (Decimal("12.50"), "12.50"),
    (Decimal("1E+400"), "1E+400"),
    (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    ({}, "{}"),
    ({"b": [1, None], "a": "é"}, '{"b":[1,null],"a":"é"}'),
    ([2**70, True], "[1180591620717411303424,true]"),
    ((1, (2,)), "[1,[2]]"),
    ({"b", "a"}, '["a","b"]'),
    ([b"\x00", Decimal("0.10"), dt.date(2013, 2, 4)], '["AA==","0.10","2013-02-04"]'),
    (["a\0b"], '["a\\u0000b"]'),
]

REFUSED: list[tuple[Any, str]] = [
    (2**63, "range"),
    (-(2**63) - 1, "range"),
    (10**5000, "range"),
    (math.nan, "nan"),
    (Decimal("NaN"), "nan"),
    (Decimal("sNaN"), "nan"),
    ("a\0b", "nul"),
    ("\0", "nul"),
    ("\ud800", "unicode"),
    ("x\udfff", "unicode"),
    ([math.nan], "nan"),
    ({"a": [math.inf]}, "nan"),
    (["\ud800"], "unicode"),
    ({1: "x"}, "keys"),
    (object(), "type"),
    (Colour.RED, "type"),
    (OrderedDict(), "type"),
    (bytearray(b"x"), "type"),
    ([frozenset()], "type"),
    (1j, "type"),
]


@pytest.mark.parametrize(("value", "stored"), STORED, ids=map(str, range(len(STORED))))
def test_every_type_has_one_documented_form(value: object, stored: object) -> None:
    """The form is exact, and of SQLite's own types."""
    assert (type(adapt(value)), adapt(value)) == (type(stored), stored)


@pytest.mark.parametrize(
    ("value", "rule"), REFUSED, ids=[f"{rule}-{i}" for i, (_, rule) in enumerate(REFUSED)]
)
def test_what_no_column_holds_is_refused_with_a_reason(value: object, rule: str) -> None:
    """Nothing is changed silently, and the reason can be printed anywhere."""
    with pytest.raises(UnstorableError) as refusal:
        adapt(value)
    assert refusal.value.rule == rule
    assert str(refusal.value).isascii()


def load(path: Path, records: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    """Load `records` into table t; return position, rule and path of each reject."""
    target = SqliteDestination(path, table="t")
    batch = LoadBatch(
        store_id="s",
        instance="i",
        generation=1,
        state="loading",
        visit=1,
        number=0,
        epoch=1,
        digest=b"",
        records=records,
    )
    answer = target.load(batch)
    target.close()
    assert answer.records + len(answer.rejects) == len(records)
    return [(entry["position"], entry["rule"], entry["path"]) for entry in answer.rejects]


def stored(path: Path) -> list[Any]:
    """Return the first column of table t as a new process reads it."""
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("SELECT * FROM t")]
    finally:
        connection.close()


def test_a_batch_parts_hostile_values_from_good_ones(tmp_path: Path) -> None:
    """Each refused value costs its own record, names its field, and the others land exactly."""
    values = [*[v for v, _ in STORED], *[v for v, _ in REFUSED]]
    records = [{"v": value} for value in values]

    rejects = load(tmp_path / "w.db", records)

    first_bad = len(STORED)
    assert rejects == [(first_bad + i, rule, "/v") for i, (_, rule) in enumerate(REFUSED)]
    assert [repr(v) for v in stored(tmp_path / "w.db")] == [repr(s) for _, s in STORED]


VALUES: list[Any] = [
    5,
    5.0,
    5.5,
    -0.5,
    "5",
    " 5 ",
    "5.0",
    "0x5",
    "1e3",
    "abc",
    "",
    b"5",
    2**53 + 1,
    True,
    1e300,
]


@pytest.mark.parametrize("strict", ["", "STRICT"])
@pytest.mark.parametrize("declared", ["INTEGER", "INT", "REAL", "TEXT", "BLOB"])
def test_a_column_changes_no_value_without_a_word(
    tmp_path: Path, declared: str, strict: str
) -> None:
    """Whatever the column's type, a value comes back as it went in, or is rejected."""
    connection = sqlite3.connect(tmp_path / "w.db")
    connection.execute(f"CREATE TABLE t (v {declared}) {strict}")
    connection.close()

    rejects = load(tmp_path / "w.db", [{"v": value} for value in VALUES])

    bad = {position for position, _, _ in rejects}
    kept = [adapt(value) for i, value in enumerate(VALUES) if i not in bad]
    for came_back, went_in in zip(stored(tmp_path / "w.db"), kept, strict=True):
        assert came_back == went_in
        assert type(came_back) is type(went_in) or (declared, type(went_in)) == ("REAL", int)
    assert {rule for _, rule, _ in rejects} <= {"type"}
    assert len(kept) >= 1


@pytest.mark.parametrize(
    ("declared", "value", "kept"),
    [
        ("INTEGER", "5", False),
        ("INTEGER", "abc", True),  # without STRICT any column holds any text
        ("INTEGER", 5.0, False),
        ("INTEGER", 5.5, True),
        ("TEXT", 5, False),
        ("VARCHAR(10)", 5.5, False),
        ("REAL", 5, True),
        ("REAL", 2**53 + 1, False),
        ("REAL", "5", False),
        ("STRING", "007", False),  # not TEXT: SQLite takes STRING for NUMERIC
        ("DATETIME", "2013-02-04T10:00:00Z", True),
        ("DECIMAL(10,2)", Decimal("12.50"), False),
        ("BOOLEAN", True, True),
        ("", "5", True),
        ("BLOB", 5.0, True),
    ],
    ids=repr,
)
def test_affinities_of_other_peoples_tables(
    tmp_path: Path,
    declared: str,
    value: object,
    kept: bool,  # noqa: FBT001  (a parameter of the table above)
) -> None:
    """The traps that a table made by hand sets for a loader."""
    connection = sqlite3.connect(tmp_path / "w.db")
    connection.execute(f"CREATE TABLE t (v {declared})")
    connection.close()

    rejects = load(tmp_path / "w.db", [{"v": value}])

    assert rejects == ([] if kept else [(0, "type", "/v")])
