"""
How much departs from New York's airports: counted by the hour, summed up by the day, in UTC.

    count_hour  one partition of flights_by_hour: a row an airport, also if nothing departs
    sum_day     one day of flights_daily, from what its hours have loaded
"""

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

from statepipe import Batch, Task, read_csv, read_sql

HERE = Path(__file__).parent
WAREHOUSE = f"sqlite:///{HERE.parent / 'warehouse.db'}"
AIRPORTS = ("EWR", "JFK", "LGA")

A_DAY = """
SELECT substr(hour, 1, 10) AS day, origin, count(*) AS hours, sum(scheduled) AS scheduled,
       sum(departed) AS departed
  FROM traffic_by_hour
 WHERE substr(hour, 1, 10) = :day
 GROUP BY substr(hour, 1, 10), origin
"""


def count_hour(task: Task) -> Iterator[Batch]:
    """Count the flights that were to depart in the hour that the parameter `hour` says."""
    if task.cursor is not None:  # its only batch is committed
        return
    hour = f"{task.params['hour'].astimezone(UTC):%Y-%m-%dT%H}:00:00Z"
    scheduled, departed = dict.fromkeys(AIRPORTS, 0), dict.fromkeys(AIRPORTS, 0)
    for batch in read_csv(task, HERE / "data" / "flights.csv", nulls=("NA",)):
        for flight in batch.records:
            if flight["time_hour"] == hour:
                scheduled[flight["origin"]] += 1
                departed[flight["origin"]] += flight["dep_time"] is not None
    yield Batch(
        [
            {"hour": hour, "origin": each, "scheduled": scheduled[each], "departed": departed[each]}
            for each in AIRPORTS
        ],
        cursor=hour,
    )


def sum_day(task: Task) -> Iterator[Batch]:
    """Sum up the day that the parameter `day` says."""
    day = task.params["day"].isoformat()
    yield from read_sql(task, WAREHOUSE, query=A_DAY, params={"day": day}, key="origin")
