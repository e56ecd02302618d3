"""
What a record's value becomes in a column, decided for each value before any transaction.

    fit           turn a batch into rows for a table; what would be changed silently is rejected
    adapt         one value, whatever the column
    write_json    one value as JSON; is_text, shown: text that can be kept, that can be printed
    why_refused   the verdict on a row that a constraint refused

    None                     NULL
    bool                     0 or 1; rejected where it is the whole key, rule "type": it would
                             take the row of that number
    int                      INTEGER, from -2**63 to 2**63 - 1; beyond is rejected, rule "range"
    float                    REAL, infinities included; NaN is rejected, rule "nan" (SQLite would
                             store NULL); -0.0 may come back as the equal 0.0
    str                      TEXT; with a NUL character rejected, rule "nul" (SQL functions stop
                             there); with half a surrogate pair rejected, rule "unicode"
    bytes                    BLOB
    datetime, date, time     TEXT, ISO 8601
    timedelta                TEXT, ISO 8601 in seconds: "PT90061.5S", "-PT1S"
    Decimal                  TEXT, all digits kept; NaN is rejected, rule "nan"
    UUID                     TEXT
    dict, list, tuple, set   TEXT, JSON; inside it the types above that JSON lacks are the text
                             they would be here, bytes are base64, a set is sorted
    anything else            rejected, rule "type"

Then the column: SQLite converts a value to its column's affinity without a word
('5' to 5 in INTEGER, 5 to '5' in TEXT, 5.0 to 5). A value that would not come
back as it went in is rejected, rule "type"; whether it would is asked of SQLite
itself. One conversion passes: an int in a REAL column, if the float is equal.

Whole columns are judged by the set of their types first, which is what makes
loading fast; only a column in which something may be wrong is walked. A column of
Arrow says more of itself (`io.arrowcells`).
"""

import base64
import json
import math
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from statepipe.io.coded import different
from statepipe.io.fitting import (
    Cells,
    Fitted,
    Run,
    UnstorableError,
    Why,
    check_apart,
    check_fields,
    check_key,
    kept,
    split,
)
from statepipe.io.rejects import TooFine, pointer
from statepipe.io.rows import Records, Value, column_values
from statepipe.io.table import Column, Kind, Table, table_for

SqlValue = int | float | str | bytes | None

#: Asks SQLite what comes back when `column` is given a value; ValueError if it refuses.
Ask = Callable[[Column, SqlValue], SqlValue]

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_SHOWN_CHARS_MAX = 60

_NULL = type(None)
_UNCHANGED: dict[Kind, set[type]] = {
    Kind.INTEGER: {int},
    Kind.NUMERIC: {int},
    Kind.REAL: {float},
    Kind.TEXT: {str},
    Kind.BLOB: {bytes},
    Kind.ANY: {int, float, str, bytes},
}


def fit(records: Records, *, table: Table | None, key: Sequence[str], ask: Ask) -> Fitted[Column]:
    """
    Turn `records` into rows of `table`, or of a new table if it is None.

    Raises:
        DataError: If a record has a field that the table has no column for, or two fields
            would be one column.
    """
    rejects: dict[int, Why] = {}
    runs = []
    for run in split(records, rejects, values_of=lambda column: column):
        if table is not None:
            check_fields(run, table)
        cells = [
            _adapt_column(name, values, run.positions, rejects, is_key=[name] == [*key])
            for name, values in zip(run.fields, run.columns, strict=True)
        ]
        if table is not None:
            for name, column in zip(run.fields, cells, strict=True):
                _fit_column(name, column, table[name], run.positions, rejects, ask)
        columns = [column.values for column in cells]
        check_key(run, columns, key, rejects)
        runs.append(kept(run, columns, rejects))
    runs = [run for run in runs if run.rows]
    fitted = Fitted(runs, rejects, _infer(runs) if table is None else table)
    check_apart(fitted.table)
    return fitted


def adapt(value: Value) -> SqlValue:
    """
    Return what SQLite is given for `value` (the table at the top of this module).

    Raises:
        UnstorableError: If no column can hold it exactly.
    """
    try:
        writer = _WRITERS[type(value)]
    except KeyError:
        kind = type(value)
        why = f"a {kind.__module__}.{kind.__qualname__} cannot be stored"
        raise UnstorableError("type", value.why() if kind is TooFine else why) from None
    stored: SqlValue = writer(value)
    return stored


def why_refused(error: Exception) -> Why:
    """Return the verdict on a row that a constraint of the table refused with `error`."""
    name = str(getattr(error, "sqlite_errorname", "")) or type(error).__name__
    rule = name.removeprefix("SQLITE_").removeprefix("CONSTRAINT_").lower()
    # "NOT NULL constraint failed: flights.carrier" names one column; that is the path.
    _, _, where = str(error).partition("constraint failed: ")
    one = where.partition(".")[2] if "," not in where else ""
    return rule, pointer([one]) if one else "", str(error)


def _adapt_column(
    name: str,
    values: Sequence[Value],
    positions: Sequence[int],
    rejects: dict[int, Why],
    *,
    is_key: bool,
) -> Cells:
    if hasattr(values, "to_pylist"):
        # Only who has a column of Arrow has pyarrow.
        from statepipe.io.arrowcells import proved  # noqa: PLC0415  (imported when used)

        is_flag = str(getattr(values, "type", "")) == "bool"
        if not (is_key and is_flag) and (cells := proved(values)) is not None:
            return cells
        values = column_values(values)
    some = different(values)
    types = set(map(type, some))
    if _is_storable(some, types):
        return Cells(values if some is values else list(values), types)
    adapted: list[SqlValue] = []
    for position, value in zip(positions, values, strict=True):
        try:
            if is_key and type(value) is bool:
                raise UnstorableError("type", f"{value} would have the key {int(value)}")  # noqa: TRY301  (as adapt does)
            adapted.append(adapt(value))
        except UnstorableError as problem:
            rejects.setdefault(position, (problem.rule, pointer([name]), str(problem)))
            adapted.append(None)
    return Cells(adapted, set(map(type, adapted)))


def _is_storable(values: Sequence[Value], types: set[type]) -> bool:
    """Return True if every value goes to SQLite as it is; decided for the whole column."""
    if _NULL in types:
        types = types - {_NULL}
        values = [value for value in values if value is not None]
    if len(types) > 1:
        return False
    if types == {str}:
        return is_text("".join(values))
    if types == {int}:
        return bool(min(values) >= _INT_MIN and max(values) <= _INT_MAX)
    if types == {float}:
        return not any(map(math.isnan, values))
    return types <= {bytes}


def _fit_column(  # noqa: PLR0917  (one column of one run, seen from all sides)
    name: str,
    cells: Cells,
    column: Column,
    positions: Sequence[int],
    rejects: dict[int, Why],
    ask: Ask,
) -> None:
    unchanged = _UNCHANGED[column.kind]
    if column.kind is Kind.BLOB and not column.strict:
        return  # no affinity: nothing is ever converted
    if cells.types - {_NULL} <= unchanged:
        return
    for position, value in zip(positions, cells.values, strict=True):
        if value is None or type(value) in unchanged:
            continue
        try:
            stored = ask(column, value)
        except ValueError:
            problem = f"{shown(value)} does not fit its {column.kind.value} column"
        else:
            same = type(stored) is type(value) or (type(value) is int and type(stored) is float)
            if same and stored == value:
                continue
            problem = (
                f"{shown(value)} would become {shown(stored)} in its {column.kind.value} column"
            )
        rejects.setdefault(position, ("type", pointer([name]), problem))


def _infer(runs: list[Run]) -> Table:
    types: dict[str, set[type]] = {}
    for run in runs:
        for name, values in zip(run.fields, run.columns, strict=True):
            types.setdefault(name, set()).update(map(type, values))
    return table_for(types)


def _write_int(value: int) -> int:
    if not _INT_MIN <= value <= _INT_MAX:
        raise UnstorableError("range", f"{shown(value)} is beyond 64 bits")
    return value


def _write_float(value: float) -> float:
    if math.isnan(value):
        raise UnstorableError("nan", "SQLite would store NaN as NULL")
    return value


def _write_decimal(value: Decimal) -> str:
    if value.is_nan():
        raise UnstorableError("nan", "NaN is not a number that can be compared")
    return str(value)


def _write_text(value: str) -> str:
    if "\0" in value:
        raise UnstorableError("nul", f"{shown(value)} contains a NUL character")
    if not _is_unicode(value):
        raise UnstorableError("unicode", f"{shown(value)} contains half a surrogate pair")
    return value


def _write_timedelta(value: timedelta) -> str:
    sign = "-" if value < timedelta(0) else ""
    value = abs(value)
    seconds = f"{value.days * 86_400 + value.seconds}"
    fraction = f".{value.microseconds:06d}".rstrip("0") if value.microseconds else ""
    return f"{sign}PT{seconds}{fraction}S"


def write_json(value: Value) -> str:
    """
    Return `value` as JSON text, what JSON lacks as the text this module makes of it.

    Raises:
        UnstorableError: If that would lose anything.
    """
    try:
        text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        raise UnstorableError("depth", "nested too deep to be written as JSON") from None
    return _write_text(text)


def _plain(value: Value) -> Value:
    """Return `value` with everything that JSON lacks written as this module writes it."""
    kind = type(value)
    if kind is dict:
        if wrong := [k for k in value if type(k) is not str]:
            raise UnstorableError("keys", f"the key {shown(wrong[0])} inside is not text")
        return {name: _plain(item) for name, item in value.items()}
    if kind is list or kind is tuple:
        return [_plain(item) for item in value]
    if kind is set:
        return sorted(map(_plain, value), key=lambda item: json.dumps(item, sort_keys=True))
    if kind is bytes:
        return base64.b64encode(value).decode("ascii")
    if kind is float and not math.isfinite(value):
        raise UnstorableError("nan", f"{value} inside cannot be written as JSON")
    # Numbers of any size and text of any kind are fine inside JSON.
    return value if kind in {str, int, bool, float, _NULL} else adapt(value)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_text(text: str) -> bool:
    """Return True if any column for text can hold `text`: no NUL, no half of a surrogate pair."""
    return "\0" not in text and (text.isascii() or _is_unicode(text))


def shown(value: object) -> str:
    """Return `value` for a message: ASCII, short, never failing on a huge integer."""
    if type(value) is int and value.bit_length() > 512:  # noqa: PLR2004  (any bound will do)
        return f"an integer of {value.bit_length()} bits"
    text = ascii(value)
    return text if len(text) <= _SHOWN_CHARS_MAX else text[:_SHOWN_CHARS_MAX] + "…"


_WRITERS: dict[type, Callable[[Any], SqlValue]] = {
    _NULL: lambda _: None,
    bool: int,
    int: _write_int,
    float: _write_float,
    str: _write_text,
    bytes: bytes,
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: _write_timedelta,
    Decimal: _write_decimal,
    UUID: str,
    dict: write_json,
    list: write_json,
    tuple: write_json,
    set: write_json,
}
