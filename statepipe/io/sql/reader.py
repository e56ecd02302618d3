"""
Transactions that read, one after the other, each from behind the last row.

    Reader.begin    learn the columns, and how far the read is to go
    Reader.page     the next rows
    Reader.end      are there rows that it passed over?

A server streams the rows of one transaction through a cursor on its side, so a query is not
done again for each batch. But as long as it lasts the server keeps what others delete and
update; therefore it ends after `SqlLimits.snapshot_ms`, and the next begins behind the last
row. A SQLite file has no server: whoever reads it keeps others from writing, or their log
from being emptied, so there each batch has a transaction of its own, which has ended before
the batch is handed on.
"""

import datetime as dt
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import CursorResult
from sqlalchemy.exc import DataError, SQLAlchemyError

from statepipe.clock import Clock, SystemClock
from statepipe.errors import Fatal
from statepipe.io.fitting import UnstorableError
from statepipe.io.sql.connection import Database
from statepipe.io.sql.limits import SqlLimits
from statepipe.io.sql.order import order_of, refuse_reordered, schema_of
from statepipe.io.sql.position import Asked, Position
from statepipe.io.sql.records import Row, Unreadable, check_names, not_unique, null_key
from statepipe.io.sql.statements import Statements
from statepipe.io.values import adapt

Result = TypeVar("Result")


class Page(NamedTuple):
    """
    Rows that follow each other.

    Attributes:
        rows: Their values, in the order of `Reader.names`.
        is_last: True if no row follows.
    """

    rows: list[Row]
    is_last: bool


class Reader:
    """
    Reads one table or query.

    Args:
        url: The database's address.
        asked: What is read.
        since: Only rows whose watermark's column is above it are; None for all.
        limits: How long the database may take.
        clock: The time, for tests.

    Raises:
        Fatal, DataError: As `Database` and `Statements`.
    """

    def __init__(
        self,
        url: str,
        asked: Asked,
        *,
        since: Any,  # noqa: ANN401  (any plain value)
        limits: SqlLimits,
        clock: Clock | None = None,
    ) -> None:
        self.names: list[str] = []
        self._database = Database(url, limits=limits)
        self.mixes_types = self._database.is_file
        self._clock = clock or SystemClock()
        self._snapshot_ms = 0 if self._database.is_file else limits.snapshot_ms
        if self._database.is_file:
            asked, since = _as_sqlite_has_it(asked, since)
        elif asked.assume_utc and type(since) is dt.datetime:
            since = since.astimezone(dt.UTC).replace(tzinfo=None)
        self._asked = asked
        self._statements = Statements(asked, since)
        self._result: CursorResult[Any] | None = None
        self._schema: int | None = None  # of the SQLite file whose order was asked
        self._is_marked = False  # the result has a last column that says what was read before
        self._ends_ms: int | None = None  # of the transaction; None before its first row

    def begin(self, at: Position) -> Position:
        """
        Return where the read begins, or goes on: `at`, how far it is to go, and in what order.

        Raises:
            Fatal: If the columns are not what was asked for, the key is compared otherwise
                than before, or is NULL.
        """
        with self._database.translated():
            at = self._in_order(at)
            if at.after is None and self._asked.watermark is not None:
                at = at.up_to(self._spelled_out(self._highest))
            if at.after is None:
                self._refuse_nulls(at)
            self._database.end()
        return at

    def page(self, at: Position, *, rows_max: int) -> Page:
        """
        Return the rows behind `at`, where the last page ended.

        Raises:
            Fatal: If several rows have the key that is the position, or the key is compared
                otherwise than before.
        """
        with self._database.translated():
            page = self._spelled_out(lambda: self._fetched(at, rows_max=rows_max))
        return page._replace(rows=self._behind(page.rows, at)) if self._is_marked else page

    def end(self, at: Position) -> None:
        """
        Look whether there is a row without a key, which no page has.

        Raises:
            Fatal: If there is.
        """
        with self._database.translated():
            self._refuse_nulls(at)
            self._database.end()

    def close(self) -> None:
        """Let go of the database."""
        result, self._result = self._result, None
        if result is not None:
            with suppress(SQLAlchemyError):  # the connection may be gone
                result.close()
        self._database.close()

    def _highest(self) -> Any:  # noqa: ANN401  (whatever the column holds)
        value = self._database.begin().execute(self._statements.highest()).scalar_one()
        if type(value) is Unreadable:
            raise Fatal(
                f"watermark: column {self._asked.watermark!r} {value} as its highest; nothing was"
                " read. Leave such rows out by a query"
            )
        return value

    def _fetched(self, at: Position, *, rows_max: int) -> Page:
        """Return the rows behind `at`, with the one there if it was read before."""
        wanted = rows_max
        if self._result is None:
            self._in_order(at)
            wanted += at.after is not None
            self._result = self._database.begin().execute(
                self._statements.behind(at), execution_options={"yield_per": wanted}
            )
            names = list(self._result.keys())
            self._learn(names if at.after is None else names[:-1], at)
            self._is_marked = at.after is not None
            self._ends_ms = None
        rows: list[Row] = [tuple(row) for row in self._result.fetchmany(wanted)]
        is_last = len(rows) < wanted
        now_ms = self._clock.boot_ms()
        if self._ends_ms is None:
            self._ends_ms = now_ms + self._snapshot_ms
        if is_last or now_ms >= self._ends_ms:
            self._finish()
        return Page(rows, is_last)

    def _spelled_out(self, ask: Callable[[], Result]) -> Result:
        """
        Return what `ask` does; where a value cannot be read, asked again for its text.

        The library says neither column nor row of such a value, and refuses all that were
        fetched with it.
        """
        try:
            return ask()
        except DataError as error:
            is_server_s = getattr(error.orig, "sqlstate", None) is not None
            if is_server_s or not self._database.spell_out():
                raise
        if self._result is not None:
            self._finish()
        return ask()

    def _in_order(self, at: Position) -> Position:
        """Return `at` with how its values are compared; refuse it where that was otherwise."""
        connection = self._database.begin()
        schema = schema_of(connection)
        if schema is not None and schema == self._schema:
            return at
        none = connection.execute(self._statements.columns())
        self._learn(list(none.keys()), at)
        none.close()
        order = order_of(connection, self._statements)
        self._schema = schema
        if order is not None and at.order is not None:
            refuse_reordered(self._asked, at.order, order)
        return replace(at, order=order)

    def _learn(self, names: list[str], at: Position) -> None:
        """Take note of the columns, which somebody may alter between two transactions."""
        has_begun = at.after is not None
        check_names(names, self._asked, renames=self._database.is_file, has_begun=has_begun)
        self.names = names

    def _behind(self, rows: list[Row], at: Position) -> list[Row]:
        """Return the rows without the one at the position, and without the column that says so."""
        same = [bool(row[-1]) for row in rows]
        if sum(same) > 1:
            assert at.after is not None
            raise not_unique(self._asked.key, at.after)
        return [row[:-1] for row, is_same in zip(rows, same, strict=True) if not is_same]

    def _finish(self) -> None:
        assert self._result is not None
        self._result.close()
        self._result = None
        self._database.end()

    def _refuse_nulls(self, at: Position) -> None:
        found = self._database.begin().execute(self._statements.nulls(at)).first()
        if found is not None:
            raise null_key(self._asked.key)


def _as_sqlite_has_it(asked: Asked, since: Any) -> tuple[Asked, Any]:  # noqa: ANN401  (any plain value)
    """Return both as our SQLite destination would have written the values: it has no dates."""
    try:
        params = {name: adapt(value) for name, value in asked.params.items()}
        return replace(asked, params=params), adapt(since)
    except UnstorableError as error:
        raise Fatal(f"params: {error}; nothing was read") from error
