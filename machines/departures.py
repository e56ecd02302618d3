"""
New York's departures of 4-10 February 2013, read from a REST API.

    extract     page by page; whatever the API does, each departure comes as it is

The API is `departures_api.py`, beside this file: start it, and it says what to type.
"""

from collections.abc import Iterator

from statepipe import Batch, ByCursor, HttpLimits, Task, read_rest


def extract(task: Task) -> Iterator[Batch]:
    """Read the week's departures; its pages overlap, and the destination's key takes care of it."""
    yield from read_rest(
        task,
        task.params["url"],
        records="$.departures",
        pages=ByCursor(param="after", path="$.next"),
        total="$.total",
        auth="env:DEPARTURES_TOKEN",
        limits=HttpLimits(read_ms=1_000),  # the API is on this machine; silence is a failure
    )
