"""
What tests of the SQL source share: where the databases are, and ways of reading them.

    url_of      the address of a warehouse, for SQLAlchemy
    reader_of   `read_sql` of it, for `tests.io.reading`
    rows_of     all rows of an undisturbed read
"""

from collections.abc import Iterator
from typing import Any

from statepipe.batch import Batch
from statepipe.io.sql.source import read_sql
from statepipe.model import Record, Task
from tests.io.postgres.warehouse import PostgresWarehouse
from tests.io.reading import Reader, read, task
from tests.io.sqlite_warehouse import SqliteWarehouse
from tests.io.warehouse import Warehouse


def url_of(warehouse: Warehouse) -> str:
    """Return its address; the one of PostgreSQL needs no password."""
    if isinstance(warehouse, PostgresWarehouse):
        return warehouse.cluster.socket(options=f"-csearch_path={warehouse.schema}")
    assert isinstance(warehouse, SqliteWarehouse)
    return f"sqlite:///{warehouse.path}"


def reader_of(warehouse: Warehouse, **asked: Any) -> Reader:  # noqa: ANN401  (of read_sql)
    """Return what reads the table `t` by its key `id`, unless `asked` says otherwise."""
    if "query" not in asked:
        asked.setdefault("table", "t")
    asked.setdefault("key", "id")

    def reader(given: Task) -> Iterator[Batch]:
        yield from read_sql(given, url_of(warehouse), **asked)

    return reader


def rows_of(warehouse: Warehouse, *, batch_size: int = 2, **asked: Any) -> list[Record]:  # noqa: ANN401  (whatever is passed on)
    """Return the rows of an undisturbed read."""
    records, rejects = read(reader_of(warehouse, **asked), batch_size=batch_size)
    assert rejects == []
    return records


def ids_of(batches: Iterator[Batch]) -> list[Any]:
    """Return the ids in what is left of a read."""
    return [record["id"] for batch in batches for record in batch.records]


def started(warehouse: Warehouse, *, batch_size: int = 2, **asked: Any) -> Iterator[Batch]:  # noqa: ANN401  (whatever is passed on)
    """Return a read that has not begun."""
    return reader_of(warehouse, **asked)(task(batch_size=batch_size))
