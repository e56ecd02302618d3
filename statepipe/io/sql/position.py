"""
Where a read of a database stands.

    Asked               what is read, in what order; its `identity` tells one from another
    Position.start      before the first row
    Position.resumed    behind the row whose key a cursor keeps
    cursor              as plain data

A key is kept as the database gave it. A datetime without an offset, which no checkpoint
holds, is kept as one of UTC beside the word for it.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from statepipe.errors import Fatal
from statepipe.io.changed import changed

Key = tuple[Any, ...]

#: Of each of `Asked.compared`: how its values are compared, as `order` has it.
Order = tuple[str, ...]

_KEPT: Final = {"of", "after", "until"}
_NAIVE: Final = "no offset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """
    What is read.

    Attributes:
        table: A table, "orders" or "sales.orders"; None if a query is read.
        query: A SELECT; None if a table is read.
        key: The columns of the key.
        watermark: The column that `task.watermark` is a value of; None if all is read.
        params: Values of the query's parameters.
        assume_utc: Whether datetimes without an offset are UTC; otherwise they are refused.
    """

    table: str | None
    query: str | None
    key: tuple[str, ...]
    watermark: str | None
    params: Mapping[str, Any]
    assume_utc: bool

    @property
    def compared(self) -> list[tuple[str, str]]:
        """Setting and name of each column whose values are compared with a position's."""
        names = [("key", name) for name in self.key]
        return names if self.watermark is None else [*names, ("watermark", self.watermark)]

    @property
    def identity(self) -> str:
        """A digest of everything that a position is a position in."""
        params = sorted((name, repr(value)) for name, value in self.params.items())
        facts = [self.table, self.query, self.key, self.watermark, params]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """
    A place between two rows.

    Attributes:
        of: The identity of what is read.
        after: The key of the last row that was read; None before the first.
        until: The highest value of the watermark's column when the read began; None if
            there was none, or there is no watermark.
        order: How `Asked.compared` were compared; None if that is not known, as in cursors
            of versions that did not keep it.
    """

    of: str
    after: Key | None = None
    until: Any = None
    order: Order | None = None

    @classmethod
    def start(cls, asked: Asked) -> Self:
        """Return the position before the first row."""
        return cls(of=asked.identity)

    @classmethod
    def resumed(cls, cursor: Any, asked: Asked) -> Self:  # noqa: ANN401  (whatever the checkpoint holds)
        """
        Return the position that `cursor` keeps.

        Raises:
            Fatal: If it was not made by a read of the same thing.
        """
        if type(cursor) is not dict or set(cursor) - {"order"} != _KEPT:
            raise _foreign("the cursor was not made by read_sql")
        if cursor["of"] != asked.identity:
            raise _foreign("the table, the query, its parameters or the key have changed")
        after = tuple(map(_unpacked, cursor["after"]))
        order = tuple(cursor.get("order") or ()) or None
        return cls(of=cursor["of"], after=after, until=_unpacked(cursor["until"]), order=order)

    def past(self, key: Key) -> Self:
        """Return the position behind the row with `key`."""
        return replace(self, after=key)

    def up_to(self, value: Any) -> Self:  # noqa: ANN401  (whatever the column holds)
        """Return the position, of a read that ends with `value` of the watermark's column."""
        return replace(self, until=value)

    def cursor(self) -> dict[str, Any]:
        """Return the position as plain data."""
        assert self.after is not None, "nothing was read"
        return {
            "of": self.of,
            "after": [*map(_packed, self.after)],
            "until": _packed(self.until),
            "order": None if self.order is None else [*self.order],
        }


def _packed(value: Any) -> Any:  # noqa: ANN401  (whatever a column holds)
    if type(value) is dt.datetime and value.utcoffset() is None:
        return (_NAIVE, value.replace(tzinfo=dt.UTC))
    return value


def _unpacked(value: Any) -> Any:  # noqa: ANN401  (as above)
    return value[1].replace(tzinfo=None) if type(value) is tuple else value


def _foreign(reason: str) -> Fatal:
    return changed("this", reason, remedy="Read the same again and resume")
