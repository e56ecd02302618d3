"""
What becomes of one departure: the same lines for every entrant that works on dicts.

    NUMBERS     columns of the file that are whole numbers, "NA" for none
    enriched    one departure -> the row of the warehouse
    airlines    carrier code -> name
"""

import csv
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

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


def enriched(record: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Return the departure with a key, UTC moments, its speed and its carrier's name."""
    scheduled = datetime.fromisoformat(record["time_hour"]).astimezone(UTC)
    scheduled += timedelta(minutes=record["minute"])
    departed = scheduled + timedelta(minutes=record["dep_delay"])
    day = f"{record['year']}-{record['month']:02}-{record['day']:02}"
    air_time = record["air_time"]
    return {
        # A carrier uses a flight number once a day and origin.
        "id": f"{day}-{record['carrier']}-{record['flight']}-{record['origin']}",
        "carrier": record["carrier"],
        "airline": names[record["carrier"]],
        "flight": record["flight"],
        "tailnum": record["tailnum"],
        "origin": record["origin"],
        "dest": record["dest"],
        "scheduled_at": scheduled.isoformat(),
        "departed_at": departed.isoformat(),
        "dep_delay_minutes": record["dep_delay"],
        "arr_delay_minutes": record["arr_delay"],
        "air_time_minutes": air_time,
        "distance_miles": record["distance"],
        "speed_mph": record["distance"] * 60 / air_time if air_time else None,
    }


@cache
def airlines(path: str) -> dict[str, str]:
    """Return the airlines' names by carrier code, from the file at `path`."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return {row["carrier"]: row["name"] for row in csv.DictReader(file)}
