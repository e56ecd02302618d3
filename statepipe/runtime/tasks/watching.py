"""
A source's batch, held against the shape last accepted before it is staged.

    watched     what of it goes on, what is rejected, and what is to be remembered
    observe     the shape of some records, dicts or a table

The store knows the shape; it is asked for each batch, since another instance of the machine
may have moved it. What is accepted is what goes on: the records that drift put into
quarantine leave no trace in the shape.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, Final, NamedTuple

from statepipe.drift import COLUMNS_MAX, Column, Drift, Shape, compare, known_types, shown, told
from statepipe.errors import DataError, SchemaDrift
from statepipe.io.blocks import Blocks, Columns, turned
from statepipe.io.coded import different
from statepipe.io.rejects import RejectEntry, pointer, rejected
from statepipe.io.rows import Records, is_table, iter_rows, keep
from statepipe.model import Record

_NONE: Final = type(None)


class Watched(NamedTuple):
    """
    What became of a batch.

    Attributes:
        records: What goes on.
        rejects: What drifted and goes to quarantine, in the order of the batch.
        seen: A Seen as plain data; None if nobody watches.
    """

    records: Records
    rejects: list[RejectEntry]
    seen: dict[str, Any] | None


def watched(
    records: Records,
    actions: Mapping[str, str] | None,
    accepted: Callable[[], Mapping[str, Any] | None],
) -> Watched:
    """
    Return what of a batch goes on, by what `actions` says for each kind of drift.

    Args:
        records: The batch: dicts, Blocks, or a pyarrow.Table.
        actions: "warn", "quarantine" or "halt" by kind; None if nobody watches.
        accepted: Asks for the shape last accepted, plain data or None.

    Raises:
        SchemaDrift: Something drifted whose action is "halt".
        DataError: There are more columns than a shape may have.
    """
    if actions is None:
        return Watched(records, [], None)
    if not (is_table(records) or isinstance(records, Blocks)) and not {dict}.issuperset(
        map(type, records)
    ):
        return Watched(records, [], None)  # staging says what is wrong with them
    plain = accepted()
    before = None if plain is None else Shape.read(plain)
    kept: Records = records
    places: Sequence[int] = range(len(records))
    drifts: dict[tuple[str, str], Drift] = {}
    rejects: list[RejectEntry] = []
    while True:
        # Once more for what is left: without some of its records a column may be gone.
        shape = observe(kept)
        _refuse_too_many(shape, before)
        found = compare(before, shape, actions)
        _halt(found)
        for each in found:
            drifts.setdefault((each.kind, each.column), each)
        because = _reasons(kept, found, before)
        if not because:
            break
        rejects += _entries(kept, because, places)
        wanted = [at not in because for at in range(len(places))]
        kept, places = keep(kept, wanted), list(compress(places, wanted))
    rejects.sort(key=lambda entry: int(entry["position"]))
    told_to_store = {"shape": shape.plain(), "drifts": [list(each) for each in drifts.values()]}
    return Watched(kept, rejects, told_to_store)


def observe(records: Records) -> Shape:
    """Return the shape of `records`: a list of dicts, Blocks, or a pyarrow.Table."""
    total = len(records)
    if is_table(records):
        from statepipe.io.arrow import columns_of  # noqa: PLC0415  (pyarrow, only for tables)

        return Shape(
            total,
            {
                name: Column((word,) if nulls < total else (), total, nulls, 0)
                for name, word, nulls in columns_of(records)
            },
        )
    types: dict[str, set[type]] = defaultdict(set)
    filled: Counter[str] = Counter()
    there: Counter[str] = Counter()
    for names, columns in _alike(records):
        for name, values in zip(names, columns, strict=True):
            kinds = set(map(type, different(values)))
            types[name] |= kinds
            there[name] += len(values)
            filled[name] += len(values) - (values.count(None) if _NONE in kinds else 0)
    shape = {
        name: Column(
            tuple(sorted({kind.__name__ for kind in kinds if kind is not _NONE})),
            total,
            total - filled[name],
            total - there[name],
        )
        for name, kinds in types.items()
        if type(name) is str
    }
    return Shape(total, shape)


def _alike(records: Records) -> Iterator[tuple[tuple[str, ...], Sequence[Sequence[Any]]]]:
    """Yield the columns of records with the same fields, in the order they first come in."""
    alike: dict[tuple[str, ...], tuple[list[Columns], list[Record]]] = {}
    for part in records.parts if isinstance(records, Blocks) else (records,):
        if isinstance(part, Columns):
            alike.setdefault(part.fields, ([], []))[0].append(part)
            continue
        for record in part:
            names = tuple(record)
            if names not in alike:
                alike[names] = ([], [])
            alike[names][1].append(record)
    for names, (by_columns, some) in alike.items():
        for part in by_columns:
            yield names, part.values
        if some:
            yield names, turned(map(dict.values, some), width=len(names))


def _halt(found: Sequence[Drift]) -> None:
    halting = [each for each in found if each.action == "halt"]
    if halting:
        kinds = " and ".join(f'{kind} = "warn"' for kind in sorted({e.kind for e in halting}))
        raise SchemaDrift(
            f"the source's records have changed: {'; '.join(map(told, halting[:20]))}."
            " Nothing of this batch was committed, and all before it stands."
            f" If it is right so, say {kinds} for drift in the machine, and resume",
            found,
        )


def _refuse_too_many(shape: Shape, before: Shape | None) -> None:
    names = {*shape.columns, *(before.columns if before else ())}
    if len(names) > COLUMNS_MAX:
        raise DataError(
            f"the source's records have had {len(names):,} different fields, more than"
            f" {COLUMNS_MAX:,}: these are data in the place of names, and no shape",
            meaning="nothing of this batch was committed",
            next_step="yield such fields as one field that holds a dict, or remove drift",
        )


def _reasons(records: Records, found: Sequence[Drift], before: Shape | None) -> dict[int, Drift]:
    """Return by place why a record goes to quarantine; the first drift it shows is enough."""
    because: dict[int, Drift] = {}
    for drift in found:
        if drift.action == "quarantine" and before is not None:
            for at in _showing(records, drift, before):
                because.setdefault(at, drift)
    return because


def _showing(records: Records, drift: Drift, before: Shape) -> Sequence[int]:
    """Return which records show a drift: all of them, if none of them does alone."""
    every = range(len(records))
    name = next((name for name in _names(records) if shown(name) == drift.column), None)
    if name is None:  # it was removed
        return every
    if is_table(records):
        # The type of a column, and its being there, are of all rows.
        nulls = records.column(name).is_null().to_pylist() if drift.kind == "nulls" else []
        return list(compress(every, nulls)) or every
    if drift.kind == "added":
        return [at for at in every if name in records[at]]
    if drift.kind == "nulls":
        return [at for at in every if records[at].get(name) is None]
    known = {*known_types(before.columns[name]), "NoneType"}
    return [at for at in every if type(records[at].get(name)).__name__ not in known]


def _names(records: Records) -> list[str]:
    if is_table(records):
        names: list[str] = records.column_names
        return names
    return list(dict.fromkeys(name for record in records for name in record if type(name) is str))


def _entries(
    records: Records, because: Mapping[int, Drift], places: Sequence[int]
) -> list[RejectEntry]:
    some = keep(records, [at in because for at in range(len(records))])
    rows = (record for part in iter_rows(some) for record in part)
    return [
        rejected(
            record,
            position=places[at],
            rule="drift",
            path=pointer([because[at].column]),
            message=told(because[at]),
        )
        for at, record in zip(sorted(because), rows, strict=True)
    ]
