"""
Rows on their way into a DuckDB table, as a view of Arrow's that one statement reads.

    put       one run of rows; what the constraints refuse, if they are asked first
    ROWS      the view
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import duckdb
import pyarrow as pa

from statepipe.errors import DataError
from statepipe.io.arrowvalues import Column
from statepipe.io.duckdb import catalog
from statepipe.io.duckdb.judge import judge
from statepipe.io.fitting import Run, Why
from statepipe.io.table import quote

#: The view of the rows that are put in; `_statepipe_at` is their place in the batch.
ROWS: Final = "_statepipe_rows"


def put(
    connection: duckdb.DuckDBPyConnection,
    run: Run,
    *,
    table: str,
    columns: Mapping[str, Column],
    key: Sequence[str],
    is_careful: bool,
) -> dict[int, Why]:
    """
    Put one run into `table`; return why not, by position, for rows that cannot be.

    Args:
        connection: In the transaction of the batch.
        run: The rows.
        table: The table.
        columns: Its columns.
        key: Columns of the key; without one, rows are appended.
        is_careful: Ask the constraints first. Otherwise a row that one refuses is an error, and
            the end of the transaction.

    Raises:
        DataError: If the table takes no such rows, whichever they are.
    """
    arrays: list[Any] = [*run.columns, pa.array(run.positions, pa.int64())]
    rows = pa.table(dict(zip([*run.fields, "_statepipe_at"], arrays, strict=True)))
    connection.register(ROWS, rows)
    verdicts: dict[int, Why] = {}
    refers_to_itself = False
    if is_careful:
        constraints = catalog.constraints(connection.execute, table)
        refers_to_itself = constraints.refers_to(table)
        verdicts = judge(
            connection.execute,
            ROWS,
            table=table,
            fields=run.fields,
            key=key,
            casts={
                name: columns[name].sql
                for name in run.fields
                if columns[name].kind in {"label", "jsonb"}
            },
            constraints=constraints,
        )
        stay = [n for n, each in enumerate(run.positions) if each not in verdicts]
        rows = rows.take(pa.array(stay, pa.int64()))
        connection.register(ROWS, rows)
    if key and (superseded := _superseded(connection, table, key)):
        is_last = [place not in superseded for place in rows["_statepipe_at"].to_pylist()]
        rows = rows.filter(pa.array(is_last))
        connection.register(ROWS, rows)
    try:
        count = connection.execute(_put_sql(table, run.fields, key=key)).rowcount
    except duckdb.ConstraintException as error:
        if refers_to_itself and "foreign key" in str(error):
            raise _clustered(table) from error
        raise
    if count != rows.num_rows:
        raise DataError(
            f"a trigger of table {table!r} kept rows back",
            meaning="nothing of this batch was loaded",
            next_step="drop the trigger, then resume",
        )
    return verdicts


def _clustered(table: str) -> DataError:
    return DataError(
        f"records of one batch refer to each other, and DuckDB holds the foreign key of table"
        f" {table!r} to itself against the rows from before",
        meaning="nothing of this batch was loaded",
        next_step="make the table again without that foreign key, then resume; or let an instance"
        " load those that others refer to, and the next one the others",
    )


def _superseded(connection: duckdb.DuckDBPyConnection, table: str, key: Sequence[str]) -> set[int]:
    """
    Return the places of the rows whose key comes again, as the table tells keys apart.

    The columns of the view must be compared as those of the table, which may have a collation;
    in a UNION they are. DuckDB itself would let any row of a key win.
    """
    keys = ", ".join(map(quote, key))
    sql = (
        f"WITH keyed AS (SELECT {keys}, NULL AS at_place FROM {quote(table)} WHERE FALSE"  # noqa: S608  (quoted)
        f" UNION ALL SELECT {keys}, _statepipe_at FROM {ROWS})"
        f" SELECT at_place FROM keyed"
        f" QUALIFY at_place < max(at_place) OVER (PARTITION BY {keys})"
    )
    return {place for (place,) in connection.execute(sql).fetchall()}


def _put_sql(table: str, fields: Sequence[str], *, key: Sequence[str]) -> str:
    """Return the statement that puts the rows of the view, of different keys, into the table."""
    names = ", ".join(map(quote, fields))
    sql = f"INSERT INTO {quote(table)} ({names}) SELECT {names} FROM {ROWS}"  # noqa: S608  (quoted)
    if not key:
        return f"{sql} ORDER BY _statepipe_at"
    keys = ", ".join(map(quote, key))
    # A record of nothing but its key still counts as one changed row.
    changed = [quote(name) for name in fields if name not in key] or [quote(key[0])]
    sets = ", ".join(f"{name} = excluded.{name}" for name in changed)
    return f"{sql} ON CONFLICT ({keys}) DO UPDATE SET {sets}"
