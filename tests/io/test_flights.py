"""The flights machine's own code and contract, over the week it ships with."""

import importlib.util
import logging
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import statepipe
from statepipe.batch import Batch
from statepipe.io.contract import Contract
from statepipe.model import Task

MACHINES = Path(statepipe.__file__).parent.parent / "machines"


@pytest.fixture(scope="module")
def flights() -> ModuleType:
    """Return machines/flights.py, loaded as the engine does: by its path."""
    spec = importlib.util.spec_from_file_location("flights", MACHINES / "flights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def task() -> Task:
    """Return the task of a source with no parameters."""
    return Task(
        instance="i",
        machine="flights",
        state="extracting",
        name="extracting",
        attempt=1,
        params={},
        cursor=None,
        watermark=None,
        results={},
        batch_size=1_000,
        log=logging.getLogger("flights"),
        idempotency_key="k",
        _beat=lambda: None,
        _is_cancelled=lambda: False,
    )


@pytest.fixture
def week(flights: ModuleType, task: Task) -> list[dict[str, Any]]:
    """Return the raw records of the week."""
    records = [record for batch in flights.extract(task) for record in batch.records]
    assert task._rejects == []
    return records


@pytest.fixture
def departed(week: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records the contract lets through."""
    clean: list[dict[str, Any]] = (
        Contract.load(MACHINES / "contracts/flight.json").judge(week).clean
    )
    return clean


def test_exactly_the_cancelled_flights_break_the_contract(week: list[dict[str, Any]]) -> None:
    """929 of 6,104 have no departure time; the reason says what that means."""
    judged = Contract.load(MACHINES / "contracts/flight.json").judge(week)

    assert (len(week), len(judged.clean), len(judged.rejects)) == (6_104, 5_175, 929)
    assert all(entry["record"]["dep_time"] is None for entry in judged.rejects)
    assert Counter((e["path"], e["rule"], e["message"]) for e in judged.rejects) == {
        (
            "/dep_time",
            "type",
            (
                'null is not of type "integer"'
                " (departure, local clock, hhmm; none means the flight was cancelled)"
            ),
        ): 929
    }


def test_a_departure_without_delay_breaks_the_contract(departed: list[dict[str, Any]]) -> None:
    """The transform needs it, so the contract asks for it."""
    contract = Contract.load(MACHINES / "contracts/flight.json")

    judged = contract.judge([departed[0] | {"dep_delay": None}])

    assert [entry["path"] for entry in judged.rejects] == ["/dep_delay"]


def test_every_flight_has_its_own_id_cancelled_ones_included(
    flights: ModuleType, week: list[dict[str, Any]]
) -> None:
    """The warehouse's key: one row a flight, for any subset of the week."""
    raw = Counter(
        (r["year"], r["month"], r["day"], r["carrier"], r["flight"], r["origin"]) for r in week
    )
    ids = {flights.enrich(r)["id"] for r in week if r["dep_time"] is not None}

    assert max(raw.values()) == 1
    assert len(ids) == 5_175
    assert "2013-02-04-US-1117-EWR" in ids


def test_transform_keeps_every_flight_of_the_week(
    flights: ModuleType, task: Task, departed: list[dict[str, Any]]
) -> None:
    """No departure contradicts itself, every airline is known, and the times are UTC."""
    batch = flights.transform(task, Batch(departed))

    assert (len(batch.records), task._rejects) == (5_175, [])
    assert batch.records[0] == {
        "id": "2013-02-04-US-1117-EWR",
        "carrier": "US",
        "airline": "US Airways Inc.",
        "flight": 1117,
        "tailnum": "N557UW",
        "origin": "EWR",
        "dest": "CLT",
        "scheduled_at": "2013-02-04T10:00:00Z",
        "departed_at": "2013-02-04T09:53:00Z",
        "dep_delay_minutes": -7,
        "scheduled_arrival_local": "06:48",
        "arrived_local": "06:41",
        "arr_delay_minutes": -7,
        "air_time_minutes": 82,
        "distance_miles": 529,
        "speed_mph": 387.1,
    }


def test_midnight_belongs_to_the_next_day(
    flights: ModuleType, departed: list[dict[str, Any]]
) -> None:
    """The clock says 2400 on the 7th; in UTC that is five in the morning of the 8th."""
    late = next(r for r in departed if r["dep_time"] == 2400 and r["flight"] == 727)

    flight = flights.enrich(late)

    assert (flight["scheduled_at"], flight["departed_at"]) == (
        "2013-02-08T04:59:00Z",
        "2013-02-08T05:00:00Z",
    )
    assert flights.clock(2400) == "00:00"


def test_a_flight_that_never_landed_has_no_speed(
    flights: ModuleType, departed: list[dict[str, Any]]
) -> None:
    """16 flights departed without a time in the air; they are loaded with nulls."""
    speeds = [flights.enrich(record)["speed_mph"] for record in departed]

    assert speeds.count(None) == 16
    assert 70 < min(s for s in speeds if s) < max(s for s in speeds if s) < 700


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"dep_delay": 1}, "dep_time is not"), ({"carrier": "ZZ"}, "carrier ZZ is not in")],
)
def test_a_record_that_contradicts_itself_is_put_aside(
    flights: ModuleType,
    task: Task,
    departed: list[dict[str, Any]],
    change: dict[str, Any],
    reason: str,
) -> None:
    """It keeps its reason, and the others go on."""
    wrong = departed[0] | change

    batch = flights.transform(task, Batch([wrong, departed[1]]))

    assert [flight["id"] for flight in batch.records] == ["2013-02-04-UA-650-LGA"]
    assert task._rejects[0][0] == wrong
    assert reason in task._rejects[0][1]
