"""
Values of PostgreSQL that Python has none for: infinity, years before Christ, 24 o'clock.

    refuse_misread   from now on intervals are refused that psycopg would read as others
    spell_out   from now on what is refused comes as something that is made of its text

psycopg refuses them, and says neither in which column nor in which row they are; but intervals
it counts in days of 32 bits, so 178 million years come round to 1.5 million, and an
infinite one it takes for none.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import psycopg
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format

#: Years, months, days and the time of an interval, as the style `postgres` writes them.
_INTERVAL: Final = re.compile(
    rb"(?:([-+]?\d+) years? ?)?(?:([-+]?\d+) mons? ?)?(?:([-+]?\d+) days? ?)?(?:[-+]?\d+:[\d:.]+)?"
)

#: More do not fit where psycopg counts them.
_DAYS_MAX: Final = 2**31 - 1

_TYPES: Final = ("date", "time", "timetz", "timestamp", "timestamptz", "interval")


def refuse_misread(connection: Any) -> None:  # noqa: ANN401  (whatever SQLAlchemy has)
    """Let intervals that psycopg would read as others be refused, as those that it cannot read."""
    assert isinstance(connection, psycopg.Connection)
    oid = connection.adapters.types["interval"].oid
    known = connection.adapters.get_loader(oid, Format.TEXT)
    assert known is not None
    connection.adapters.register_loader(oid, _exact(known))


def spell_out(connection: Any, make: Callable[[str], Any]) -> None:  # noqa: ANN401  (whatever SQLAlchemy has)
    """Let values that cannot be read come as what `make` makes of their text."""
    assert isinstance(connection, psycopg.Connection)
    for name in _TYPES:
        oid = connection.adapters.types[name].oid
        known = connection.adapters.get_loader(oid, Format.TEXT)
        assert known is not None
        connection.adapters.register_loader(oid, _sparing(known, make))


def _sparing(known: Callable[..., Any], make: Callable[[str], Any]) -> type[Loader]:
    class Sparing(Loader):
        """Reads as psycopg does, and spares us its refusals."""

        def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
            super().__init__(oid, context)
            self._known = known(oid, context)

        def load(self, data: Buffer) -> Any:  # noqa: ANN401  (a value of any type)
            text = bytes(data)
            try:
                return self._known.load(text)
            except psycopg.DataError:
                return make(text.decode())

    return Sparing


def _exact(known: Callable[..., Any]) -> type[Loader]:
    class Exact(Loader):
        """Reads intervals as psycopg does, where it reads them right."""

        def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
            super().__init__(oid, context)
            self._known = known(oid, context)

        def load(self, data: Buffer) -> Any:  # noqa: ANN401  (a timedelta, by a loader of any type)
            text = bytes(data)
            parts = _INTERVAL.fullmatch(text)
            if parts is not None:
                years, months, days = (int(part or 0) for part in parts.groups())
                if abs(365 * years + 30 * months + days) <= _DAYS_MAX:
                    return self._known.load(text)
            raise psycopg.DataError(f"can't parse interval {text.decode()!r}")

    return Exact
