"""
Where records are loaded, by the scheme of an address.

    open_destination     an address and a table, to a Destination

    sqlite:///name.db    beside the machine: relative to `base_dir`
    sqlite:////abs.db    absolute
    postgresql://…       whatever libpq takes; its password is a reference
    https://host/path    records are POSTed to it
    env:NAME, file:/…    a reference to one of these, whole
"""

from pathlib import Path
from urllib.parse import unquote

from statepipe.effects import Auth, contradiction, is_http
from statepipe.errors import DataError, DefinitionError
from statepipe.io import secrets
from statepipe.io.declared import Declared
from statepipe.io.loads import Destination, Landed, LedgerRow, LoadBatch
from statepipe.io.sqlite.destination import SqliteDestination
from statepipe.suggest import did_you_mean

__all__ = ["Destination", "Landed", "LedgerRow", "LoadBatch", "open_destination"]

_POSTGRES = ("postgresql", "postgres")
_SCHEMES = ("sqlite", *_POSTGRES, "http", "https")


def open_destination(  # noqa: PLR0913  (all that a load says)
    to: str,
    *,
    base_dir: Path,
    table: str = "",
    key: tuple[str, ...] = (),
    replace: bool = False,
    declared: Declared | None = None,
    effect: str = "",
    body: str = "",
    auth: Auth = None,
) -> Destination:
    """
    Return the destination `to` for `table`. Nothing is opened or made before it is used.

    Args:
        to: Its address, or a reference to it; %-escapes are decoded.
        base_dir: What a relative path is relative to.
        table: The table to load into; "" if records are POSTed.
        key: Columns of the key for an upsert; none to append.
        replace: What is loaded takes the place of what the table has, when it is published.
        declared: What columns the table has, by contract; None for those of the first batch.
        effect: What its author declares it to be, "" for nothing.
        body: What the body of a POST is.
        auth: Credentials of a POST, by reference.

    Raises:
        DefinitionError: If the address, the table or the key cannot be used, they contradict
            each other, or a reference leads nowhere.
        DataError: If what speaks to it is not installed.
    """
    # What a reference leads to may hold a password, so errors call it by the reference.
    is_secret = secrets.is_reference(to)
    address = secrets.resolve(to) if is_secret else to
    scheme, separator, rest = address.partition("://")
    if not separator or scheme not in _SCHEMES:
        what = f"what {to} leads to" if is_secret else repr(to.partition(":")[0])
        raise DefinitionError(
            f"no destination speaks {what}"
            f"{did_you_mean(scheme, _SCHEMES) if separator and not is_secret else ''}",
            meaning="nothing was loaded",
            next_step='write to = "sqlite:///warehouse.db", "postgresql://user@host/database",'
            ' or "https://host/path"',
        )
    wrong = contradiction(
        address, table=table, replaces=replace, effect=effect, body=body, auth=auth
    )
    if wrong is not None:
        raise DefinitionError(
            f"{to}: {wrong.message}", meaning="nothing was loaded", next_step=wrong.next_step
        )
    if is_http(address):
        return _open_http(address, name=to, key=key, body=body, auth=auth)
    if scheme in _POSTGRES:
        return _open_postgres(
            address, name=to, table=table, key=key, replace=replace, declared=declared
        )
    path = unquote(rest.removeprefix("/"))
    if not rest.startswith("/") or path in {"", ".", "/"} or "\0" in path or ":memory:" in path:
        raise DefinitionError(
            f"{to!r} names no file",
            meaning="nothing was loaded",
            next_step='write "sqlite:///warehouse.db", absolute "sqlite:////data/warehouse.db"',
        )
    # An absolute path wins over base_dir; that is how pathlib joins.
    return SqliteDestination(
        base_dir / path, table=table, key=key, replace=replace, declared=declared
    )


def _open_http(
    address: str, *, name: str, key: tuple[str, ...], body: str, auth: Auth
) -> Destination:
    try:
        # httpx2 is optional, and takes 100 ms to import.
        from statepipe.io.rest.destination import HttpDestination  # noqa: PLC0415
    except ImportError as error:
        raise DataError(
            f"{name} needs httpx2, which cannot be imported: {error}",
            meaning="nothing was loaded",
            next_step='pip install "statepipe[http]"',
        ) from error
    return HttpDestination(address, name=name, key=key, body=body, auth=auth)


def _open_postgres(
    address: str,
    *,
    name: str,
    table: str,
    key: tuple[str, ...],
    replace: bool,
    declared: Declared | None,
) -> Destination:
    try:
        # psycopg is optional, and takes 150 ms to import.
        from statepipe.io.postgres.destination import PostgresDestination  # noqa: PLC0415
    except ImportError as error:
        raise DataError(
            f"{name} needs psycopg, which cannot be imported: {error}",
            meaning="nothing was loaded",
            next_step='pip install "statepipe[postgres]"',
        ) from error
    return PostgresDestination(
        address, name=name, table=table, key=key, replace=replace, declared=declared
    )
