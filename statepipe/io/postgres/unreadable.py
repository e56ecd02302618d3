"""
Values of PostgreSQL that Python has none for: infinity, years before Christ, 24 o'clock.

    spell_out   from now on these come as something that is made of their text

psycopg refuses them, and says neither in which column nor in which row they are.
"""

from collections.abc import Callable
from typing import Any, Final

import psycopg
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format

_TYPES: Final = ("date", "time", "timetz", "timestamp", "timestamptz", "interval")


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
