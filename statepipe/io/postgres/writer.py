"""
Rows on their way into a table, inside a transaction: copied, upserted, refused one by one.

    Writer.put    one run of rows; what a constraint refuses is rejected

What is appended is copied into the table itself, and so is an upsert as long as all its
keys are new, in half the time; otherwise it goes by way of a staging table of the session.
A row that a constraint refuses fails its whole statement. The rows are then halved, each
half in a savepoint, until the refused ones stand alone.
"""

from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.sql import SQL, Identifier

from statepipe.io.fitting import Rows, Run, Why, keys_of
from statepipe.io.postgres import table as tables
from statepipe.io.postgres.catalog import is_unique
from statepipe.io.postgres.connection import is_about_rows
from statepipe.io.postgres.table import Place, Table
from statepipe.io.postgres.values import copied_as
from statepipe.io.rejects import pointer

#: Rows that a staging table has had, gone or not, before it is made anew.
_USED_ROWS_MAX: Final = 1_000

_RULES: Final = {
    "23502": "notnull",
    "23503": "foreignkey",
    "23505": "unique",
    "23514": "check",
    "23P01": "exclusion",
    "22001": "length",
    "22003": "range",
    "P0001": "trigger",
}

#: Row security, which COPY does not know; and two loaders who meet, for an upsert has an order.
_NOT_BY_COPY: Final = (errors.FeatureNotSupported, errors.DeadlockDetected)


class Writer:
    """
    Puts rows into one table, in one transaction.

    Args:
        connection: With the transaction open.
        place: The table.
        table: Its columns.
        key: Columns of the key; without one, rows are appended.
        all_new: Expect that no key is there yet.

    Attributes:
        all_new: False once that was wrong, or if no unique index would say so.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        *,
        place: Place,
        table: Table,
        key: Sequence[str],
        all_new: bool,
    ) -> None:
        self.all_new = all_new and bool(key) and is_unique(connection, place, key)
        self._connection = connection
        self._place = place
        self._table = table
        self._key = key
        self._used: dict[str, int] = {}  # rows put into staging tables since they were new
        self._filled: set[str] = set()  # staging tables with rows of this transaction
        self._constrained: dict[str, list[str]] = {}  # columns by the name of a constraint

    def put(self, run: Run) -> dict[int, Why]:
        """Write the rows of `run`; return why not, by position, for those refused."""
        rejects: dict[int, Why] = {}
        if self.all_new and self._copy_new(run.fields, run.rows):
            return rejects
        self._put(run, rejects, first=0, last=len(run.rows))
        return rejects

    def _put(self, run: Run, rejects: dict[int, Why], *, first: int, last: int) -> None:
        """Write the rows from `first` to before `last`."""
        rows = run.rows[first:last]
        if self._key:
            self._stage(run.fields)
        if (error := self._try(run.fields, rows)) is None:
            return
        if last - first == 1:
            rejects[run.positions[first]] = self._why(error)
            return
        middle = (first + last) // 2
        self._put(run, rejects, first=first, last=middle)
        self._put(run, rejects, first=middle, last=last)

    def _try(self, fields: Sequence[str], rows: Rows) -> psycopg.Error | Why | None:
        """Write all of the rows, or none and return what refuses them."""
        connection = self._connection
        connection.execute("SAVEPOINT run")
        refused: psycopg.Error | Why | None = None
        try:
            if not self._write(fields, rows):
                refused = ("trigger", "", "a trigger of the table ignored the row")
        except psycopg.Error as error:
            if not is_about_rows(error):
                raise
            refused = error
        if refused is not None:
            connection.execute("ROLLBACK TO run")
        connection.execute("RELEASE run")
        return refused

    def _write(self, fields: Sequence[str], rows: Rows) -> bool:
        """Write the rows; False if fewer were written than should be."""
        place = self._place
        if not self._key:
            return self._copy(place.sql, fields, rows) == len(rows)
        last = self._last_of_each(fields, rows)
        staging = tables.staging_of(place, fields, self._table)
        name = staging.as_string(None)
        self._used[name] += len(last)
        self._copy(staging, fields, last)
        sql = tables.upsert(place, fields, key=self._key, staging=staging)
        if self._connection.execute(sql).rowcount != len(last):
            return False
        self._filled.add(name)  # only now: what fails is rolled back
        return True

    def _last_of_each(self, fields: Sequence[str], rows: Rows) -> Sequence[Any]:
        """
        Return the last row of each key: one INSERT may not touch a row twice, and the last wins.

        Keys that only the server finds equal (citext) make it fail; then the rows are halved.
        """
        keys = keys_of([rows.columns[fields.index(name)] for name in self._key])
        if len(set(keys)) == len(rows):
            return rows
        return list(dict(zip(keys, rows, strict=True)).values())

    def _stage(self, fields: Sequence[str]) -> None:
        """
        Have an empty staging table for these fields; the session may have it already.

        Before the savepoint of a try: if a row is refused, it is there for the next one. What was
        deleted or rolled back is still read over, but TRUNCATE makes a new file, and rows of the
        catalog that are read over as well; so that is for many rows.
        """
        staging = tables.staging_of(self._place, fields, self._table)
        name = staging.as_string(None)
        if name not in self._used:
            self._connection.execute(tables.stage(staging, self._place, fields))
            self._used[name] = 0
        elif self._used[name] > _USED_ROWS_MAX:
            self._connection.execute(SQL("TRUNCATE {}").format(staging))
            self._used[name] = 0
        elif name in self._filled:
            self._connection.execute(SQL("DELETE FROM {}").format(staging))
        self._filled.discard(name)

    def _copy_new(self, fields: Sequence[str], rows: Rows) -> bool:
        """Copy rows whose keys should all be new; False if they are not, or it cannot be done."""
        connection = self._connection
        last = self._last_of_each(fields, rows)
        connection.execute("SAVEPOINT new")
        try:
            self.all_new = self._copy(self._place.sql, fields, last) == len(last)
        except psycopg.Error as error:
            # What is wrong with a row, the upsert finds out again if it is not the key.
            if not is_about_rows(error) and not isinstance(error, _NOT_BY_COPY):
                raise
            self.all_new = False
        if not self.all_new:
            connection.execute("ROLLBACK TO new")
        connection.execute("RELEASE new")
        return self.all_new

    def _copy(self, target: Identifier, fields: Sequence[str], rows: Sequence[Any]) -> int:
        cursor = self._connection.cursor()
        with cursor.copy(tables.copy(target, fields)) as copy:
            copy.set_types([copied_as(self._table[name]) for name in fields])
            for row in rows:
                copy.write_row(row)
        return cursor.rowcount

    def _why(self, refused: psycopg.Error | Why) -> Why:
        """Return the verdict on a row; the path, if one column is to blame."""
        if not isinstance(refused, psycopg.Error):
            return refused
        diag = refused.diag
        columns = [diag.column_name] if diag.column_name else []
        if not columns and diag.constraint_name:
            columns = self._columns_of(diag.constraint_name)
        rule = _RULES.get(refused.sqlstate or "", type(refused).__name__.lower())
        path = pointer(columns) if len(columns) == 1 else ""
        return rule, path, diag.message_primary or str(refused)

    def _columns_of(self, constraint: str) -> list[str]:
        if constraint not in self._constrained:
            asked = (self._place.text, constraint) * 2
            rows = self._connection.execute(tables.CONSTRAINED, asked).fetchall()
            self._constrained[constraint] = [name for (name,) in rows]
        return self._constrained[constraint]
