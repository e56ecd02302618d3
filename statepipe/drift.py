"""
The shape of a source's records, and how it drifts from batch to batch; pure.

    Shape, Column   what was seen of some records
    Drift, Seen     how a batch was not as it should be; what a commit carries of it
    compare         what of a batch is not as it was accepted
    accept          the shape to accept after a batch

A column is accepted with its types, and how often it was null or absent. Against it a batch is

    added       a column that was not there
    removed     a column that is in no record, more surely than chance explains
    retyped     a type the column never had; an int is no news where floats were
    nulls       a share of nulls that rose by ten points, and by three standard deviations

Nothing is compared with the first batch there ever is, nor is a batch without records. What
was accepted with a warning is not told again: a new column is known then, a removed one is
forgotten, a type is added to the others, a share of nulls is measured anew.
"""

from collections.abc import Iterator, Mapping
from math import sqrt
from typing import Any, Final, NamedTuple

KINDS: Final = ("added", "removed", "retyped", "nulls")
ACTIONS: Final = ("warn", "quarantine", "halt")

#: More columns are no shape but data in the place of names.
COLUMNS_MAX: Final = 2_000

#: What a column's share of nulls is measured over, so that old batches fade.
_MEMORY: Final = 100_000
_RISE: Final = 0.1
_DEVIATIONS: Final = 3
_CHANCE: Final = 0.001
_CHARS_MAX: Final = 200


class Column(NamedTuple):
    """
    What was seen of one column.

    Attributes:
        types: Names of the types its values had, None left out, sorted.
        records: How many records that was seen in.
        nulls: In how many of them it was None or absent.
        absent: In how many it was absent.
    """

    types: tuple[str, ...]
    records: int
    nulls: int
    absent: int


class Shape(NamedTuple):
    """What was seen of `records` records, by column."""

    records: int
    columns: Mapping[str, Column]

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Shape":
        """Return the shape that `plain` was made of."""
        columns = {
            name: Column(tuple(types), *numbers)
            for name, (types, *numbers) in plain["columns"].items()
        }
        return cls(plain["records"], columns)

    def plain(self) -> dict[str, Any]:
        """Return the shape as plain data."""
        columns = {
            name: [list(each.types), each.records, each.nulls, each.absent]
            for name, each in self.columns.items()
        }
        return {"records": self.records, "columns": columns}


class Drift(NamedTuple):
    """
    One way in which a batch is not of the shape last accepted of its source.

    Attributes:
        kind: "added", "removed", "retyped" or "nulls".
        column: Its name, for people: bounded, and what is no Unicode escaped.
        was: What was accepted, for people: "int", "absent", "0.1% null".
        now: What the batch has, likewise.
        action: What was done about it: "warn", "quarantine" or "halt".
    """

    kind: str
    column: str
    was: str
    now: str
    action: str


class Seen(NamedTuple):
    """
    What was seen of a watched source's batch while it was staged.

    Attributes:
        shape: That of the records that go on, as plain data.
        drifts: What drifted, quarantined records included.
    """

    shape: Mapping[str, Any]
    drifts: tuple[Drift, ...]


def compare(accepted: Shape | None, seen: Shape, actions: Mapping[str, str]) -> list[Drift]:
    """Return how `seen`, a batch, is not as `accepted`, with what `actions` says by kind."""
    if accepted is None or not seen.records:
        return []
    found = [
        *(
            ("added", name, "absent", _types(column))
            for name, column in seen.columns.items()
            if name not in accepted.columns
        ),
        *_changes(accepted, seen),
    ]
    return [Drift(kind, shown(name), was, now, actions[kind]) for kind, name, was, now in found]


def accept(accepted: Shape | None, seen: Shape, drifts: tuple[Drift, ...]) -> Shape:
    """
    Return the shape to accept after a batch.

    Args:
        accepted: The one before it, None at the very first.
        seen: That of the batch.
        drifts: What drifted; what was only warned of is as it should be from now on.
    """
    before = {} if accepted is None else accepted.columns
    warned = {(each.kind, each.column) for each in drifts if each.action == "warn"}
    columns = {}
    for name in dict.fromkeys((*before, *seen.columns)):
        old, new = before.get(name), seen.columns.get(name)
        if ("removed", shown(name)) in warned:
            continue
        if new is None:
            new = Column((), seen.records, seen.records, seen.records)
        if old is not None:
            is_anew = ("nulls", shown(name)) in warned
            new = _joined(old._replace(records=0, nulls=0, absent=0) if is_anew else old, new)
        columns[name] = _faded(new)
    return Shape((0 if accepted is None else accepted.records) + seen.records, columns)


def told(drift: Drift) -> str:
    """Return a drift as people read it: "price retyped, int -> str (warn)"."""
    return f"{drift.column} {drift.kind}, {drift.was} -> {drift.now} ({drift.action})"


def known_types(column: Column) -> set[str]:
    """Return the types that a value of an accepted column may have."""
    # JSON and spreadsheets write 10 and 10.5 in one column.
    return {*column.types, *(["int"] if "float" in column.types else [])}


def shown(name: str) -> str:
    """Return the name of a column as it may be printed and stored."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _CHARS_MAX else f"{text[: _CHARS_MAX - 1]}…"


def _changes(accepted: Shape, seen: Shape) -> Iterator[tuple[str, str, str, str]]:
    """Yield kind, name, and what was and is, of columns that were accepted."""
    for name, old in accepted.columns.items():
        new = seen.columns.get(name)
        if new is None:
            if (old.absent / old.records) ** seen.records < _CHANCE:
                yield "removed", name, _types(old), "absent"
            continue
        if old.types and not known_types(old).issuperset(new.types):
            yield "retyped", name, _types(old), _types(new)
        if _jumped(old, new):
            yield "nulls", name, _share(old), _share(new)


def _jumped(old: Column, new: Column) -> bool:
    if new.nulls / new.records - old.nulls / old.records < _RISE:
        return False
    likely = (old.nulls + 1) / (old.records + 2)
    deviation = sqrt(new.records * likely * (1 - likely))
    return new.nulls - new.records * likely >= _DEVIATIONS * deviation


def _joined(old: Column, new: Column) -> Column:
    return Column(
        tuple(sorted({*old.types, *new.types})),
        old.records + new.records,
        old.nulls + new.nulls,
        old.absent + new.absent,
    )


def _faded(column: Column) -> Column:
    by = -(-column.records // _MEMORY)
    if by <= 1:
        return column
    return column._replace(
        records=column.records // by, nulls=column.nulls // by, absent=column.absent // by
    )


def _types(column: Column) -> str:
    return shown(" or ".join(column.types) or "null")


def _share(column: Column) -> str:
    return f"{100 * column.nulls / column.records:.1f}% null"
