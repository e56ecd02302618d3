"""
Where records are loaded, by the scheme of an address.

    open_destination     an address and a table, to a Destination
    check_address        what can be told of an address without opening or importing anything
    refuse_store         the checkpoint store is no destination
    lacking              a library that it needs and that is not installed here
    import_library       what opening it will import

    sqlite:///name.db    beside the machine: relative to `base_dir`
    sqlite:////abs.db    absolute
    duckdb:///name.db    as for SQLite
    parquet:///folder    as for SQLite; each table is a folder in it, each batch a file
    jsonl:///folder      as for Parquet; "?compression=…" for both
    postgresql://…       whatever libpq takes; its password is a reference
    https://host/path    records are POSTed to it
    env:NAME, file:/…    a reference to one of these, whole
"""

from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from statepipe.effects import Auth, contradiction, is_http
from statepipe.errors import DataError, DefinitionError
from statepipe.io import secrets
from statepipe.io.declared import Declared
from statepipe.io.loads import Destination, Landed, LedgerRow, LoadBatch
from statepipe.io.sqlite.destination import SqliteDestination
from statepipe.suggest import did_you_mean

__all__ = [
    "Destination",
    "Landed",
    "LedgerRow",
    "LoadBatch",
    "check_address",
    "import_library",
    "lacking",
    "open_destination",
    "refuse_store",
]

_POSTGRES: Final = ("postgresql", "postgres")

#: What may be said behind the folder, and how.
_COMPRESSIONS: Final = {
    "parquet": ("snappy", "zstd", "gzip", "none"),
    "jsonl": ("none", "gzip", "zstd"),
}
_FOLDERS: Final = tuple(_COMPRESSIONS)
_HTTP: Final = ("http", "https")
_SCHEMES: Final = ("sqlite", "duckdb", *_FOLDERS, *_POSTGRES, *_HTTP)


class _Speaker(NamedTuple):
    """
    Who speaks to a destination, and what of it is optional.

    Attributes:
        module: Ours, imported when it is used.
        libraries: What that needs.
        extra: What installs them.
    """

    module: str
    libraries: tuple[str, ...]
    extra: str


_SPEAKERS: Final = {
    "duckdb": _Speaker("statepipe.io.duckdb.destination", ("duckdb", "pyarrow"), "duckdb"),
    "parquet": _Speaker("statepipe.io.folders.parquet", ("pyarrow",), "arrow"),
    **dict.fromkeys(
        _POSTGRES, _Speaker("statepipe.io.postgres.destination", ("psycopg",), "postgres")
    ),
    **dict.fromkeys(_HTTP, _Speaker("statepipe.io.rest.destination", ("httpx2",), "http")),
}


class _Table(NamedTuple):
    """How a table of a destination is loaded; as `open_destination` takes it."""

    table: str
    key: tuple[str, ...]
    replace: bool
    declared: Declared | None


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
    address = secrets.resolve(to) if secrets.is_reference(to) else to
    scheme, rest = _parts(address, name=to)
    wrong = contradiction(
        address, table=table, replaces=replace, effect=effect, body=body, auth=auth
    )
    if wrong is not None:
        raise DefinitionError(
            f"{to}: {wrong.message}", meaning="nothing was loaded", next_step=wrong.next_step
        )
    if is_http(address):
        return _needing(scheme, to, lambda: _http(address, to, key, body, auth))
    how = _Table(table, key, replace, declared)
    if scheme in _POSTGRES:
        return _needing(scheme, to, lambda: _postgres(address, to, how))
    if scheme in _FOLDERS:
        path, compression = _folder(scheme, rest, name=to)
        root = base_dir / path
        return _needing(scheme, to, lambda: _files(scheme, root, compression, how))
    # An absolute path wins over base_dir; that is how pathlib joins.
    file = base_dir / _path(scheme, rest, name=to)
    if scheme == "duckdb":
        return _needing(scheme, to, lambda: _duckdb(file, how))
    return SqliteDestination(file, **how._asdict())


def check_address(to: str, *, key: tuple[str, ...] = (), adds: bool | None = None) -> None:
    """
    Refuse an address that no destination could be opened by; a reference is not followed.

    Args:
        to: The address.
        key: Columns of the key.
        adds: Does a table that lacks columns of the contract get them? None without one.

    Raises:
        DefinitionError: With the reason.
    """
    if secrets.is_reference(to):
        return
    scheme, rest = _parts(to, name=to)
    if scheme in _FOLDERS:
        _folder(scheme, rest, name=to)
        _check_files(scheme, key=key, adds=adds)
    elif scheme not in {*_POSTGRES, *_HTTP}:
        _path(scheme, rest, name=to)


def refuse_store(to: str, *, base_dir: Path, store: Path) -> None:
    """
    Refuse an address that names the checkpoint store; a reference is not followed.

    Args:
        to: The address, of which `check_address` thinks nothing wrong.
        base_dir: What a relative path is relative to.
        store: The file of the store.

    Raises:
        DefinitionError: It does.
    """
    scheme, _, rest = to.partition("://")
    if scheme not in {"sqlite", "duckdb"}:
        return
    if (base_dir / _path(scheme, rest, name=to)).resolve() == store.resolve():
        raise DefinitionError(
            f"{to} is the checkpoint store: a load would write among its own tables",
            meaning="nothing was loaded",
            next_step=f'name another file: to = "{scheme}:///warehouse.db"',
        )


def lacking(to: str) -> tuple[str, str] | None:
    """Return a library that `to` needs and that is not here, and its extra; imports nothing."""
    if (speaker := _SPEAKERS.get(to.partition("://")[0])) is None:
        return None
    missing = (each for each in speaker.libraries if find_spec(each) is None)
    return next(((library, speaker.extra) for library in missing), None)


def import_library(to: str) -> None:
    """
    Import what opening `to` will import; whatever is wrong is for the one who opens it to say.

    A secret in a file is not read: it may be one that can be read once.
    """
    if to.startswith("file:"):
        return
    with suppress(ImportError, DefinitionError):
        address = secrets.resolve(to) if secrets.is_reference(to) else to
        scheme, _ = _parts(address, name=to)
        if scheme in _SPEAKERS:
            import_module(_SPEAKERS[scheme].module)


def _parts(address: str, *, name: str) -> tuple[str, str]:
    """Return the scheme and what is behind it."""
    scheme, separator, rest = address.partition("://")
    if separator and scheme in _SCHEMES:
        return scheme, rest
    is_secret = name != address
    what = f"what {name} leads to" if is_secret else repr(name.partition(":")[0])
    raise DefinitionError(
        f"no destination speaks {what}"
        f"{did_you_mean(scheme, _SCHEMES) if separator and not is_secret else ''}",
        meaning="nothing was loaded",
        next_step='write to = "sqlite:///warehouse.db", "duckdb:///warehouse.duckdb",'
        ' "parquet:///lake", "jsonl:///lake", "postgresql://user@host/database",'
        ' or "https://host/path"',
    )


def _path(scheme: str, rest: str, *, name: str) -> str:
    # No one reads a query, and "x.db?mode=ro" would be the name of another file.
    if "?" in rest:
        raise DefinitionError(
            f"{name!r} has a query behind a ?, and {scheme} takes none",
            meaning="nothing was loaded",
            next_step="leave the ? and what follows it out; a ? in the name of the file is %3F",
        )
    path = unquote(rest.removeprefix("/"))
    if not rest.startswith("/") or path in {"", ".", "/"} or "\0" in path or ":memory:" in path:
        example = "lake" if scheme in _FOLDERS else "warehouse.db"
        raise DefinitionError(
            f"{name!r} names no {'folder' if scheme in _FOLDERS else 'file'}",
            meaning="nothing was loaded",
            next_step=f'write "{scheme}:///{example}", absolute "{scheme}:////data/{example}"',
        )
    return path


def _folder(scheme: str, rest: str, *, name: str) -> tuple[str, str]:
    """Return the path of a folder and the compression of its files."""
    where, _, query = rest.partition("?")
    said = dict(parse_qsl(query, keep_blank_values=True))
    known = _COMPRESSIONS[scheme]
    compression = said.pop("compression", known[0])
    if said or compression not in known:
        odd = next(iter(said), compression)
        raise DefinitionError(
            f"{name!r} says {odd!a}, which {scheme} files have not"
            f"{did_you_mean(odd, ['compression'] if said else known)}",
            meaning="nothing was loaded",
            next_step=f"write ?compression= and one of {', '.join(known)}",
        )
    return _path(scheme, where, name=name), compression


def _needing(scheme: str, name: str, make: Callable[[], Destination]) -> Destination:
    """Return what `make` returns; what it imports may be optional, and is by nobody else."""
    if (speaker := _SPEAKERS.get(scheme)) is None:
        return make()
    try:
        return make()
    except ImportError as error:
        raise DataError(
            f"{name} needs {speaker.libraries[0]}, which cannot be imported: {error}",
            meaning="nothing was loaded",
            next_step=f'pip install "statepipe[{speaker.extra}]"',
        ) from error


def _http(address: str, name: str, key: tuple[str, ...], body: str, auth: Auth) -> Destination:
    # 100 ms of import.
    from statepipe.io.rest.destination import HttpDestination  # noqa: PLC0415  (imported when used)

    return HttpDestination(address, name=name, key=key, body=body, auth=auth)


def _postgres(address: str, name: str, how: _Table) -> Destination:
    # 150 ms of import.
    from statepipe.io.postgres.destination import PostgresDestination  # noqa: PLC0415  (imported when used)

    return PostgresDestination(address, name=name, **how._asdict())


def _duckdb(path: Path, how: _Table) -> Destination:
    # 100 ms of import.
    from statepipe.io.duckdb.destination import DuckdbDestination  # noqa: PLC0415  (imported when used)

    return DuckdbDestination(path, **how._asdict())


def _files(scheme: str, root: Path, compression: str, how: _Table) -> Destination:
    from statepipe.io.folders.destination import FolderDestination  # noqa: PLC0415  (imported when used)

    table, key, replace, declared = how
    _check_files(scheme, key=key, adds=declared.adds if declared else None)
    if scheme == "jsonl":
        from statepipe.io.folders.jsonl import JsonlFormat  # noqa: PLC0415  (imported when used)

        lines = JsonlFormat(compression)
        return FolderDestination(root, format=lines, table=table, key=key, replace=replace)
    # 100 ms of import.
    from statepipe.io.folders.parquet import ParquetFormat  # noqa: PLC0415  (imported when used)

    parquet = ParquetFormat(compression, table=table, declared=declared)
    return FolderDestination(root, format=parquet, table=table, key=key, replace=replace)


def _check_files(scheme: str, *, key: tuple[str, ...], adds: bool | None) -> None:
    """Refuse what rows in files cannot do; `adds` is None without a contract."""
    problem = ""
    if key:
        problem = f"cannot be upserted into by {', '.join(key)}"
        next_step = 'remove key, or write mode = "replace" without one; a database can'
    elif adds is not None and scheme == "jsonl":
        problem = "have no columns that a contract could say"
        next_step = "remove contract from the load; a state of its own judges records by it"
    elif adds:
        problem = "get no columns, once they are written"
        next_step = 'remove columns = "add"; a new version of the table can be another table'
    if problem:
        raise DefinitionError(
            f"{scheme} files {problem}", meaning="nothing was loaded", next_step=next_step
        )
