"""
What becomes of many departures at once: the same lines for every entrant that works on Arrow.

    blocks      the file as Arrow tables
    enriched    departures -> rows of the warehouse: a key, UTC moments, speed, the carrier's name
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from departed import NUMBERS, airlines

#: The reader reads 32 blocks ahead of who is slow, and nothing bounds that but their size.
_BLOCK_BYTES_MAX, _ROW_BYTES = 1 << 19, 92


def blocks(path: str, rows: int) -> Iterator[Any]:
    """Yield the departures of the file at `path` as tables of `rows` or a few thousand more."""
    gathered: list[Any] = []
    with pyarrow.csv.open_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(block_size=min(_BLOCK_BYTES_MAX, rows * _ROW_BYTES)),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={**dict.fromkeys(NUMBERS, pa.int64()), "time_hour": pa.string()},
            null_values=["NA"],
            strings_can_be_null=True,
        ),
    ) as read:
        for block in read:
            gathered.append(block)
            if sum(map(len, gathered)) >= rows:
                yield pa.Table.from_batches(gathered)
                gathered = []
    if gathered:
        yield pa.Table.from_batches(gathered)


def enriched(flights: Any, names: str) -> Any:  # noqa: ANN401  (pyarrow has no types)
    """Return `flights` as rows of the warehouse; `names` is the file of the carriers."""
    codes, carriers = _carriers(names)
    hour = pc.strptime(flights["time_hour"], format="%Y-%m-%dT%H:%M:%SZ", unit="s").cast(pa.int64())
    scheduled = pc.add(hour, pc.multiply(flights["minute"], 60))
    departed = pc.add(scheduled, pc.multiply(flights["dep_delay"], 60))
    minutes = flights["air_time"].cast(pa.float64())
    miles = pc.multiply(flights["distance"], 60).cast(pa.float64())
    columns = {
        "id": _ids(flights),
        "carrier": flights["carrier"],
        "airline": carriers.take(pc.index_in(flights["carrier"], value_set=codes)),
        "flight": flights["flight"],
        "tailnum": flights["tailnum"],
        "origin": flights["origin"],
        "dest": flights["dest"],
        "scheduled_at": _iso(scheduled),
        "departed_at": _iso(departed),
        "dep_delay_minutes": flights["dep_delay"],
        "arr_delay_minutes": flights["arr_delay"],
        "air_time_minutes": flights["air_time"],
        "distance_miles": flights["distance"],
        "speed_mph": pc.divide(miles, minutes),
    }
    return pa.table(columns)


def _ids(flights: Any) -> Any:  # noqa: ANN401  (pyarrow has no types)
    month, day = (
        pc.utf8_lpad(flights[name].cast(pa.string()), width=2, padding="0")
        for name in ("month", "day")
    )
    year, flight = (flights[name].cast(pa.string()) for name in ("year", "flight"))
    parts = (year, month, day, flights["carrier"], flight, flights["origin"])
    return pc.binary_join_element_wise(*parts, "-")


def _iso(seconds: Any) -> Any:  # noqa: ANN401  (pyarrow has no types)
    # A cast takes a thirtieth of the time of strftime.
    spoken = pc.replace_substring(seconds.cast(pa.timestamp("s")).cast(pa.string()), " ", "T")
    return pc.binary_join_element_wise(spoken, "+00:00", "")


@cache
def _carriers(path: str) -> tuple[Any, Any]:
    names = airlines(path)
    return pa.array(list(names)), pa.array(list(names.values()))
