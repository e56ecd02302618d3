"""
Sending rejected records through again: which ones, where they enter, as what.

    replay      make the instances that replay them
    prepare     the instances that would replay them; changes nothing
    Choice      which of them, and what became of them
    Prepared    one instance to be made

A record goes back to the state that rejected it. What a source rejected goes to the state
after it: drifted records as they are; what never was a record (a line of a file that could
not be read, say) only once somebody has made one of it, or has said where it is to go.
"""

import hashlib
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

from statepipe.errors import NotFound, Refused
from statepipe.io.arrow import table_of
from statepipe.io.rejects import RejectEntry
from statepipe.machine.definition import Machine
from statepipe.machine.paths import graph_of, on_cycles
from statepipe.machine.reentry import entry_of, refuse_replacing
from statepipe.machine.states.tasks import Load, Run
from statepipe.model import Record, Staged, Status
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.picture import EMPTY, Picture
from statepipe.runtime.steering.creating import inherited
from statepipe.runtime.steering.way import Entry, Passage, entries
from statepipe.runtime.tasks.staging import reason_of
from statepipe.store.codec import decode
from statepipe.store.file.connection import Store
from statepipe.store.lookups import quarantine
from statepipe.store.lookups.quarantine import Row
from statepipe.store.stage.directory import INLINE_BYTES_MAX, Stage
from statepipe.store.stage.records import encode_records
from statepipe.store.steering.replaying import INPUT, Created, Looked, Mark, NewReplay, create, look

_UNCHANGED: Final = "nothing was changed; the records stay in quarantine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """
    Which rejected records, and what became of them.

    Attributes:
        state: Only those of this state; None for all.
        visit: Only those of this visit to it, from 1; None if there was but one.
        reason: Only those that were counted under it, as `quarantine ls` says it.
        to: The state they enter; None for the one that follows from where they were.
        repaired: By the name of a reject, the record that is to go in its place; only those
            go then. None if all go as they are.
    """

    state: str | None = None
    visit: int | None = None
    reason: str | None = None
    to: str | None = None
    repaired: Mapping[str, Record] | None = None


class Prepared(NamedTuple):
    """
    One instance to be made.

    Attributes:
        new: What the store needs of it.
        states: The states that rejected its records.
        reasons: How many of them by reason.
        repaired: How many of them somebody has changed.
        replaces: The replays whose records it takes over.
    """

    new: NewReplay
    states: tuple[str, ...]
    reasons: Mapping[str, int]
    repaired: int
    replaces: tuple[str, ...]


class _Picked(NamedTuple):
    """One record that goes."""

    row: Row
    at: int
    reason: str
    record: Record
    repaired: bool


def replay(
    store: Store,
    instance_id: str,
    choice: Choice | None,
    *,
    stage: Stage,
    catalog: Catalog,
    reason: str,
) -> list[Created]:
    """
    Make the instances that replay what is chosen, or all, with the parameters of the original.

    Raises:
        NotFound, Refused, DataError, DefinitionError: As `prepare`.
        Refused: The original was rewound, or a record was replayed, meanwhile; or the key of its
            machine is taken, and one more is not made then.
        Busy: As many of the machine are ready as may be.
        BadParameter: The machine now wants a parameter that the original does not have.
    """
    with store.moment() as connection:
        looked = look(connection, instance_id)
    prepared, _ = prepare(looked, choice or Choice(), catalog=catalog, stage=stage)
    program = catalog.program(looked.found.machine, store, stage_dir=stage.directory)
    at_ms = store.clock.now_ms()
    params = inherited(catalog, program.name, looked.params, {}, at_ms=at_ms)
    return create(
        store,
        looked.origin,
        [each.new for each in prepared],
        machine=program.name,
        definition=program.definition,
        params=params,
        reason=reason,
        key=program.sharing.key_of(program.name, decode(params)),
        terms=program.sharing.terms,
    )


def prepare(
    looked: Looked,
    choice: Choice,
    *,
    catalog: Catalog,
    stage: Stage,
) -> tuple[list[Prepared], int]:
    """
    Return the instances that would replay what is chosen, one for each state that they enter.

    Args:
        looked: The rejects.
        choice: Which of them.
        catalog: The machine as it is now, which governs them.
        stage: Where rejects lie.

    Returns:
        The instances, and how many records are left because they were no records.

    Raises:
        DefinitionError: The machine cannot be driven.
        NotFound: Nothing was rejected in the state; the machine has no such state; a name in
            `repaired` is none of these rejects.
        Refused: Nothing is left to replay; it cannot be said where it would go, or whether it
            is rejected anew; a load would replace a table by it.
        DataError: A repaired record does not fit the table that it was a row of.
        ValueRefused: A repaired record is no plain data.
        StagedDataDamaged: Quarantine is not what was committed.
    """
    machine, kind_of = catalog.sound(looked.found.machine), catalog.kind_of
    rows = _rows(looked, choice, machine)
    left = Counter[str]()
    by_entry: dict[str, list[_Picked]] = {}
    for state in dict.fromkeys(row.state for row in rows):
        some = [row for row in rows if row.state == state]
        picked = list(_picked(some, looked, choice, left=left, stage=stage))
        if picked:
            _refuse_visits(picked, choice)
            entry = choice.to or _entry(machine, state, kind_of)
            by_entry.setdefault(entry, []).extend(picked)
    _refuse_unknown(choice, by_entry, id_=looked.found.id)
    if not by_entry:
        raise _nothing(looked, rows, choice, left=left)
    return [
        _prepared(entry, some, looked, machine=machine, size=catalog.batch_size(machine, entry))
        for entry, some in by_entry.items()
        if _may_enter(machine, entry, kind_of)
    ], left.total()


def _way(looked: Looked) -> list[Entry]:
    return entries(Passage(*row) for row in looked.steps)


def _rows(looked: Looked, choice: Choice, machine: Machine) -> list[Row]:
    """Return the rejects of the states asked for, without what a rewind has undone."""
    generations = {entry.state: entry.generation for entry in _way(looked)}
    rows = [row for row in looked.rows if generations.get(row.state) == row.generation]
    if choice.state is not None:
        rows = [row for row in rows if row.state == choice.state]
        if not rows:
            raise NotFound(
                f"{looked.found.id!r} has nothing in quarantine that {choice.state!r} rejected",
                meaning="nothing was changed",
                next_step=f"statepipe quarantine ls {shlex.quote(looked.found.id)}",
            )
    if choice.visit is not None:
        rows = [row for row in rows if row.visit == choice.visit]
    cyclic = on_cycles(graph_of(machine))
    if looked.found.status not in Status.FINISHED:
        for row in rows:
            if row.state in cyclic:
                raise Refused(
                    f"{looked.found.id!r} has not ended and can come back to {row.state!r}: it may"
                    " yet take these records, or reject them again",
                    meaning=_UNCHANGED,
                    next_step="wait for its end, or name another --state",
                )
    return rows


def _picked(
    rows: list[Row], looked: Looked, choice: Choice, *, left: Counter[str], stage: Stage
) -> Iterator[_Picked]:
    for row in rows:
        for at, entry in enumerate(quarantine.entries_of(row, stage=stage)):
            by = row.replayed.get(at)
            reason = _counted(row, entry)
            name = quarantine.name_of(row, at)
            if choice.reason not in (None, reason):
                continue
            if choice.repaired is not None:
                if name not in choice.repaired:
                    continue
                if by is not None and by not in looked.free:
                    raise Refused(
                        f"the record {name} is replayed by {by!r}",
                        meaning=_UNCHANGED,
                        next_step=f"statepipe inspect {shlex.quote(by)}"
                        "   # or take it out of what is repaired",
                    )
                record = choice.repaired[name]
                yield _Picked(row, at, reason, record, record != entry["record"])
            elif by is not None and by not in looked.free:
                continue
            elif type(entry["record"]) is not dict or (entry["position"] < 0 and not choice.to):
                left[row.state] += 1
            else:
                yield _Picked(row, at, reason, entry["record"], repaired=False)


def _counted(row: Row, entry: RejectEntry) -> str:
    """Return what a reject was counted as; there is a limit to how many reasons are told apart."""
    reason = reason_of(entry)
    return reason if reason in row.rejects.reasons else "other"


def _entry(machine: Machine, state: str, kind_of: Callable[[Run], str]) -> str:
    task = machine.state(state).task
    takes_batches = not isinstance(task, Run) or kind_of(task) == "map"
    return entry_of(machine, state, takes_batches=takes_batches)


def _may_enter(machine: Machine, entry: str, kind_of: Callable[[Run], str]) -> bool:
    task = machine.state(entry).task
    if task is None or (isinstance(task, Run) and kind_of(task) == "source"):
        raise Refused(
            f"no record enters {entry!r}: it is {'final' if task is None else 'a source'}",
            meaning=_UNCHANGED,
            next_step="--to STATE   # one that takes the batches of the state before it",
        )
    refuse_replacing(machine, entry)
    return True


def _refuse_visits(picked: list[_Picked], choice: Choice) -> None:
    visits = sorted({each.row.visit for each in picked})
    if len(visits) > 1 and choice.repaired is None:
        state = picked[0].row.state
        raise Refused(
            f"{state!r} was entered several times and rejected records in visit"
            f" {', '.join(map(str, visits))}: the same records, perhaps",
            meaning=_UNCHANGED,
            next_step=f"--state {state} --visit {visits[-1]}   # the last one",
        )


def _refuse_unknown(choice: Choice, by_entry: Mapping[str, list[_Picked]], *, id_: str) -> None:
    if choice.repaired is None:
        return
    known = {quarantine.name_of(e.row, e.at) for some in by_entry.values() for e in some}
    unknown = [name for name in choice.repaired if name not in known]
    if unknown:
        raise NotFound(
            f"{unknown[0]!r}, {len(unknown):,} in all, names no reject that is asked for",
            meaning="nothing was changed",
            next_step=f"statepipe quarantine show {shlex.quote(id_)} -o jsonl"
            "   # names them, as they are now",
        )


def _nothing(looked: Looked, rows: list[Row], choice: Choice, *, left: Counter[str]) -> Refused:
    id_ = looked.found.id
    by = sorted({id_ for row in rows for id_ in row.replayed.values()})
    replayed = f"replayed already, by {', '.join(map(repr, by))}"
    if left:
        others = f"; all else is {replayed}" if by else ""
        return Refused(
            f"what {' and '.join(sorted(left))} rejected ({left.total():,} in all) never was a"
            f" record that a state was given{others}",
            meaning=_UNCHANGED,
            next_step=f"statepipe quarantine show {shlex.quote(id_)} -o jsonl"
            "   # make records of them, then"
            " --from; or --to STATE",
        )
    if by:
        said = f"all that is asked for is {replayed}"
        return Refused(
            said, meaning=_UNCHANGED, next_step=f"statepipe inspect {shlex.quote(by[-1])}"
        )
    asked = "" if choice == Choice() else " that is asked for"
    return Refused(
        f"{id_!r} has nothing in quarantine{asked}",
        meaning="nothing was changed",
        next_step=f"statepipe quarantine ls {shlex.quote(id_)}",
    )


def _prepared(
    entry: str, picked: list[_Picked], looked: Looked, *, machine: Machine, size: int
) -> Prepared:
    marks = []
    for n, some in groupby(picked, lambda each: each.row.n):
        group = list(some)
        reasons = Counter(each.reason for each in group)
        marks.append(Mark(n, [each.at for each in group], reasons))
    states = tuple(dict.fromkeys(each.row.state for each in picked))
    replaced = {each.row.replayed.get(each.at) for each in picked} - {None}
    new = NewReplay(
        state=entry,
        loads=isinstance(machine.state(entry).task, Load),
        picture=_picture(entry, states[0], looked, machine).write(),
        batches=list(_batches(picked, size=size)),
        marks=marks,
    )
    return Prepared(
        new=new,
        states=states,
        reasons=sum((Counter(mark.reasons) for mark in marks), Counter[str]()),
        repaired=sum(each.repaired for each in picked),
        replaces=tuple(sorted(id_ for id_ in replaced if id_ is not None)),
    )


def _picture(entry: str, rejected_in: str, looked: Looked, machine: Machine) -> Picture:
    """Return what the instance knows: what the other one knew when it entered that state."""
    known = next((e.picture for e in reversed(_way(looked)) if e.state == rejected_in), None)
    visits = {entry: 1} if entry in on_cycles(graph_of(machine)) else {}
    results = Picture.read(known).results
    return EMPTY._replace(results=results, visits=visits, input=INPUT, replays=True)


def _batches(picked: list[_Picked], *, size: int) -> Iterator[Staged]:
    """Yield the records as batches, in order; rows of like tables together, as tables."""
    number = 0
    for schema, some in groupby(picked, lambda each: each.row.rejects.arrow_schema):
        records = [each.record for each in some]
        for start in range(0, len(records), size):
            for staged in _staged(records[start : start + size], schema, number):
                yield staged
                number += 1


def _staged(records: list[Record], schema: bytes | None, number: int) -> Iterator[Staged]:
    """Yield some records as one batch, or as several that are small enough for a row each."""
    encoded = encode_records(records if schema is None else table_of(records, schema))
    if len(encoded.payload) > INLINE_BYTES_MAX and len(records) > 1:
        half = len(records) // 2
        for part in (records[:half], records[half:]):
            for staged in _staged(part, schema, number):
                yield staged
                number += 1
        return
    yield Staged(
        number=number,
        records=encoded.records,
        bytes=len(encoded.payload),
        sha256=hashlib.sha256(encoded.payload).digest(),
        format=encoded.format,
        file=None,
        body=encoded.payload,
        cursor=None,
        read=encoded.records,
        rejects=None,
    )
