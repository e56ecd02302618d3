"""
A contract judges a table as it judges its rows: the same verdicts, the same words.

The schemas drawn here are of the subset that is proved by columns, and beyond; the values
lie on both sides of every limit. Each proof is held against the judging of dicts.
"""

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.io.both_ways import agreed, contract

_LETTERS = st.sampled_from([*"ab1_-. \n\r\t^$é٣\u00a0\u2028\U0001f600", ""])
_PARTS = st.sampled_from(
    [
        *("a", "b", "1", "é", "-", "_", ".", r"\.", r"\d", r"\w", r"\t", r"\n", r"\-", r"\/"),
        *("[a-b]", "[^a]", r"[\d_]", "[ab1-3]", "[^a-z0-9]", r"[\w.]", "[$.]", "[a^]"),
        *("(a|b)", "(?:ab|1)", "(|a)", "(é)"),
    ]
)
_PATTERNS = st.builds(
    lambda start, parts, end: start + "".join(parts) + end,
    st.sampled_from(["", "^"]),
    st.lists(
        st.builds(
            str.__add__,
            _PARTS,
            st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,2}", "{1,}", "*?", "{0,1}?"]),
        ),
        max_size=4,
    ),
    st.sampled_from(["", "$"]),
)


@settings(max_examples=200, deadline=None)
@given(
    pattern=_PATTERNS,
    texts=st.lists(st.text(_LETTERS.filter(bool), max_size=5), min_size=1, max_size=20),
)
def test_a_proved_text_matches_by_the_library_too(
    tmp_path_factory: pytest.TempPathFactory, pattern: str, texts: list[str]
) -> None:
    """RE2 may match less than ECMA 262 does, never more."""
    judge = contract(tmp_path_factory.getbasetemp(), {"properties": {"x": {"pattern": pattern}}})

    agreed(judge, pa.table({"x": texts}))


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(["date", "date-time"]),
    texts=st.lists(
        st.one_of(
            st.dates().map(str),
            st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
            st.datetimes(timezones=st.timezones()).map(dt.datetime.isoformat),
            st.builds(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}".format,
                st.integers(0, 9999),
                st.integers(0, 13),
                st.integers(0, 32),
                st.integers(0, 25),
                st.integers(0, 60),
                st.integers(0, 61),
                st.sampled_from(["Z", "z", "", "+14:00", "+24:00", "-00:00", ".5Z", ".Z"]),
            ),
            st.text(max_size=3),
        ),
        min_size=1,
        max_size=20,
    ),
)
def test_a_proved_moment_is_one_by_the_library_too(
    tmp_path_factory: pytest.TempPathFactory, kind: str, texts: list[str]
) -> None:
    """Leap days and seconds are left to it."""
    judge = contract(tmp_path_factory.getbasetemp(), {"properties": {"x": {"format": kind}}})

    agreed(judge, pa.table({"x": texts}))


_NUMBERS = st.sampled_from(
    [-1, 0, 1, 2, 0.0, -0.0, 0.5, 1.0, 1.5, -(2**63), 2**53 + 1, 2**63, 2**64 - 1, 2**70, 1e300]
)
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    _NUMBERS,
    st.sampled_from(["", "a", "ab", "é", "2013-02-04"]),
)
_RULES = st.one_of(
    st.booleans(),
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.one_of(
                st.sampled_from(["integer", "number", "string", "boolean", "null"]),
                st.lists(
                    st.sampled_from(["integer", "number", "string", "boolean", "null"]),
                    min_size=1,
                    max_size=3,
                    unique=True,
                ),
            ),
            "enum": st.lists(_VALUES, min_size=1, max_size=4),
            "minimum": _NUMBERS,
            "maximum": _NUMBERS,
            "exclusiveMinimum": _NUMBERS,
            "exclusiveMaximum": _NUMBERS,
            "minLength": st.integers(0, 3),
            "maxLength": st.integers(0, 3),
            "pattern": st.sampled_from(["", "^a", "b$", "^.$", "^[a-z]+$"]),
            "format": st.sampled_from(["date", "date-time"]),
            "title": st.just("t"),
        },
    ),
    st.fixed_dictionaries({"const": _VALUES}),
)
_FLAT: dict[str, st.SearchStrategy[Any]] = {
    "required": st.lists(st.sampled_from("abcd"), max_size=2, unique=True),
    "additionalProperties": _RULES,
    "type": st.sampled_from(["object", ["object", "null"]]),
}
_PROPERTIES = {"properties": st.dictionaries(st.sampled_from("abc"), _RULES, max_size=3)}
_PART_OF_ONE = st.one_of(st.booleans(), st.fixed_dictionaries(_PROPERTIES, optional=_FLAT))
_SCHEMAS = st.fixed_dictionaries(
    _PROPERTIES,
    optional={
        **_FLAT,
        "allOf": st.lists(_PART_OF_ONE, min_size=1, max_size=2),
        "if": _PART_OF_ONE,
        "then": _PART_OF_ONE,
        "else": _PART_OF_ONE,
    },
)
_TEXTS = st.sampled_from(["", "a", "ab", "é", "abc", "\n", "2013-02-04", "2013-02-04T00:00:00Z"])
_FLOATS = st.one_of(st.floats(), st.sampled_from([-0.0, 0.0, 0.5, 1.0, 1.5, 2.0**53, 1e300]))
_MOMENTS = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31))  # noqa: DTZ001  (a moment without an offset is what is tested)
_COLUMNS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int8(), st.integers(-3, 3)),
    (pa.uint8(), st.integers(0, 3)),
    (pa.int64(), st.sampled_from([-(2**63), -1, 0, 1, 2, 2**53 + 1, 2**63 - 1])),
    (pa.uint64(), st.sampled_from([0, 1, 2**63, 2**64 - 1])),
    (pa.float64(), _FLOATS),
    (pa.float32(), st.floats(width=32)),
    (pa.float16(), st.floats(width=16)),
    (pa.bool_(), st.booleans()),
    (pa.string(), _TEXTS),
    (pa.large_string(), _TEXTS),
    (pa.dictionary(pa.int32(), pa.string()), _TEXTS),
    (pa.null(), st.none()),
    (pa.decimal128(20, 2), st.decimals(-3, 3, places=2)),
    (pa.date32(), st.dates()),
    (pa.date64(), st.dates()),
    (pa.timestamp("us"), _MOMENTS),
    (pa.timestamp("ms", "UTC"), st.integers(-(10**13), 10**13)),
    (pa.timestamp("s", "Europe/Vienna"), st.integers(-(10**10), 10**10)),
    (pa.timestamp("ns"), st.integers(0, 3).map(lambda n: n * 1_000)),
    (pa.time32("s"), st.integers(0, 86_399)),
    (pa.time64("us"), st.times()),
    (pa.duration("us"), st.timedeltas(dt.timedelta(-9), dt.timedelta(9))),
    (pa.binary(), st.binary(max_size=3)),
    (pa.list_(pa.float64()), st.lists(_FLOATS, max_size=2)),
    (pa.struct({"a": pa.int64()}), st.fixed_dictionaries({"a": st.integers(0, 2)})),
]


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Draw a table of up to three columns of any type, perhaps in several chunks."""
    rows = draw(st.integers(0, 6))
    columns = {}
    for name in draw(st.lists(st.sampled_from("abcd"), max_size=3, unique=True)):
        kind, values = draw(st.sampled_from(_COLUMNS))
        nullable = st.one_of(st.none(), values)
        columns[name] = pa.array(draw(st.lists(nullable, min_size=rows, max_size=rows)), kind)
    table = pa.table(columns)
    cut = draw(st.integers(0, rows))
    if not columns or cut in (0, rows):
        return table
    return pa.concat_tables([table.slice(0, cut), table.slice(cut)])


@settings(max_examples=300, deadline=None)
@given(schema=_SCHEMAS, table=tables())
def test_any_table_is_judged_as_its_rows_are(
    tmp_path_factory: pytest.TempPathFactory, schema: object, table: pa.Table
) -> None:
    """Verdict by verdict, word by word."""
    agreed(contract(tmp_path_factory.getbasetemp(), schema), table)
