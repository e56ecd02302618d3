"""Contracts: every record is clean or rejected with its rule, its path and a reason (R7)."""

import datetime as dt
import hashlib
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statepipe.errors import DefinitionError
from statepipe.io.contract import Contract
from statepipe.io.rejects import MESSAGE_CHARS_MAX
from statepipe.model import Record

SCHEMA = {
    "description": "of the whole; never shown",
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "integer", "description": "the order's number"},
        "price": {"type": ["number", "null"], "minimum": 0},
        "at": {"type": "string", "format": "date-time"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "a/b": {"type": "string"},
    },
}


def contract(path: Path, schema: object = None) -> Contract:
    """Return a contract loaded from a file."""
    path.write_text(json.dumps(SCHEMA if schema is None else schema), encoding="utf-8")
    return Contract.load(path)


def verdicts(judge: Contract, *records: Record) -> list[tuple[int, str, str, str]]:
    """Return position, rule, path and message of each reject; check that none is lost."""
    judged = judge.judge(list(records))
    bad = {entry["position"] for entry in judged.rejects}
    assert judged.clean == [record for i, record in enumerate(records) if i not in bad]
    return [(e["position"], e["rule"], e["path"], e["message"]) for e in judged.rejects]


def test_a_reject_names_its_first_error_by_path_and_tells_all(tmp_path: Path) -> None:
    """One entry a record; the schema's own words stand beside the rule they explain."""
    judge = contract(tmp_path / "c.json")

    assert verdicts(
        judge,
        {"id": 1},
        {"id": "x"},
        {"price": 1},
        {"id": None, "price": -1},
        {"id": 2, "tags": ["a", 5], "a/b": 1},
    ) == [
        (1, "type", "/id", '"x" is not of type "integer" (the order\'s number)'),
        (2, "required", "", '"id" is a required property'),
        (
            3,
            "type",
            "/id",
            (
                '/id: null is not of type "integer" (the order\'s number);'
                " /price: -1 is less than the minimum of 0"
            ),
        ),
        (
            4,
            "type",
            "/a~1b",
            '/a~1b: 1 is not of type "string"; /tags/1: 5 is not of type "string"',
        ),
    ]


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("sNaN"), [1, {"x": math.nan}]]
)
@pytest.mark.parametrize("field", ["price", "free"])
def test_nan_and_infinities_never_pass(tmp_path: Path, field: str, value: object) -> None:
    """A validator takes them for null, which a nullable field would let through."""
    judge = contract(tmp_path / "c.json")

    assert [v[1] for v in verdicts(judge, {"id": 1, field: value})] == ["finite"]


@pytest.mark.parametrize(
    ("field", "value", "passes"),
    [
        ("at", dt.datetime(2013, 2, 4, tzinfo=dt.UTC), True),
        ("at", dt.date(2013, 2, 4), False),
        ("at", "yesterday", False),
        ("price", Decimal("1.50"), True),
        ("price", Decimal("-1.50"), False),
        ("price", Decimal("1E+400"), True),
        ("price", dt.timedelta(seconds=5), True),
        ("price", dt.timedelta(seconds=-5), False),
        ("price", True, False),
        ("price", 2**200, True),
        ("a/b", UUID(int=1), True),
        ("a/b", b"\xff", True),
        ("tags", ("a", "b"), True),
        ("tags", {"a"}, True),
        ("tags", {1}, False),
        ("id", 1.0, True),
    ],
    ids=repr,
)
def test_values_json_lacks_are_seen_through_a_view(
    tmp_path: Path, field: str, value: object, *, passes: bool
) -> None:
    """The table in the module's docstring; the record that passes is the one that came."""
    record = {"id": 1, field: value}

    judged = contract(tmp_path / "c.json").judge([record])

    assert [clean is record for clean in judged.clean] == [True] * passes
    assert len(judged.rejects) == (not passes)


@pytest.mark.parametrize(
    ("value", "rule"),
    [({1: "x"}, "keys"), (object(), "type"), ([bytearray()], "type"), (1j, "type")],
    ids=["key", "object", "bytearray", "complex"],
)
def test_what_no_view_shows_is_rejected(tmp_path: Path, value: object, rule: str) -> None:
    """A value nobody can judge is not clean."""
    assert [v[1:3] for v in verdicts(contract(tmp_path / "c.json"), {"id": 1, "x": value})] == [
        (rule, "/x/0" if type(value) is list else "/x")
    ]


def test_a_message_is_bounded(tmp_path: Path) -> None:
    """A record may break a thousand rules with a megabyte each."""
    schema = {"additionalProperties": {"type": "null"}}
    record = {f"field-{n}": "x" * 10_000 for n in range(1_000)}

    ((_, _, _, message),) = verdicts(contract(tmp_path / "c.json", schema), record)

    assert len(message) == MESSAGE_CHARS_MAX


def test_half_a_surrogate_pair_is_rejected_not_raised(tmp_path: Path) -> None:
    """The validator cannot say what is wrong with it; we can."""
    schema = {"properties": {"a": {"type": "integer"}}}

    assert verdicts(contract(tmp_path / "c.json", schema), {"a": "\ud800"}) == [
        (0, "unicode", "", "holds half a surrogate pair")
    ]


def test_a_table_stays_a_table(tmp_path: Path) -> None:
    """Slices become rows to be judged; what is clean was never a dict."""
    table = pa.table({"id": [*range(5_000), None], "price": [1.0] * 4_999 + [-1.0, 1.0]})

    judged = contract(tmp_path / "c.json").judge(table)

    assert isinstance(judged.clean, pa.Table)
    assert judged.clean.equals(table.slice(0, 4_999))
    assert [(e["position"], e["path"], e["record"]) for e in judged.rejects] == [
        (4_999, "/price", {"id": 4_999, "price": -1.0}),
        (5_000, "/id", {"id": None, "price": 1.0}),
    ]


def test_a_rejected_row_of_a_table_can_be_kept(tmp_path: Path) -> None:
    """A table holds datetimes without offset, quarantine cannot: they become text."""
    table = pa.table({"id": ["x"], "at": [dt.datetime(2013, 2, 4)]})  # noqa: DTZ001  (that is the point)

    judged = contract(tmp_path / "c.json").judge(table)

    assert judged.clean.num_rows == 0
    assert judged.rejects[0]["record"] == {"id": "x", "at": "2013-02-04T00:00:00"}


def test_what_is_finer_than_microseconds_is_rejected_alone(tmp_path: Path) -> None:
    """A table that counts nanoseconds is judged like any other, and quarantine says which."""
    kind = pa.timestamp("ns", "UTC")
    table = pa.table({"at": pa.array([1_000, 1_001, None], pa.int64()).cast(kind)})

    judged = contract(tmp_path / "c.json", {"properties": {"at": {}}}).judge(table)

    assert judged.clean == table.take([0, 2])
    (entry,) = judged.rejects
    assert (entry["position"], entry["rule"], entry["path"]) == (1, "type", "/at")
    assert entry["record"] == {"at": "1970-01-01T00:00:00.000001001+00:00"}
    assert "finer than microseconds" in entry["message"]


def test_a_clean_batch_is_handed_back_untouched(tmp_path: Path) -> None:
    """No copy is made where nothing is wrong."""
    records = [{"id": 1}]

    assert contract(tmp_path / "c.json").judge(records).clean is records


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    """A definition's digest covers its contracts through this."""
    judge = contract(tmp_path / "c.json")

    assert judge.digest == hashlib.sha256((tmp_path / "c.json").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON"),
        ("\ud800", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"type": "nope"}', "is not a valid JSON Schema"),
        ("3", "is not a valid JSON Schema"),
        ('{"$ref": "http://example.com/x.json"}', "may not refer to http://example.com/x.json"),
        ('{"$ref": "file:///etc/hostname"}', "may not refer to file:///etc/hostname"),
        ('{"properties": {"a": {"format": "date-tiem"}}}', "Unknown format"),
        ('{"pattern": "("}', "regex"),
    ],
    ids=lambda text: text[:12].encode("ascii", "replace").decode(),
)
def test_a_wrong_contract_is_refused_with_file_and_reason(
    tmp_path: Path, text: str, reason: str
) -> None:
    """Found when the machine is checked, without asking the network."""
    path = tmp_path / "c.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))

    with pytest.raises(DefinitionError, match=reason) as refusal:
        Contract.load(path)

    assert str(path) in str(refusal.value)


def test_a_missing_contract_is_refused_by_name(tmp_path: Path) -> None:
    """So is a folder."""
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(DefinitionError, match="cannot be read"):
            Contract.load(path)


_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters()),
        st.binary(),
        st.decimals(),
        st.dates(),
        st.timedeltas(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner),
        st.dictionaries(st.one_of(st.text(max_size=2), st.integers()), inner, max_size=3),
    ),
    max_leaves=6,
)


@settings(max_examples=200)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["id", "price", "at", "tags", "z"]), _VALUES), max_size=5
    )
)
def test_any_records_are_parted_and_none_is_lost(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]]
) -> None:
    """Whatever comes, clean + rejected = read, in order, and nothing is raised."""
    path = tmp_path_factory.getbasetemp() / "any.json"
    judged = (Contract.load(path) if path.exists() else contract(path)).judge(records)

    positions = [entry["position"] for entry in judged.rejects]
    assert len(judged.clean) + len(positions) == len(records)
    assert positions == sorted(set(positions))
    assert all(entry["message"] for entry in judged.rejects)
