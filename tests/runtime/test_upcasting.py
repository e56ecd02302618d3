"""Older versions of a contract: brought up to date or rejected, and none lost or mixed up."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statepipe.errors import DataError, Fatal
from statepipe.io.contract import Contract, Judged
from statepipe.runtime.tasks.upcasting import Older, Step, Versions, versions_of
from tests.runtime import newer

V1 = {
    "required": ["id", "euros"],
    "properties": {"id": {"type": "integer"}, "euros": {"type": "integer"}},
}
V2 = {
    "required": ["id", "cents", "currency"],
    "properties": {
        "id": {"type": "integer"},
        "cents": {"type": "integer", "maximum": 10_000},
        "currency": {"enum": ["EUR", "USD"]},
    },
}
V3 = {
    "required": ["id", "price"],
    "properties": {"id": {"type": "integer"}, "price": {"type": "string"}},
}


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Contract]:
    """Return the three versions, compiled."""
    folder = tmp_path_factory.mktemp("contracts")
    return {n: written(folder / f"o@{n}.json", schema) for n, schema in enumerate((V1, V2, V3), 1)}


@pytest.fixture
def two(schemas: dict[int, Contract]) -> Versions:
    """Return version 2, which accepts version 1."""
    return Versions(schemas[2], [Older(1, schemas[1], [Step("newer:from_v1", newer.from_v1)])])


def written(path: Path, schema: object) -> Contract:
    """Write and load a contract."""
    path.write_text(json.dumps(schema), encoding="utf-8")
    return Contract.load(path)


def told(judged: Judged) -> list[tuple[int, str, str, str]]:
    """Return position, rule, path and message of each reject."""
    return [(e["position"], e["rule"], e["path"], e["message"]) for e in judged.rejects]


def test_records_of_both_versions_come_out_as_the_newer_in_their_order(two: Versions) -> None:
    """Which fields they have tells which version they are."""
    records = [
        {"id": 1, "cents": 5, "currency": "USD"},
        {"id": 2, "euros": 7},
        {"euros": 8, "id": 3},
        {"id": 4, "cents": 9, "currency": "EUR"},
    ]

    judged = two.judge(records)

    assert judged.rejects == []
    assert judged.clean == [
        {"id": 1, "cents": 5, "currency": "USD"},
        {"id": 2, "cents": 700, "currency": "EUR"},
        {"id": 3, "cents": 800, "currency": "EUR"},
        {"id": 4, "cents": 9, "currency": "EUR"},
    ]


def test_a_reject_says_as_which_version_it_was_judged_and_is_kept_as_it_was(
    two: Versions,
) -> None:
    """Whatever the function did to the record it was given."""
    records = [
        {"id": 1, "euros": "x"},
        {"id": 2, "euros": 101, "tags": ["a"]},
        {"id": 3, "euros": 13},
        {"id": 4, "euros": 14},
        {"id": 5, "euros": 6},
    ]

    judged = two.judge(records)

    assert judged.clean == [{"id": 5, "cents": 600, "currency": "EUR"}]
    assert told(judged) == [
        (0, "required", "", '"cents" is a required property; "currency" is a required property'),
        (
            1,
            "maximum",
            "/cents",
            "as version 1, after newer:from_v1: 10100 is greater than the maximum of 10000",
        ),
        (2, "rejected", "", "nobody knows what it was"),
        (3, "upcast", "", "newer:from_v1 raised KeyError: 'rate'"),
    ]
    assert [each["record"] for each in judged.rejects] == [
        {"id": 1, "euros": "x"},
        {"id": 2, "euros": 101, "tags": ["a"]},
        {"id": 3, "euros": 13},
        {"id": 4, "euros": 14},
    ]


def test_an_old_version_takes_every_step_to_the_newest(schemas: dict[int, Contract]) -> None:
    """Each function knows only the next version."""
    first, second = Step("newer:from_v1", newer.from_v1), Step("newer:from_v2", newer.from_v2)
    three = Versions(
        schemas[3], [Older(2, schemas[2], [second]), Older(1, schemas[1], [first, second])]
    )

    judged = three.judge(
        [
            {"id": 1, "euros": 2},
            {"id": 2, "cents": 30, "currency": "USD"},
            {"id": 3, "price": "4 EUR"},
        ]
    )

    assert judged.clean == [
        {"id": 1, "price": "200 EUR"},
        {"id": 2, "price": "30 USD"},
        {"id": 3, "price": "4 EUR"},
    ]


def test_versions_that_look_alike_are_told_apart_by_a_const(tmp_path: Path) -> None:
    """Otherwise a record that keeps both is of the newest."""
    alike = [written(tmp_path / f"o@{n}.json", {"properties": {"v": {"const": n}}}) for n in (1, 2)]
    step = Step("m:f", lambda record: {**record, "v": 2, "n": record["n"] * 100})

    judged = Versions(alike[1], [Older(1, alike[0], [step])]).judge(
        [{"v": 1, "n": 3}, {"v": 2, "n": 3}]
    )

    assert judged.clean == [{"v": 2, "n": 300}, {"v": 2, "n": 3}]


@pytest.mark.parametrize(
    ("function", "error", "said"),
    [
        (newer.nothing, Fatal, "newer:f returned NoneType; it must return a record, a dict"),
        (newer.hang_up, ConnectionError, "gone"),
        (newer.give_up, Fatal, "the table of rates is missing"),
    ],
)
def test_what_is_not_the_records_fault_fails_the_attempt(
    schemas: dict[int, Contract],
    function: Callable[[dict[str, Any]], object],
    error: type[Exception],
    said: str,
) -> None:
    """A network that is down must not put a million records into quarantine."""
    versions = Versions(schemas[2], [Older(1, schemas[1], [Step("newer:f", function)])])

    with pytest.raises(error, match=said):
        versions.judge([{"id": 1, "euros": 2}])


def test_a_table_of_the_older_version_becomes_one_of_the_newer(two: Versions) -> None:
    """A column that stays keeps its type; one that was renamed is gone."""
    table = pa.table({"id": pa.array([1, 2], pa.int16()), "euros": pa.array([3, 200], pa.int32())})

    judged = two.judge(table)

    assert judged.clean.to_pylist() == [{"id": 1, "cents": 300, "currency": "EUR"}]
    assert judged.clean.schema.field("id").type == pa.int16()
    assert [(e["position"], e["record"]) for e in judged.rejects] == [(1, {"id": 2, "euros": 200})]


def test_a_table_of_both_versions_stays_one_table_in_its_order(tmp_path: Path) -> None:
    """What a version lacks is null in its rows, as in any table."""
    old = {"required": ["v"], "properties": {"v": {"const": 1}}}
    new = {"properties": {"v": {"const": 2}, "unit": {"type": ["string", "null"]}}}
    step = Step("m:f", lambda record: {**record, "v": 2, "unit": "kg"})
    versions = Versions(
        written(tmp_path / "o@2.json", new), [Older(1, written(tmp_path / "o@1.json", old), [step])]
    )

    judged = versions.judge(pa.table({"v": [2, 1, 3, 2, 1], "n": [1, 2, 3, 4, 5]}))

    assert judged.clean.to_pylist() == [
        {"v": 2, "n": 1, "unit": None},
        {"v": 2, "n": 2, "unit": "kg"},
        {"v": 2, "n": 4, "unit": None},
        {"v": 2, "n": 5, "unit": "kg"},
    ]
    assert [(e["position"], e["path"]) for e in judged.rejects] == [(2, "/v")]


def test_newer_records_that_fit_no_table_are_refused_whole(tmp_path: Path) -> None:
    """Guessing a type would change values silently."""
    some = [written(tmp_path / f"o@{n}.json", {"properties": {"v": {"const": n}}}) for n in (1, 2)]
    odd = Step("m:f", lambda record: {"v": 2, "x": "one" if record["n"] else 1})
    versions = Versions(some[1], [Older(1, some[0], [odd])])

    with pytest.raises(DataError, match="fit no table together"):
        versions.judge(pa.table({"v": [1, 1], "n": [0, 1]}))


def test_a_call_names_schemas_and_functions(tmp_path: Path) -> None:
    """What the loop sends is plain data; the worker finds the rest."""
    for n, schema in ((1, V1), (2, V2)):
        written(tmp_path / f"o@{n}.json", schema)
    call = {
        "machines_dir": str(tmp_path),
        "contract": str(tmp_path / "o@2.json"),
        "older": [
            {
                "version": 1,
                "contract": str(tmp_path / "o@1.json"),
                "upcast": ["tests.runtime.newer:from_v1"],
            }
        ],
    }

    assert versions_of(call).judge([{"id": 1, "euros": 2}]).clean == [
        {"id": 1, "cents": 200, "currency": "EUR"}
    ]


_RECORDS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.integers(0, 3),
            "euros": st.sampled_from([1, 13, 14, 200, "x", None]),
            "cents": st.sampled_from([1, 20_000]),
            "currency": st.sampled_from(["EUR", "GBP"]),
        },
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(records=_RECORDS)
def test_no_record_is_lost_and_each_fares_as_if_it_were_alone(
    schemas: dict[int, Contract], records: Sequence[dict[str, Any]]
) -> None:
    """Clean + rejected = read, in order, and neighbours have no say."""
    versions = Versions(schemas[2], [Older(1, schemas[1], [Step("newer:from_v1", newer.from_v1)])])
    alone = [versions.judge([dict(record)]) for record in records]

    judged = versions.judge([dict(record) for record in records])

    assert judged.clean == [record for each in alone for record in each.clean]
    assert judged.rejects == [
        {**entry, "position": at} for at, each in enumerate(alone) for entry in each.rejects
    ]
