"""
How late each airline was on one day, from three sources of which one may be missing.

    carriers    the airlines' names, by code
    weather     the hours of the day at New York's airports; a day may have none
    report      one row an airline, joined of all three
    ask         a letter to whoever approves the report, beside the others

The departures are read by `flights.extract_day`.
"""

import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from statepipe import Batch, Fatal, Task, read_csv

DATA = Path(__file__).parent / "data"
LETTERS = Path(__file__).parent.parent / "letters"


def carriers(_task: Task) -> dict[str, str]:
    """Return the airlines' names, by code."""
    with (DATA / "airlines.csv").open(encoding="utf-8", newline="") as file:
        return {row["carrier"]: row["name"] for row in csv.DictReader(file)}


def weather(task: Task) -> Iterator[Batch]:
    """
    Read the hours of the day that the parameter `day` says.

    Raises:
        Fatal: If there are none.
    """
    day = task.params["day"]
    numbers = {"month": int, "day": int, "visib": float}
    found = task.cursor is not None
    for batch in read_csv(task, DATA / "weather.csv", types=numbers, nulls=("NA",)):
        hours = [
            each for each in batch.records if (each["month"], each["day"]) == (day.month, day.day)
        ]
        if hours:
            found = True
            yield Batch(hours, cursor=batch.cursor)
    if not found:
        raise Fatal(f"there is no weather of {day}")


def report(task: Task) -> Iterator[Batch]:
    """Yield one row an airline: flights, cancelled ones, the mean delay, the worst visibility."""
    if task.cursor:
        return
    flights: defaultdict[str, list[int | None]] = defaultdict(list)
    for batch in task.batches("departures"):
        for each in batch.records:
            flights[each["carrier"]].append(each["dep_delay"])
    visible = [
        each["visib"]
        for batch in ([] if "weather" in task.skipped else task.batches("weather"))
        for each in batch.records
        if each["visib"] is not None
    ]
    names = task.results["carriers"]
    yield Batch(
        [
            _row(task, code, names[code], delays, visible)
            for code, delays in sorted(flights.items())
        ],
        cursor=1,
    )


def _row(
    task: Task, code: str, name: str, delays: list[int | None], visible: list[float]
) -> dict[str, Any]:
    known = [each for each in delays if each is not None]
    return {
        "day": task.params["day"].isoformat(),
        "carrier": code,
        "name": name,
        "flights": len(delays),
        "cancelled": len(delays) - len(known),
        "mean_delay_min": round(sum(known) / len(known), 1) if known else None,
        "worst_visibility_miles": min(visible, default=None),
    }


def ask(task: Task) -> dict[str, Any]:
    """Leave a letter for whoever approves the report; written again, it is the same letter."""
    rows = [each for batch in task.batches("report") for each in batch.records]
    owner = task.instance.partition("/")[0]
    letter = {
        "to": "whoever approves reports",
        "text": f"{len(rows)} airlines on {task.params['day']}: may the report be published?",
        "type": f"statepipe signal {owner} approved",
    }
    LETTERS.mkdir(exist_ok=True)
    (LETTERS / f"{owner}.json").write_text(json.dumps(letter, indent=1), encoding="utf-8")
    return {"airlines": len(rows)}
