"""
What every destination does, with a ledger or without one.

One without is held to it together with a receiver that honours idempotency keys: then its
effect, too, is exactly once.
"""

import datetime as dt
import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest

from statepipe.errors import Busy
from statepipe.io.blocks import Blocks, Columns
from statepipe.io.coded import Coded
from statepipe.io.destinations import Landed
from tests.io.ends import End
from tests.io.warehouse import ROWS, Crash, Faults, batch, rejects_of

LOADED = [(1, "a"), (2, "b"), (3, "c")]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_load_killed_at_any_step_arrives_once(end: End, *, after: bool) -> None:
    """Kill it before or after its 1st step, its 2nd, and so on; then load again."""
    for at in itertools.count(int(after), end.stride):
        faults = Faults(at=at, after=after, error=Crash())
        try:
            end.destination(faults=faults).load(batch())
        except Crash:
            faults.die()
        else:
            break

        with closing(end.destination()) as target:
            again = target.load(batch(epoch=2))

        assert (again.records, again.rejects) == (3, [])
        assert end.rows() == LOADED
        end.empty()
    assert faults.statements[-1] == end.last_step
    assert at < len(faults.statements) + end.stride, "the kills left steps out"


def test_a_batch_that_is_there_is_answered_the_same_and_arrives_once(end: End) -> None:
    """Rejects included: clean and rejected stay what was read."""
    rows = [*ROWS, {"id": 4, "name": "\ud800"}]
    first = end.destination().load(batch(rows))
    again = end.destination().load(batch(rows, epoch=3))

    assert (first.records, first.rejects) == (again.records, again.rejects)
    assert list(rejects_of(first)) == [(3, "unicode", "/name")]
    assert end.rows() == LOADED


@pytest.mark.parametrize(
    "other",
    [
        {"store_id": "store-2"},
        {"instance": "i-2"},
        {"generation": 2},
        {"state": "loading-2"},
        {"visit": 2},
        {"number": 1},
    ],
    ids=str,
)
def test_every_part_of_the_identity_counts(end: End, other: dict[str, Any]) -> None:
    """Batches that differ in one part of their identity are two batches."""
    target = end.destination()
    target.load(batch())

    assert target.load(batch(**other)) == Landed(3, [], already=False)
    assert end.rows() == sorted(LOADED * 2)


def test_a_rewound_load_is_a_load_of_its_own(end: End) -> None:
    """With a key it takes the place of what the generation before had loaded."""
    target = end.destination(key=("id",))
    target.load(batch())

    target.load(batch([row | {"name": "new"} for row in ROWS], generation=2, epoch=2, digest=b"2"))

    assert end.rows() == [(1, "new"), (2, "new"), (3, "new")]


def test_records_with_one_key_count_in_their_order(end: End) -> None:
    """What the last record says of a field wins, whether it comes in one batch or in two."""
    target = end.destination(key=("id",))
    target.load(batch())

    twice = [{"id": 1, "name": "x"}, {"id": 2}, {"id": 1, "name": "y"}, {"id": 1}]
    answer = target.load(batch(twice, number=1))

    assert answer == Landed(4, [], already=False)
    assert end.rows() == [(1, "y"), (2, "b"), (3, "c")]


def test_a_record_without_a_whole_key_is_rejected_by_field(end: End) -> None:
    """It could neither replace a row nor be replaced; the others are loaded."""
    answer = end.destination(key=("id",)).load(
        batch([{"id": 1, "name": "a"}, {"id": None, "name": "b"}, {"name": "c"}, {}])
    )

    assert answer.records == 1
    assert list(rejects_of(answer)) == [(1, "key", "/id"), (2, "key", "/id"), (3, "empty", "")]
    assert [entry["message"] for entry in answer.rejects[:2]] == [
        "the key is null",
        "the key is missing",
    ]
    assert end.rows() == [(1, "a")]


def test_a_value_of_an_unknown_type_costs_its_record_only(end: End) -> None:
    """With field, type and reason in quarantine."""
    answer = end.destination().load(batch([*ROWS, {"id": 4, "name": object()}]))

    (entry,) = answer.rejects
    assert (entry["position"], entry["rule"], entry["path"]) == (3, "type", "/name")
    assert "object" in entry["message"]
    assert end.rows() == LOADED


def test_an_empty_batch_is_loaded_like_any_other(end: End) -> None:
    """A mapped batch of which nothing was left."""
    target = end.destination()

    assert [target.load(batch([]))[:2], target.load(batch([]))[:2]] == [(0, []), (0, [])]
    assert end.rows() == []


def test_a_columnar_table_arrives_as_records(end: End) -> None:
    """By columns, and never by its author's rows."""
    table = pa.table({"id": [1, 2, 3], "name": ["a", "b", "c"]})

    assert end.destination().load(batch(table)) == Landed(3, [], already=False)
    assert end.rows() == LOADED


@pytest.mark.parametrize(
    "whole",
    [
        dt.datetime(2013, 2, 4, 10),  # noqa: DTZ001  (without an offset is one of them)
        dt.datetime(2013, 2, 4, 10, tzinfo=dt.UTC),
        dt.time(10),
        dt.timedelta(hours=10),
    ],
    ids=["timestamp", "timestamptz", "time", "interval"],
)
def test_what_is_finer_than_microseconds_costs_its_record_only(
    end: End,
    whole: Any,  # noqa: ANN401  (of any of the types)
) -> None:
    """Of a table that counts nanoseconds all else arrives, as microseconds."""
    target = end.destination()
    target.load(batch([{"id": 1, "name": "a", "at": whole}]))
    us = pa.array([whole, whole, None])
    kinds = {
        "timestamp": pa.timestamp("ns", getattr(us.type, "tz", None)),
        "time64": pa.time64("ns"),
    }
    kind = kinds.get(str(us.type).partition("[")[0], pa.duration("ns"))
    counts = us.cast(kind).cast("int64").to_pylist()
    table = pa.table(
        {
            "id": [2, 3, 4],
            "name": ["b", "c", "d"],
            "at": pa.array([counts[0], counts[1] + 1, None], pa.int64()).cast(kind),
        }
    )

    answer = target.load(batch(table, number=1))

    (entry,) = answer.rejects
    assert (entry["position"], entry["rule"], entry["path"]) == (1, "type", "/at")
    assert end.rows() == [(1, "a"), (2, "b"), (4, "d")]


@pytest.mark.parametrize("key", [(), ("id",)])
def test_columns_that_say_each_value_once_arrive_as_records(end: End, key: tuple[str, ...]) -> None:
    """As a reader of files makes them, between others, with what must be rejected among them."""
    fourth = None if key else 0
    coded = Columns(
        ("id", "name"),
        [Coded([1, 2, fourth, 3], b"\0\1\2\3"), Coded(["a", "b", "c"], b"\0\1\0\2")],
    )
    wide = Columns(
        ("id", "name"),
        [
            Coded.of([*range(4, 304)], [*range(300)]),
            Coded.of(["x"], [0] * 300),
        ],
    )
    records = Blocks([coded, [{"id": 1_000, "name": "y"}], wide])
    target = end.destination(key=key)

    answer = target.load(batch(records))

    refused = [(2, "key", "/id")] if key else []
    assert (answer.records, list(rejects_of(answer))) == (305 - len(refused), refused)
    rows = [*LOADED, *((n, "x") for n in range(4, 304)), (1_000, "y")]
    assert end.rows() == (rows if key else [(0, "a"), *rows])


def test_loaders_at_the_same_time_lose_and_double_nothing(end: End) -> None:
    """Each batch is offered by two threads at once, somewhere nobody has loaded to yet."""

    def offer(number: int) -> None:
        rows = [{"id": number * 10 + i, "name": "x"} for i in range(10)]
        target = end.destination()
        while True:
            try:
                target.load(batch(rows, number=number, digest=b"%d" % number))
            except Busy:
                continue
            return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(offer, list(range(6)) * 2))

    assert end.rows() == [(n, "x") for n in range(60)]
