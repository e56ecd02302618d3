"""
Rows as records, column by column: what a checkpoint can hold, and what a key can be.

    check_names    every column has a name of its own; the key and the watermark are among them
    records_of     rows as dicts
    keys_of        their keys, none of which is doubtful
    reordered      the error that values have another order than before
    Unreadable     a value that Python has none for, by its text

    comes as                                     goes on
    None, bool, int, float, str, bytes, Decimal, as it is
    UUID, date, time, timedelta
    datetime with an offset                      as it is
    datetime without one                         refused; as UTC with `assume_utc`
    list, dict (an array, JSON)                  the same for what is inside
    anything else (a range, an address)          refused
    Unreadable (infinity, a year before Christ)  refused, with its row
"""

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final, NamedTuple
from uuid import UUID

from statepipe.errors import Fatal
from statepipe.io.marks import is_nan
from statepipe.io.sql.position import Asked, Key
from statepipe.io.table import quote
from statepipe.model import Record
from statepipe.suggest import did_you_mean

Row = Sequence[Any]

_NULL: Final = type(None)

_PLAIN: Final = frozenset(
    {_NULL, bool, int, float, str, bytes, Decimal, UUID, dt.date, dt.time, dt.timedelta}
)

#: Whatever of these a database gives, it finds again. Not a float: a `real` of PostgreSQL
#: does not equal what it is given back, and NaN equals nothing. Not an interval, of which
#: months are lost.
_KEYS: Final = frozenset({bool, int, str, bytes, Decimal, UUID, dt.date, dt.datetime})

#: What SQLite calls the second column of a query that is called like the first.
_SECOND: Final = re.compile(r"(.+):[1-9][0-9]*", re.DOTALL)


class Unreadable(NamedTuple):
    """A value of the database that Python has none for, such as the date infinity."""

    text: str

    def __str__(self) -> str:
        return f"has {self.text!r}, for which Python has no value,"


def check_names(
    names: Sequence[str], asked: Asked, *, renames: bool, has_begun: bool = False
) -> None:
    """
    Refuse columns that cannot be told apart, and a key or a watermark that is none of them.

    Args:
        names: The columns' names.
        asked: What is read.
        renames: True if the database gives a second column of a name another one.
        has_begun: True if there were batches before, of which the columns were not these.

    Raises:
        Fatal: With the name.
    """
    known = set(names)
    read = "batches read before are safe" if has_begun else "nothing was read"
    seconds = (_SECOND.fullmatch(name) for name in names)
    twice = [found[1] for found in seconds if renames and found and found[1] in known]
    twice += [name for name in names if names.count(name) > 1]
    if twice:
        raise Fatal(
            f"two columns are called {twice[0]!r}; {read}. Name one of them otherwise"
            " in the query: SELECT … AS another_name"
        )
    for setting, name in asked.compared:
        if name not in known:
            remedy = "Name one that is read; a query must select it"
            if has_begun:
                remedy = "Restore it and resume, or rewind to the state that reads it"
            hint = did_you_mean(name, names)
            raise Fatal(f"{setting}: there is no column {name!r}{hint}; {read}. {remedy}")


def records_of(
    rows: Sequence[Row], names: Sequence[str], asked: Asked, keys: Sequence[Key]
) -> list[Record]:
    """
    Return `rows`, which have these `keys`, as records.

    Raises:
        Fatal: If one holds what no checkpoint can, with its column.
    """
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
    odd = [at for at, values in enumerate(columns) if not set(map(type, values)) <= _PLAIN]
    for at in odd:
        values = zip(columns[at], keys, strict=True)
        columns[at] = [_plain(value, names[at], asked, key) for value, key in values]
    plain = zip(*columns, strict=True) if odd else rows
    return [dict(zip(names, row, strict=True)) for row in plain]


def keys_of(
    rows: Sequence[Row],
    names: Sequence[str],
    asked: Asked,
    after: Key | None,
    *,
    mixes_types: bool = False,
) -> list[Key]:
    """
    Return the keys of `rows`, which follow the row with the key `after`.

    Args:
        rows: At least one.
        names: Their columns.
        asked: What is read.
        after: The key of the row before; None if there was none.
        mixes_types: True if a column of the database may have values of several types.

    Raises:
        Fatal: If one is NULL, of a type that is no key, of another type than `after`, or
            there twice.
    """
    columns = []
    for number, name in enumerate(asked.key):
        at = names.index(name)
        values = [row[at] for row in rows]
        if problem := _key_problem(values):
            raise Fatal(f"key: column {name!r} {problem}")
        if after is not None and not mixes_types and type(after[number]) is not type(values[0]):
            raise reordered("key", name, type(after[number]).__name__, type(values[0]).__name__)
        columns.append(values)
    keys = list(zip(*columns, strict=True))
    following = keys if after is None else [after, *keys]
    if len(set(following)) < len(following):
        # As they are ordered by the key, equal ones are neighbours.
        double = next((one for one, other in pairwise(following) if one == other), following[0])
        raise not_unique(asked.key, double)
    return keys


def reordered(setting: str, name: str, was: str, now: str) -> Fatal:
    """Return the error that the column of a setting is compared otherwise than before."""
    return Fatal(
        f"{setting}: column {name!r} was {was} and is {now}; batches read before are safe. As it is"
        " compared now, rows that were not read would be passed over. Restore it and resume, or"
        " rewind to the state that reads it, to read it from the start"
    )


def not_unique(key: Iterable[str], double: Key) -> Fatal:
    """Return the error for a key that two rows have."""
    return Fatal(
        f"key: {', '.join(key)} is not unique: two rows have {double!r}. Rows between two batches"
        " would be lost, so no further one was read. Add columns until a row has a key of its own"
    )


def null_key(key: Iterable[str]) -> Fatal:
    """Return the error for rows whose key is NULL."""
    return Fatal(
        f"key: {', '.join(key)} is NULL in some row, which therefore has no place in the order."
        " Name columns that are never NULL, or leave such rows out by a query"
    )


def _key_problem(values: Sequence[Any]) -> str:
    kinds = set(map(type, values))
    if _NULL in kinds:
        return "is NULL in some row. Name columns that are never NULL, or leave them out by a query"
    if Unreadable in kinds:
        odd = next(value for value in values if type(value) is Unreadable)
        return f"{odd} in some row. Leave such rows out by a query"
    if wrong := kinds - _KEYS:
        return (
            f"is of type {wrong.pop().__name__}, by which rows are not found again for sure."
            " Name another one, or cast it in a query"
        )
    return "is NaN in some row" if Decimal in kinds and any(map(is_nan, values)) else ""


def _plain(value: Any, name: str, asked: Asked, key: Key) -> Any:  # noqa: ANN401  (whatever came)
    """Return a value of the row with `key` as a checkpoint holds it."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dt.datetime:
        if value.utcoffset() is not None:
            return value
        if asked.assume_utc:
            return value.replace(tzinfo=dt.UTC)
        raise Fatal(
            f"column {name!r} has datetimes without an offset from UTC, which no checkpoint holds:"
            f" {value.isoformat()}. Say assume_utc=True if they are UTC; otherwise cast them in a"
            " query"
        )
    if kind is list:
        return [_plain(item, name, asked, key) for item in value]
    if kind is dict:
        return {field: _plain(item, name, asked, key) for field, item in value.items()}
    if kind is memoryview or kind is bytearray:
        return bytes(value)
    if kind is Unreadable:
        own = ", ".join(map("{} = {!r}".format, asked.key, key))
        quoted = quote(name)
        raise Fatal(
            f"column {name!r} {value} in the row with {own}; batches read before are safe. Cast it"
            f" in a query (SELECT {quoted}::text AS {quoted}), or leave such rows out by one"
        )
    raise Fatal(
        f"column {name!r} has values of type {kind.__module__}.{kind.__qualname__}, which no"
        " checkpoint holds. Cast it to text in a query, or leave it out"
    )
