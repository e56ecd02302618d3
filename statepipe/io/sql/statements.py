"""
What is asked of a database, as SQLAlchemy builds it: names quoted, values bound.

    Statements.columns     no row, to learn the columns
    Statements.compared    no row of the columns that are compared with a position
    Statements.collations  how many words each of them tells apart, in SQLite
    Statements.types       type and collation of each, in PostgreSQL
    Statements.highest     how far the watermark's column has come
    Statements.nulls       a row that has no key
    Statements.behind      the rows behind a key, in its order

Comparing and ordering are left to the database, in one statement, on the column itself: so
both go by the column's own collation, and by its index. Values are bound without a type, and
become what the column is; a cast would compare citext as text, and in another order.
"""

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    bindparam,
    column,
    false,
    func,
    literal_column,
    or_,
    quoted_name,
    select,
    table,
    text,
    true,
    tuple_,
)
from sqlalchemy.types import NullType

from statepipe.errors import Fatal
from statepipe.io.sql.position import Asked, Key, Position
from statepipe.io.table import quote
from statepipe.suggest import did_you_mean

#: Of the column that says whether a row is the one before the page. A query that has one of
#: this name is read all the same: it is the last that counts.
_SAME: Final = "_statepipe_same"

#: Of these SQLite's collations tell apart 5 (BINARY), 4 (NOCASE) or 3 (RTRIM).
_WORDS: Final = ("a", "A", "b", "b ", "b  ")

#: A column's collation by name, and by what an upgrade of the server may alter in it: its
#: library's version, and of the default one the database's locale. Of a type that has none,
#: PostgreSQL must not be asked for it. Its catalog calls the locale otherwise in each version.
_COLLATED: Final = """
CASE WHEN (SELECT typcollation <> 0 FROM pg_type WHERE oid = pg_typeof({0})::oid) THEN (
    SELECT concat(
        ' COLLATE ', pg_collation_for({0}), ' (',
        concat_ws(
            ' ',
            coalesce(to_jsonb(c)->>'colllocale', to_jsonb(c)->>'colliculocale', c.collcollate),
            CASE WHEN c.collprovider = 'd' THEN
                coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale', d.datcollate)
            END,
            pg_collation_actual_version(c.oid)
        ), ')'
    )
    FROM pg_collation c, pg_database d
    WHERE c.oid = pg_collation_for({0})::regcollation AND d.datname = current_database()
) END
"""


class Statements:
    """
    The statements of one read.

    Args:
        asked: What is read.
        since: Only rows whose watermark's column is above it are; None for all.

    Raises:
        Fatal: If the query and its parameters do not fit.
    """

    def __init__(self, asked: Asked, since: Any) -> None:  # noqa: ANN401  (any plain value)
        self._source = _source(asked).alias("q")
        self._compared = [name for _, name in asked.compared]
        self._key = [_column(name) for name in asked.key]
        self._watermark = None if asked.watermark is None else _column(asked.watermark)
        self._since = since

    def columns(self) -> Select[Any]:
        """Return what gives no row."""
        return select(text("*")).select_from(self._source).where(false())

    def compared(self) -> Select[Any]:
        """Return what gives no row, and the columns that are compared with a position."""
        return select(*self._columns()).select_from(self._source).where(false())

    def collations(self) -> list[Select[Any]]:
        """Return, for each of them, what counts the words that SQLite tells apart."""
        none = [select(part).select_from(self._source).where(false()) for part in self._columns()]
        words: list[Select[Any]] = [select(literal_column(f"'{word}'")) for word in _WORDS]
        # A compound select compares in the collation of its first one's column.
        return [select(func.count()).select_from(one.union(*words).subquery()) for one in none]

    def types(self) -> Select[Any]:
        """Return what gives, for each of them, its type and collation in PostgreSQL."""
        # A row without one: types are known where there is no value.
        one = select(literal_column("1")).subquery("one")
        asked: list[ColumnElement[Any]] = []
        for number in range(len(self._compared)):
            of = f"k.k{number}"
            asked += [
                literal_column(f"pg_typeof({of})::text"),
                literal_column(_COLLATED.format(of)),
            ]
        return select(*asked).select_from(one.outerjoin(self.compared().subquery("k"), true()))

    def _columns(self) -> list[ColumnElement[Any]]:
        # With its table: SQLite takes a quoted name that is no column for text.
        return [
            literal_column(f"q.{quote(name)}").label(f"k{number}")
            for number, name in enumerate(self._compared)
        ]

    def highest(self) -> Select[Any]:
        """Return what gives the highest value of the watermark's column, NULL if there is none."""
        assert self._watermark is not None
        return select(func.max(self._watermark)).select_from(self._source).where(*self._newer())

    def nulls(self, at: Position) -> Select[Any]:
        """Return what gives a row, of those that are read from `at`, whose key has a NULL."""
        lacking = or_(*(part.is_(None) for part in self._key))
        wanted = [lacking, *self._newer(), *self._until(at)]
        return select(literal_column("1")).select_from(self._source).where(*wanted).limit(1)

    def behind(self, at: Position) -> Select[Any]:
        """
        Return what gives the rows behind `at`, and a last column if one was read before.

        The row at the position itself comes as well, if it is still there: that column is
        true for it, and for every other that the database takes for equal.
        """
        wanted = [*self._newer(), *self._until(at)]
        if at.after is None:
            asked = select(text("*")).select_from(self._source).where(*wanted)
        else:
            key, after = self._place(at.after)
            same = (key == after).label(_SAME)
            asked = select(text("q.*"), same).select_from(self._source)
            asked = asked.where(key >= after, *wanted)
        return asked.order_by(*self._key)

    def _place(self, after: Key) -> tuple[Any, Any]:
        values = [_value(f"after_{number}", value) for number, value in enumerate(after)]
        if len(values) == 1:
            return self._key[0], values[0]
        return tuple_(*self._key), tuple_(*values)

    def _newer(self) -> list[ColumnElement[bool]]:
        if self._watermark is None or self._since is None:
            return []
        return [self._watermark > _value("since", self._since)]

    def _until(self, at: Position) -> list[ColumnElement[bool]]:
        # What is updated during the read moves above it, and is the next instance's: the
        # watermark never gets ahead of a row that was not read.
        if self._watermark is None:
            return []
        if at.until is None:
            return [self._watermark.is_(None)]
        until = self._watermark <= _value("until", at.until)
        return [until if self._since is not None else or_(until, self._watermark.is_(None))]


def _source(asked: Asked) -> FromClause:
    if asked.query is not None:
        # Whatever ends the query, a comment too, ends before the bracket that we close.
        query = text(asked.query.rstrip().rstrip(";") + "\n")
        known = set(query.compile().params)
        for name in {*asked.params} ^ known:
            if name in known:
                raise Fatal(f"params: the query has :{name}, and it is not given; nothing was read")
            hint = did_you_mean(name, known)
            raise Fatal(f"params: there is no :{name} in the query{hint}; nothing was read")
        values = [bindparam(*each, type_=NullType()) for each in asked.params.items()]
        return query.bindparams(*values).columns().subquery()
    assert asked.table is not None
    schema, dot, name = asked.table.partition(".")
    if not dot:
        return table(quoted_name(schema, quote=True))
    return table(quoted_name(name, quote=True), schema=quoted_name(schema, quote=True))


def _column(name: str) -> ColumnElement[Any]:
    return column(quoted_name(name, quote=True), NullType())


def _value(name: str, value: Any) -> ColumnElement[Any]:  # noqa: ANN401  (whatever a column holds)
    return bindparam(f"_statepipe_{name}", value, type_=NullType())
