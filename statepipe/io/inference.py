"""
The columns of a new table, told by its first batch.

    infer    one type gives a column of that type, several one that holds them all

A kind is called as PostgreSQL calls the type: bool, int8, float8, numeric, text, bytea,
date, time, timetz, timestamp, timestamptz, interval, uuid, jsonb.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from statepipe.io.fitting import Run
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


def infer(runs: Iterable[Run]) -> dict[str, str]:
    """
    Return the kind of each column of a new table for the values of `runs`.

    Several kinds of numbers give one that holds them all, several that are written as
    text give text. Anything else, and a field that is always null, gives jsonb, which
    keeps a value together with what it is.
    """
    seen: dict[str, set[str]] = {}
    for run in runs:
        for name, values in zip(run.fields, run.columns, strict=True):
            seen.setdefault(name, set()).update(_kinds(values))
    return {name: _together(kinds) for name, kinds in seen.items()}


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


def _together(kinds: set[str]) -> str:
    if len(kinds) == 1:
        (kind,) = kinds
        return kind
    if kinds == {"int8", "float8"}:
        return "float8"
    if kinds and kinds <= {"int8", "float8", "numeric"}:
        return "numeric"
    return "text" if kinds and kinds <= _TEXTUAL else "jsonb"
