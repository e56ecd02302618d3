"""
New York's departures of 4-10 February 2013: read, enriched, ready for a warehouse.

    extract     data/flights.csv as it is, typed; "NA" is None
    extract_day the same of one day: a partition of the machine flights_by_day
    transform   one flight a row: an id, UTC times, speed, the airline's name

What the contract lets through has departed. Times:

    scheduled_at, departed_at     UTC, "2013-02-04T10:00:00Z". New York is five hours behind
                                  all week. The clock on the wall says 2400 for midnight and
                                  forgets the day, so the departure is the schedule plus the
                                  delay, and the clock must agree with it.
    scheduled_arrival_local,      the destination's own clock, "HH:MM". The file does not
    arrived_local                 say where that is, so it is not called UTC.
"""

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from statepipe import Batch, Fatal, Task, read_csv

DATA = Path(__file__).parent / "data"

NUMBERS = (
    "year",
    "month",
    "day",
    "dep_time",
    "sched_dep_time",
    "dep_delay",
    "arr_time",
    "sched_arr_time",
    "arr_delay",
    "flight",
    "air_time",
    "distance",
    "hour",
    "minute",
)


def extract(task: Task) -> Iterator[Batch]:
    """Read the week's flights."""
    path = DATA / "flights.csv"
    yield from read_csv(task, path, types=dict.fromkeys(NUMBERS, int), nulls=("NA",))


def extract_day(task: Task) -> Iterator[Batch]:
    """
    Read the flights of the day that the parameter `day` says.

    Raises:
        Fatal: If there are none: a day without departures is a file that is not there yet.
    """
    day = task.params["day"]
    found = task.cursor is not None  # the batch that it belongs to
    for batch in extract(task):
        records = [each for each in batch.records if day == date_of(each)]
        if records:
            found = True
            yield Batch(records, cursor=batch.cursor)
    if not found:
        raise Fatal(f"flights.csv has no departures on {day}")


def date_of(record: dict[str, Any]) -> date:
    """Return the local day of the scheduled departure."""
    return date(record["year"], record["month"], record["day"])


def transform(task: Task, batch: Batch) -> Batch:
    """Turn raw records into flights; one that contradicts itself is put aside."""
    flights = []
    for record in batch.records:
        try:
            flights.append(enrich(record))
        except ValueError as contradiction:
            task.reject(record, str(contradiction))
    return Batch(flights)


def enrich(record: dict[str, Any]) -> dict[str, Any]:
    """
    Return one flight as the warehouse wants it.

    Raises:
        ValueError: If the departure and its delay disagree, or the carrier is unknown.
    """
    scheduled = datetime.fromisoformat(record["time_hour"]).astimezone(UTC)
    scheduled += timedelta(minutes=record["minute"])
    departed = scheduled + timedelta(minutes=record["dep_delay"])
    # Both clocks are New York's, so their difference is the delay, midnight or not.
    moved = clock_minutes(record["dep_time"]) - clock_minutes(record["sched_dep_time"])
    if (moved - record["dep_delay"]) % (24 * 60):
        raise ValueError("dep_time is not sched_dep_time plus dep_delay")
    carrier = record["carrier"]
    if carrier not in airlines():
        raise ValueError(f"carrier {carrier} is not in airlines.csv")
    return {
        # A carrier uses a flight number once a day and origin; the tests count them.
        "id": f"{date_of(record)}-{carrier}-{record['flight']}-{record['origin']}",
        "carrier": carrier,
        "airline": airlines()[carrier],
        "flight": record["flight"],
        "tailnum": record["tailnum"],
        "origin": record["origin"],
        "dest": record["dest"],
        "scheduled_at": iso(scheduled),
        "departed_at": iso(departed),
        "dep_delay_minutes": record["dep_delay"],
        "scheduled_arrival_local": clock(record["sched_arr_time"]),
        "arrived_local": clock(record["arr_time"]),
        "arr_delay_minutes": record["arr_delay"],
        "air_time_minutes": record["air_time"],
        "distance_miles": record["distance"],
        "speed_mph": speed_mph(record["distance"], record["air_time"]),
    }


def speed_mph(distance_miles: int, air_time_minutes: int | None) -> float | None:
    """Return the mean speed in miles an hour to one decimal, or None if it never landed."""
    return round(distance_miles * 60 / air_time_minutes, 1) if air_time_minutes else None


def clock_minutes(hhmm: int) -> int:
    """Return minutes since midnight of a clock like 517 or 2400."""
    return hhmm // 100 * 60 + hhmm % 100


def clock(hhmm: int | None) -> str | None:
    """Return a clock like 517 or 2400 as "05:17" or "00:00"."""
    return None if hhmm is None else f"{hhmm // 100 % 24:02}:{hhmm % 100:02}"


def iso(moment: datetime) -> str:
    """Return a UTC moment as "2013-02-04T10:00:00Z"."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


@cache
def airlines() -> dict[str, str]:
    """Return the airlines' names by carrier code."""
    with (DATA / "airlines.csv").open(encoding="utf-8", newline="") as file:
        return {row["carrier"]: row["name"] for row in csv.DictReader(file)}
