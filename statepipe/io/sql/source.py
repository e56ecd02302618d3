"""
The source that reads a database: batch after batch, in the order of a key.

    read_sql    rows of a table or a query, through SQLAlchemy

A cursor is the key of the last row that was read, never a count: what is inserted or deleted
before it shifts nothing, and what is read again after a crash begins right behind it. So the
key must tell rows apart. Where two rows have one key, or none, a border between two batches
could lose rows; that is looked for, and an error.

A key of text is compared by the database alone, in the collation of its column, in which it
is ordered as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from statepipe.batch import Batch
from statepipe.errors import DataError, Fatal
from statepipe.io.sql.limits import SqlLimits
from statepipe.io.sql.position import Asked, Position
from statepipe.io.sql.records import keys_of, records_of
from statepipe.model import Task

_LIMITS: Final = SqlLimits()


def read_sql(  # noqa: PLR0913  (what is read differs in all of these, and most have a default)
    task: Task,
    url: str,
    *,
    table: str | None = None,
    query: str | None = None,
    key: str | Sequence[str],
    watermark: str | None = None,
    params: Mapping[str, Any] | None = None,
    assume_utc: bool = False,
    limits: SqlLimits = _LIMITS,
) -> Iterator[Batch]:
    """
    Yield the rows of a table or a query behind `task.cursor`, `task.batch_size` at a time.

    Args:
        task: The source's task.
        url: The database's address as SQLAlchemy takes it. Its password is a reference
            ("…?password=env:NAME"), or all of it is ("env:NAME" or "file:/PATH").
        table: The table or view, "orders" or "sales.orders"; either this or `query`.
        query: A SELECT, with parameters such as `:day`. What it orders by does not count.
        key: The columns that rows are ordered by, and told apart by: unique, never NULL, and
            for tables of any size with an index.
        watermark: The column that the machine's watermark is of: of it only what is above
            `task.watermark` is read, and not above what it had when the read began.
        params: Values of the query's parameters.
        assume_utc: Datetimes without an offset are UTC. Without this they are refused,
            because no checkpoint can hold them.
        limits: How long the database may take.

    Raises:
        Unreachable: If the connection cannot be made, or is lost.
        Busy: If somebody else's lock lasts too long.
        TimeoutError: If a statement does.
        Fatal: If no retry can mend it: a password, a table or column that is not there, a key
            that is none, a value that no checkpoint holds, or a cursor of another read.
        DataError: If SQLAlchemy, or what it needs for the database, is not installed.
    """
    asked = _asked(table, query, key, watermark=watermark, params=params, assume_utc=assume_utc)
    at = Position.start(asked)
    if task.cursor is not None:
        at = Position.resumed(task.cursor, asked)
    reader = _reader().Reader(
        url, asked, since=task.watermark if watermark else None, limits=limits
    )
    with closing(reader):
        at = reader.begin(at)
        is_last = False
        while not is_last:
            task.heartbeat()
            rows, is_last = reader.page(at, rows_max=task.batch_size)
            if rows:
                keys = keys_of(rows, reader.names, asked, at.after, mixes_types=reader.mixes_types)
                records = records_of(rows, reader.names, asked, keys)
                at = at.past(keys[-1])
                yield Batch(records, cursor=at.cursor())
        reader.end(at)


def _asked(
    table: str | None,
    query: str | None,
    key: str | Sequence[str],
    *,
    watermark: str | None,
    params: Mapping[str, Any] | None,
    assume_utc: bool,
) -> Asked:
    names = (key,) if isinstance(key, str) else tuple(key)
    problem = ""
    if (table is None) == (query is None):
        problem = 'name a table or a query, one of them: table="orders"'
    elif table is not None and params:
        problem = "params belong to a query, and a table is read"
    elif not names or not all(names) or len(set(names)) < len(names):
        problem = f"key is {key!r}, not a list of different columns"
    if problem:
        raise Fatal(f"read_sql: {problem}; nothing was read")
    return Asked(
        table=table,
        query=query,
        key=names,
        watermark=watermark,
        params=dict(params or {}),
        assume_utc=assume_utc,
    )


def _reader() -> Any:  # noqa: ANN401  (a module)
    try:
        from statepipe.io.sql import reader  # noqa: PLC0415  (SQLAlchemy is optional, and 250 ms of import)
    except ImportError as error:
        if error.name != "sqlalchemy":
            raise
        raise DataError(
            "reading a database needs SQLAlchemy, which is not installed",
            meaning="nothing was read",
            next_step='pip install "statepipe[sql]"',
        ) from error
    return reader
