"""
Where records are loaded, by the scheme of an address.

    open_destination     "sqlite:///warehouse.db" and the table, to a Destination

    sqlite:///name.db    beside the machine: relative to `base_dir`
    sqlite:////abs.db    absolute
"""

from pathlib import Path
from urllib.parse import unquote

from statepipe.errors import DefinitionError
from statepipe.io.loads import Destination, Landed, LedgerRow, LoadBatch
from statepipe.io.sqlite import SqliteDestination
from statepipe.suggest import did_you_mean

__all__ = ["Destination", "Landed", "LedgerRow", "LoadBatch", "open_destination"]

_SCHEMES = ("sqlite",)


def open_destination(
    to: str, *, base_dir: Path, table: str, key: tuple[str, ...] = ()
) -> Destination:
    """
    Return the destination `to` for `table`. Nothing is opened or made before it is used.

    Args:
        to: Its address; %-escapes in the path are decoded.
        base_dir: What a relative path is relative to.
        table: The table to load into.
        key: Columns of the key for an upsert; none to append.

    Raises:
        DefinitionError: If the address, the table or the key cannot be used.
    """
    scheme, separator, rest = to.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise DefinitionError(
            f"no destination speaks {scheme if separator else to!r}"
            f"{did_you_mean(scheme, _SCHEMES) if separator else ''}",
            meaning="nothing was loaded",
            next_step='write to = "sqlite:///warehouse.db"',
        )
    path = unquote(rest.removeprefix("/"))
    if not rest.startswith("/") or path in {"", ".", "/"} or "\0" in path or ":memory:" in path:
        raise DefinitionError(
            f"{to!r} names no file",
            meaning="nothing was loaded",
            next_step='write "sqlite:///warehouse.db", absolute "sqlite:////data/warehouse.db"',
        )
    # An absolute path wins over base_dir; that is how pathlib joins.
    return SqliteDestination(base_dir / path, table=table, key=key)
