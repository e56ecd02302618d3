"""
Older versions of a contract: whose records they are, and how they become records of its own.

    versions_of         a call's contract and older versions, ready to judge
    Versions.judge      what is clean, brought up to date; what is rejected, as it was read

What keeps the contract itself is of its version. Of the rest, what keeps an older version is
of that one, the newest first, and is made newer by the author's functions; then the contract
judges it. What keeps none is rejected for what it breaks of the contract. So two versions
that one record could keep must be told apart by their schemas: a field with a `const`.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from statepipe.errors import Fatal, Reject, StatepipeError, TaskError
from statepipe.io.contract import Contract, Judged
from statepipe.io.rejects import RejectEntry, rejected
from statepipe.io.rows import Records, is_table, iter_rows, keep, record_at
from statepipe.model import Record
from statepipe.runtime.failure import message_of, names_of
from statepipe.runtime.tasks.functions import resolve

#: What an upcaster cannot change inside.
_FLAT: Final = frozenset({str, int, float, bool, bytes, type(None)})

#: Not the record's fault: the attempt fails, and the policy says what then.
_NOT_ITS_FAULT: Final = (TaskError, StatepipeError, OSError, MemoryError)


class Step(NamedTuple):
    """One upcaster."""

    name: str  # "module:function"
    function: Callable[[Record], Any]


class Older(NamedTuple):
    """An older version that is accepted."""

    version: int
    contract: Contract
    steps: Sequence[Step]  # to the contract's own version


class _Fate(NamedTuple):
    """What became of a record of an older version: newer, or rejected."""

    older: Older
    record: Record | None
    entry: RejectEntry | None


def versions_of(call: Mapping[str, Any]) -> "Versions":
    """
    Return what a call of a contract's state judges by.

    Raises:
        DefinitionError: If a schema or a function cannot be used.
    """
    folder = Path(call["machines_dir"])
    older = [
        Older(
            version=each["version"],
            contract=Contract.load(Path(each["contract"])),
            steps=[Step(name, resolve(name, folder)) for name in each["upcast"]],
        )
        for each in call["older"]
    ]
    return Versions(Contract.load(Path(call["contract"])), older)


class Versions:
    """
    A contract and the older versions of it that are accepted as well.

    Args:
        contract: The one that records must keep in the end.
        older: Those below it, newest first.
    """

    def __init__(self, contract: Contract, older: Sequence[Older]) -> None:
        self._contract = contract
        self._older = older

    def judge(self, records: Records) -> Judged:
        """
        Part `records` (a list of dicts or an Arrow table), the clean ones brought up to date.

        Raises:
            DataError: If newer records do not fit into the table that the others are in.
            Fatal: If an upcaster returns no record.
            Exception: What an upcaster raised that is not its record's fault.
        """
        judged = self._contract.judge(records)
        if not judged.rejects or not self._older:
            return judged
        refusals = {entry["position"]: entry for entry in judged.rejects}
        fates = dict(self._fates(records, sorted(refusals)))
        newer = {at: fate.record for at, fate in fates.items() if fate.record is not None}
        refusals |= {at: fate.entry for at, fate in fates.items() if fate.entry is not None}
        if not newer:
            return Judged(judged.clean, [refusals[at] for at in sorted(refusals)])
        places = [at for at in range(len(records)) if at in newer or at not in refusals]
        merged = _merged(records, judged.clean, places, newer)
        again = self._contract.judge(merged)
        for at in newer:
            refusals.pop(at)
        for entry in again.rejects:
            at = places[entry["position"]]
            refusals[at] = _as_read(entry, at, records, fates.get(at))
        return Judged(again.clean, [refusals[at] for at in sorted(refusals)])

    def _fates(self, records: Records, left: Sequence[int]) -> Iterator[tuple[int, _Fate]]:
        """Yield what becomes of the records at `left` that keep an older version."""
        for older in self._older:
            if not left:
                return
            wanted = set(left)
            some = keep(records, [at in wanted for at in range(len(records))])
            strange = {entry["position"] for entry in older.contract.judge(some).rejects}
            every = (record for part in iter_rows(some) for record in part)
            for n, record in enumerate(every):
                if n not in strange:
                    yield left[n], _renewed(record, left[n], older)
            left = [at for n, at in enumerate(left) if n in strange]


def _renewed(record: Record, position: int, older: Older) -> _Fate:
    # Quarantine shows a record as it was read, whatever the function does to it.
    now: Any = _copied(record)
    for step in older.steps:
        try:
            now = step.function(now)
        except Reject as error:
            entry = _entry(record, position, "rejected", message_of(error))
            return _Fate(older, None, entry)
        except _NOT_ITS_FAULT:
            raise
        except Exception as error:  # noqa: BLE001  (the author's code, on a record that may be odd)
            said = f"{step.name} raised {names_of(error)[0]}: {message_of(error)}"
            return _Fate(older, None, _entry(record, position, "upcast", said))
        if type(now) is not dict:
            raise Fatal(
                f"{step.name} returned {type(now).__name__}; it must return a record, a dict"
            )
    return _Fate(older, now, None)


def _copied(record: Record) -> Record:
    return dict(record) if _FLAT.issuperset(map(type, record.values())) else copy.deepcopy(record)


def _merged(
    records: Records, clean: Records, places: Sequence[int], newer: Mapping[int, Record]
) -> Records:
    """Return the clean and the newer records, each in its place, as the kind they came in."""
    if not is_table(records):
        return [newer[at] if at in newer else records[at] for at in places]
    from statepipe.io.arrow import interleaved  # noqa: PLC0415  (pyarrow, only where tables are)

    return interleaved(clean, newer.values(), [at in newer for at in places])


def _as_read(entry: RejectEntry, at: int, records: Records, fate: _Fate | None) -> RejectEntry:
    """Return an entry about a newer record as one about the record that it was."""
    record = record_at(records, at)
    said = entry["message"]
    if fate is not None:
        functions = ", ".join(step.name for step in fate.older.steps)
        said = f"as version {fate.older.version}, after {functions}: {said}"
    return rejected(record, position=at, rule=entry["rule"], path=entry["path"], message=said)


def _entry(record: Record, position: int, rule: str, message: str) -> RejectEntry:
    return rejected(record, position=position, rule=rule, path="", message=message)
