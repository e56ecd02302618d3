"""
In what order a database puts what a read compares: types and collations of its columns.

    order_of            of each column what decides how its values are compared
    schema_of           a number that changes before SQLite's order can
    refuse_reordered    it is not what it was

Behind a key are other rows when its column is compared otherwise: 10 is above 2 as a number
and below it as text. So it is asked in each transaction that reads, and kept in the cursor; of
the watermark's column as well, which is compared with where the read ends.

What the database makes of the column is asked, not what was declared: so it is known of views
and queries as well. Types that are compared alike go by one name.
"""

from typing import Any, Final

from sqlalchemy import Connection, Select

from statepipe.io.sql.position import Asked, Order
from statepipe.io.sql.records import reordered
from statepipe.io.sql.statements import Statements

#: What SQLite calls the affinities of columns that it makes from a query.
_AFFINITIES: Final = {"INT": "INTEGER", "NUM": "NUMERIC", "": "untyped"}

#: How many of the statement's words SQLite's collations tell apart.
_COLLATIONS: Final = {5: "", 4: " COLLATE NOCASE", 3: " COLLATE RTRIM"}

_ALIKE: Final = {
    "smallint": "INTEGER",
    "integer": "INTEGER",
    "bigint": "INTEGER",
    "character varying": "TEXT",
    "text": "TEXT",
}


def order_of(connection: Connection, statements: Statements) -> Order | None:
    """Return how the columns are compared; None if the database cannot be asked."""
    if connection.dialect.name == "sqlite":
        return _sqlite_s(connection, statements)
    if connection.dialect.name == "postgresql":
        row = connection.execute(statements.types()).one()
        pairs = zip(row[::2], row[1::2], strict=True)
        return tuple(f"{_ALIKE.get(kind, kind)}{collation or ''}" for kind, collation in pairs)
    return None


def schema_of(connection: Connection) -> int | None:
    """Return a number that is another one once a SQLite file's tables were altered."""
    if connection.dialect.name != "sqlite":
        return None
    found: int = connection.exec_driver_sql("PRAGMA main.schema_version").scalar_one()
    return found


def refuse_reordered(asked: Asked, was: Order, now: Order) -> None:
    """
    Refuse a key, or a watermark, of whose columns one is compared otherwise than before.

    Raises:
        Fatal: With the column.
    """
    for (setting, name), old, new in zip(asked.compared, was, now, strict=True):
        if old != new:
            raise reordered(setting, name, old, new)


def _sqlite_s(connection: Connection, statements: Statements) -> Order:
    """
    Return it of SQLite.

    A table that is made from a query has its columns' affinities. It is a temporary one,
    which goes with the transaction, and the file that is read is not written.
    """
    compiled = statements.compared().compile(connection)
    asked = tuple(compiled.params[name] for name in compiled.positiontup or ())
    connection.exec_driver_sql(f"CREATE TEMP TABLE _statepipe_compared AS {compiled}", asked)
    made = connection.exec_driver_sql("PRAGMA temp.table_info(_statepipe_compared)").all()
    affinities: list[str] = [column[2] for column in made]
    return tuple(
        _AFFINITIES.get(affinity, affinity) + _collation(connection, words)
        for affinity, words in zip(affinities, statements.collations(), strict=True)
    )


def _collation(connection: Connection, words: Select[Any]) -> str:
    return _COLLATIONS[connection.execute(words).scalar_one()]
