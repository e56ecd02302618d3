"""
The columns of a new table, told by its first batch.

    infer     one type gives a column of that type, several one that holds them all
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from statepipe.io.fitting import Run
from statepipe.io.postgres.table import Column
from statepipe.io.rows import Value

_KIND_OF: Final = {
    bool: "bool",
    int: "int8",
    float: "float8",
    str: "text",
    bytes: "bytea",
    date: "date",
    timedelta: "interval",
    Decimal: "numeric",
    UUID: "uuid",
    dict: "jsonb",
    list: "jsonb",
    tuple: "jsonb",
    set: "jsonb",
}

_TEXTUAL: Final = {"text", "date", "time", "timetz", "timestamp", "timestamptz", "interval"} | {
    "uuid",
    "numeric",
}

_SQL: Final = {"int8": "bigint", "float8": "double precision", "bool": "boolean"} | {
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "timetz": "time with time zone",
    "time": "time without time zone",
}


def infer(runs: Iterable[Run]) -> dict[str, Column]:
    """
    Return the columns of a new table for the values of `runs`.

    Several kinds of numbers give one that holds them all, several that are written as
    text give text. Anything else, and a field that is always null, gives jsonb, which
    keeps a value together with what it is.
    """
    seen: dict[str, set[str]] = {}
    for run in runs:
        for name, values in zip(run.fields, run.columns, strict=True):
            seen.setdefault(name, set()).update(_kinds(values))
    return {name: _new_column(kinds) for name, kinds in seen.items()}


def _kinds(values: Sequence[Value]) -> set[str]:
    kinds = set()
    for kind in set(map(type, values)):
        if kind in {datetime, time}:
            own = [value for value in values if type(value) is kind]
            name = "timestamp" if kind is datetime else "time"
            aware = sum(value.tzinfo is not None for value in own)
            kinds |= {f"{name}tz"} if aware else set()
            kinds |= {name} if aware < len(own) else set()
        elif kind in _KIND_OF:
            kinds.add(_KIND_OF[kind])
    return kinds


def _new_column(kinds: set[str]) -> Column:
    if len(kinds) == 1:
        (name,) = kinds
    elif kinds == {"int8", "float8"}:
        name = "float8"
    elif kinds and kinds <= {"int8", "float8", "numeric"}:
        name = "numeric"
    else:
        name = "text" if kinds and kinds <= _TEXTUAL else "jsonb"
    return Column(name, -1, _SQL.get(name, name))
