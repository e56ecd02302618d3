"""
Which rows the constraints of a DuckDB table refuse, asked of DuckDB before they are put in.

    judge     the verdicts on the rows of a view, by their places

DuckDB has no savepoints: a row that a constraint refuses ends its transaction, and tells
neither which row it was nor of the others. So the constraints, as the catalog has them, are
asked as queries, in a transaction that nothing has gone wrong in yet; what is still refused
when the others are put in fails the batch, whole.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from statepipe.io.duckdb.catalog import Constraints, Execute
from statepipe.io.fitting import Why
from statepipe.io.rejects import pointer
from statepipe.io.table import quote


def judge(
    execute: Execute,
    rows: str,
    *,
    table: str,
    fields: Sequence[str],
    key: Sequence[str],
    casts: dict[str, str],
    constraints: Constraints,
) -> dict[int, Why]:
    """
    Return why not, by position, for rows that cannot be put into `table`.

    Args:
        execute: Runs a query in the transaction of the batch.
        rows: The view of them; its column `_statepipe_at` has their places.
        table: The table.
        fields: The other columns of `rows`.
        key: Columns of the key; without one, rows are appended.
        casts: Types of the fields whose values not all texts can be.
        constraints: What a row of the table must keep.
    """
    whole = _whole(rows, table=table, fields=fields, key=key, constraints=constraints)
    rejects: dict[int, Why] = {}

    def refuse(where: str, why: Why) -> None:
        sql = f"{whole} SELECT _statepipe_at FROM whole WHERE {where}"  # noqa: S608  (quoted)
        for (position,) in execute(sql).fetchall():
            rejects.setdefault(position, why)

    for name, kind in casts.items():
        column = quote(name)
        refuse(
            f"{column} IS NOT NULL AND TRY_CAST({column} AS {kind}) IS NULL",
            ("type", pointer([name]), f"the value is none of its {kind} column"),
        )
    for name in constraints.not_null:
        why = ("notnull", pointer([name]), f"NOT NULL constraint failed: {name}")
        refuse(f"{quote(name)} IS NULL", why)
    for expression, columns in constraints.checks:
        refuse(f"NOT {expression}", ("check", _path(columns), f"CHECK failed: {expression}"))
    for columns, parent, theirs in constraints.references:
        same = " AND ".join(
            f"parent.{quote(their)} = whole.{quote(our)}"
            for our, their in zip(columns, theirs, strict=True)
        )
        where = " AND ".join(f"{quote(name)} IS NOT NULL" for name in columns)
        # Who refers to a row of the batch is no orphan, though DuckDB may not take them together.
        own = ["whole"] if parent.lower() == table.lower() else []
        for source in [quote(parent), *own]:
            where += f" AND NOT EXISTS (SELECT 1 FROM {source} parent WHERE {same})"  # noqa: S608  (quoted)
        message = f"FOREIGN KEY failed: {', '.join(columns)} is not in {parent}"
        refuse(where, ("foreignkey", _path(columns), message))
    ours = [quote(name) for name in key]
    unique = [each for each in constraints.unique if set(each) != set(ours) or not key]
    rejects |= dict(_doubles(execute, whole, unique, table=table, key=ours, rejects=rejects))
    return rejects


def _whole(
    rows: str, *, table: str, fields: Sequence[str], key: Sequence[str], constraints: Constraints
) -> str:
    """Return the start of a query on `whole`: the rows as they would be in the table."""
    columns = []
    for name, default in constraints.defaults.items():
        column = quote(name)
        if name in fields:
            columns.append(f"given.{column}")
        elif key:
            was = f"CASE WHEN was.{quote(key[0])} IS NULL THEN {default} ELSE was.{column} END"
            columns.append(f"{was} AS {column}")
        else:
            columns.append(f"{default} AS {column}")
    source = f"{quote(rows)} given"
    if key:
        same = " AND ".join(f"was.{quote(name)} = given.{quote(name)}" for name in key)
        source += f" LEFT JOIN {quote(table)} was ON {same}"
    names = ", ".join(["given._statepipe_at", *columns])
    return f"WITH whole AS (SELECT {names} FROM {source})"  # noqa: S608  (quoted)


def _doubles(
    execute: Execute,
    whole: str,
    unique: Sequence[Sequence[str]],
    *,
    table: str,
    key: Sequence[str],
    rejects: dict[int, Why],
) -> Iterator[tuple[int, Why]]:
    """Yield the rows that have what another row has, in the table or earlier in the batch."""
    if not unique:
        return
    seen: list[dict[tuple[Any, ...], Any]] = [{} for _ in unique]
    sql = f"{whole}{_asked(unique, table=table, key=key)}"
    for position, own, *facts in execute(sql).fetchall():
        if position in rejects:
            continue
        values = [tuple(each) for each in facts[: len(unique)]]
        taken = facts[len(unique) :]
        owner = position if own is None else tuple(own)
        for columns, value, is_taken, others in zip(unique, values, taken, seen, strict=True):
            if None not in value and (is_taken or others.get(value, owner) != owner):
                names = ", ".join(columns)
                path = pointer([_name(columns[0])]) if len(columns) == 1 else ""
                yield position, ("unique", path, f"UNIQUE failed: {names} is there already")
                break
        else:
            for value, others in zip(values, seen, strict=True):
                others[value] = owner


def _asked(unique: Sequence[Sequence[str]], *, table: str, key: Sequence[str]) -> str:
    """Return the rest of a query: of each row its key, its unique values, and who has them."""
    computed, values, taken = [], [], []
    for n, columns in enumerate(unique):
        names = [f"_statepipe_{n}_{m}" for m in range(len(columns))]
        computed += [f"{each} AS {name}" for each, name in zip(columns, names, strict=True)]
        values.append(f"[{', '.join(f'CAST({name} AS VARCHAR)' for name in names)}]")
        # A name without a table is the inner one's.
        same = [f"{each} = mine.{name}" for each, name in zip(columns, names, strict=True)]
        if key:
            same.append(f"({' OR '.join(f'there.{name} <> mine.{name}' for name in key)})")
        where = " AND ".join(same)
        taken.append(f"EXISTS (SELECT 1 FROM {quote(table)} there WHERE {where})")  # noqa: S608  (quoted)
    own = f"[{', '.join(f'CAST({name} AS VARCHAR)' for name in key)}]" if key else "NULL"
    return (
        f", mine AS (SELECT *, {', '.join(computed)} FROM whole)"  # noqa: S608  (quoted)
        f" SELECT _statepipe_at, {', '.join([own, *values, *taken])} FROM mine"
        " ORDER BY _statepipe_at"
    )


def _path(columns: Sequence[str]) -> str:
    return pointer(columns) if len(columns) == 1 else ""


def _name(quoted: str) -> str:
    return quoted[1:-1].replace('""', '"') if quoted.startswith('"') else quoted
