"""
A batch on its way into a table: parted into runs, its rejects set aside.

    split           records -> runs, which are columns of values under the same fields
    check_fields    a field without a column stops the whole batch
    check_apart     so do two of which the database would make one
    alike           a name that differs from another in case only
    check_key       a record without a whole key is rejected
    refuse_unkeyed  a key that no record of a batch has stops it, if no table knows better
    without         which records have no value of a field
    no_index        what to do about a table that cannot be upserted by the key
    kept            a run as the destination takes it, without what was rejected
    Rows            columns looked at as rows
    merged          runs of the same fields as one, where order does not matter
    keys_of         what tells records apart
    LastFitted      the batch fitted last, for another try of it

What a value becomes in a column is each destination's own matter; this is what comes
before and after it. Values go through by columns, because whether a whole column is fine
can mostly be told from the set of its types, and because a columnar table is never
turned into dicts on its way.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from typing import Any, Final, Generic, NamedTuple, TypeVar, overload

from statepipe.errors import DataError
from statepipe.io.blocks import Blocks, Columns, turned
from statepipe.io.coded import different
from statepipe.io.rejects import pointer
from statepipe.io.rows import Records, Value, check_column_names, column_values, is_table
from statepipe.io.table import quote
from statepipe.suggest import did_you_mean

#: Why a record was rejected: rule, path, message.
Why = tuple[str, str, str]

#: What to do about more fields than a table can have columns.
TOO_MANY_COLUMNS: Final = (
    "put fields that belong together into one, as a dict, which is kept as JSON, or leave some out,"
    " in the task that makes the batch; then rewind to it"
)

#: What a destination knows of one column.
Column = TypeVar("Column")


class UnstorableError(ValueError):
    """A value no column can hold; `rule` is one word for why."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class Cells(NamedTuple):
    """
    A column as SQLite is given it.

    Attributes:
        values: Its values, those of rejected records included.
        types: Their types, None's too.
    """

    values: Sequence[Any]
    types: set[type]


class Rows(Sequence[tuple[Any, ...]]):
    """
    Columns looked at as rows: none is kept, each is made when it is its turn.

    Args:
        columns: At least one, all of the same length.
    """

    def __init__(self, columns: Sequence[Sequence[Any]]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return zip(*self.columns, strict=True)

    @overload
    def __getitem__(self, place: int) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, place: slice) -> "Rows": ...
    def __getitem__(self, place: int | slice) -> "tuple[Any, ...] | Rows":
        if isinstance(place, slice):
            return Rows([column[place] for column in self.columns])
        return tuple(column[place] for column in self.columns)


@dataclass(frozen=True, slots=True)
class Run:
    """
    Records that follow each other and have the same fields.

    Attributes:
        fields: Their field names.
        positions: Their places in the batch.
        columns: Their values, a sequence for each field: as they came, and from `kept` on as
            the destination takes them.
    """

    fields: tuple[str, ...]
    positions: Sequence[int]
    columns: Sequence[Sequence[Any]]

    @property
    def rows(self) -> Rows:
        """The columns looked at as rows."""
        return Rows(self.columns)


@dataclass(frozen=True, slots=True)
class Fitted(Generic[Column]):
    """
    A batch as rows for one table.

    Attributes:
        runs: What can be stored, in the order of the batch.
        rejects: Why not, by position, for the rest.
        table: The columns of the table; those of a new one if there was none.
    """

    runs: list[Run]
    rejects: dict[int, Why]
    table: Mapping[str, Column]


class LastFitted(Generic[Column]):
    """
    The batch that was fitted last, for another try of it.

    The second batch of a new table is often fitted while the first one makes it.
    """

    def __init__(self) -> None:
        self._last: tuple[Records, Fitted[Column]] | None = None

    def keep(self, records: Records, fitted: Fitted[Column]) -> Fitted[Column]:
        """Remember what `records` became, and return it."""
        self._last = records, fitted
        return fitted

    def get(self, records: Records, table: Mapping[str, Column] | None) -> Fitted[Column] | None:
        """Return what `records` became if they would become the same for `table`, else None."""
        if self._last is None or self._last[0] is not records or table is None:
            return None
        fitted = self._last[1]
        same = all(table.get(name) == column for name, column in fitted.table.items())
        return fitted if same and not fitted.rejects else None

    def forget(self) -> None:
        """Remember nothing: what was fitted is about to be changed, or is not needed any more."""
        self._last = None


def split(
    records: Records,
    rejects: dict[int, Why],
    *,
    values_of: Callable[[Any], Sequence[Value]] = column_values,
) -> Iterator[Run]:
    """
    Part the batch into runs; a record without fields is rejected.

    Args:
        records: The batch.
        rejects: Why not, by position; added to.
        values_of: What makes values of a column of a table.

    Raises:
        DataError: If two columns of a table have one name.
    """
    if isinstance(records, Blocks):
        yield from _split_blocks(records, rejects)
        return
    if not is_table(records):
        yield from _split_dicts(records, rejects, first=0)
        return
    check_column_names(records)
    positions = range(records.num_rows)
    if records.column_names:
        columns = [values_of(column) for column in records.columns]
        yield Run(tuple(records.column_names), positions, columns)
    else:
        rejects.update(dict.fromkeys(positions, EMPTY))


def check_fields(run: Run, table: Collection[str]) -> None:
    """
    Refuse records with fields that `table`, the columns that can be written, lacks.

    Raises:
        DataError: With the first such field, and the record.
    """
    for name in run.fields:
        if name not in table:
            hint = did_you_mean(name, table)
            next_step = (
                f"ALTER TABLE … ADD COLUMN {quote(name)}, then resume; or leave the field out in"
                " the task that makes the batch, then rewind to it"
            )
            if other := alike(name, table):
                hint = f"; it has {other!a}, which differs in case only"
                mended = f"call the field {other!a}"
                if other in run.fields:
                    mended = "leave one of the two fields out"
                next_step = f"{mended} in the task that makes the batch, then rewind to it"
            raise DataError(
                f"the destination's table has no column {name!a}, which record"
                f" {run.positions[0]} of the batch has{hint}",
                meaning="nothing of this batch was loaded",
                next_step=next_step,
            )


def check_apart(names: Iterable[str]) -> None:
    """
    Refuse columns whose names differ in case only, for a database that does not mind case.

    Raises:
        DataError: With two such names.
    """
    known: dict[bytes, str] = {}
    for name in names:
        other = known.setdefault(_folded(name), name)
        if other != name:
            raise DataError(
                f"the fields {other!a} and {name!a} differ in case only, and the database takes"
                " them for one column",
                meaning="nothing of this batch was loaded",
                next_step="call one of them otherwise in the task that makes the batch, then"
                " rewind to it; if a contract has them, there as well",
            )


def alike(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that differs from `name` in case only, as databases see it."""
    folded = _folded(name)
    return next((each for each in names if each != name and _folded(each) == folded), None)


def check_key(
    run: Run, columns: Sequence[Sequence[Value]], key: Sequence[str], rejects: dict[int, Why]
) -> None:
    """Reject records without a whole key: SQL takes two NULLs for two different keys."""
    for name in key:
        said = "the key is null" if name in run.fields else "the key is missing"
        for position in without(run, columns, name):
            rejects.setdefault(position, ("key", pointer([name]), said))


def refuse_unkeyed(records: Records, key: Sequence[str], *, is_any_fit: bool) -> None:
    """
    Refuse a batch of which no record has a field of the key, where no table says that there is one.

    Args:
        records: The batch.
        key: Columns of the key.
        is_any_fit: True if a record of it can be loaded, and so has a whole key.

    Raises:
        DataError: The key is a name that nobody has; all records would be rejected, one by one.
    """
    names = {name for run in split(records, {}) for name in run.fields} if not is_any_fit else set()
    missing = next((name for name in key if name not in names), None)
    if names and missing is not None:
        raise DataError(
            f"no record of the batch has the field {missing!a}, which is in the key of the load"
            f"{did_you_mean(missing, names)}",
            meaning="nothing of this batch was loaded",
            next_step="correct `key` in the machine, then resume with --definition latest; or add"
            " the field in the task that makes the batch, then rewind to it",
        )


def without(run: Run, columns: Sequence[Sequence[Value]], name: str) -> Iterator[int]:
    """Yield the positions of the records that have no value, or None, for a field."""
    if name not in run.fields:
        yield from run.positions
    elif None in different(values := columns[run.fields.index(name)]):
        yield from (at for at, value in zip(run.positions, values, strict=True) if value is None)


def no_index(table: str, key: Sequence[str], columns: Collection[str]) -> str:
    """Return what to do about a table with these columns that has no unique index on `key`."""
    index = f"CREATE UNIQUE INDEX … ON {table} ({', '.join(key)}), then resume"
    if missing := [name for name in key if name not in columns]:
        return (
            f"correct `key` in the machine{did_you_mean(missing[0], columns)}, then resume with"
            f" --definition latest; or ALTER TABLE {table} ADD COLUMN {quote(missing[0])} …,"
            f" fill it, {index}"
        )
    return index


def kept(run: Run, columns: Sequence[Sequence[Value]], rejects: Mapping[int, Why]) -> Run:
    """Return the run with `columns` as its own, without the rejected records."""
    positions = run.positions
    if rejects:
        stay = [position not in rejects for position in positions]
        columns = [list(compress(column, stay)) for column in columns]
        positions = list(compress(positions, stay))
    return Run(run.fields, positions, columns)


def merged(runs: Sequence[Run], *, key: Sequence[str]) -> list[Run]:
    """
    Return as few runs as can be: each set of fields once, if the order does not matter.

    It does when a key comes twice, because the last record of a key wins.
    """
    if len(runs) < 2:  # noqa: PLR2004  (nothing to merge)
        return list(runs)
    keys = keys_of([_column(runs, name) for name in key])
    if len(set(keys)) < len(keys):
        return list(runs)
    alike: dict[frozenset[str], list[Run]] = {}
    for run in runs:
        alike.setdefault(frozenset(run.fields), []).append(run)
    return [_joined(some) for some in alike.values()]


def keys_of(columns: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """Return the key of each record, told by the columns of the key; none without such."""
    # A column as it is takes a tenth of the time that its rows would.
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def _joined(runs: Sequence[Run]) -> Run:
    """Return runs of the same fields as one."""
    if len(runs) == 1:
        return runs[0]
    fields = runs[0].fields
    positions = list(chain.from_iterable(run.positions for run in runs))
    return Run(fields, positions, [_column(runs, name) for name in fields])


def _column(runs: Sequence[Run], name: str) -> list[Any]:
    """Return the values of one field of all the runs."""
    return list(chain.from_iterable(run.columns[run.fields.index(name)] for run in runs))


EMPTY: Why = ("empty", "", "the record has no fields")


def _folded(name: str) -> bytes:
    """Return `name` as one that does not mind case compares it; no letter but ASCII's has any."""
    return name.encode("utf-8", "surrogatepass").lower()


def _split_blocks(blocks: Blocks, rejects: dict[int, Why]) -> Iterator[Run]:
    first = 0
    for part in blocks.parts:
        if isinstance(part, Columns):
            yield Run(part.fields, range(first, first + len(part)), part.values)
        else:
            yield from _split_dicts(part, rejects, first=first)
        first += len(part)


def _split_dicts(
    records: Sequence[Mapping[str, Value]], rejects: dict[int, Why], *, first: int
) -> Iterator[Run]:
    fields: tuple[str, ...] = ()
    positions: list[int] = []
    rows: list[tuple[Value, ...]] = []
    for position, record in enumerate(records, first):
        found = tuple(record)
        if found == fields:
            values = tuple(record.values())
        elif len(found) == len(fields) and set(found) == set(fields):
            values = tuple(map(record.__getitem__, fields))
        else:
            if rows:
                yield Run(fields, positions, turned(rows, width=len(fields)))
            fields, positions, rows = found, [], []
            values = tuple(record.values())
        if not found:
            rejects[position] = EMPTY
            continue
        positions.append(position)
        rows.append(values)
    if rows:
        yield Run(fields, positions, turned(rows, width=len(fields)))
