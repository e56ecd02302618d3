"""
The columns of a new table, told by its first batch.

    infer     the kinds of `io.inference`, which go by PostgreSQL's names
"""

from collections.abc import Iterable
from typing import Final

from statepipe.io import inference
from statepipe.io.fitting import Run
from statepipe.io.postgres.table import Column

_SQL: Final = {"int8": "bigint", "float8": "double precision", "bool": "boolean"} | {
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "timetz": "time with time zone",
    "time": "time without time zone",
}


def infer(runs: Iterable[Run]) -> dict[str, Column]:
    """Return the columns of a new table for the values of `runs`."""
    kinds = inference.infer(runs)
    return {name: Column(kind, -1, _SQL.get(kind, kind)) for name, kind in kinds.items()}
