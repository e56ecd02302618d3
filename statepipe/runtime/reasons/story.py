"""
One row of the journal as a sentence.

    told    what happened then
"""

from typing import Final

from statepipe.runtime.reasons.drivers import named
from statepipe.runtime.reasons.reason import error_text
from statepipe.store.questions.evidence import Row
from statepipe.units import format_duration, plural

#: What became of an instance whose attempt failed while that was asked for.
_HONOURED: Final = {"pause": "paused", "cancel": "cancelled"}
#: How the note of a rest begins in which others were begun.
_BEGINS: Final = "begins "


def told(row: Row) -> str:
    """Return what happened, as `row` tells it; the error's text is cut."""
    match row.kind:
        case "move":
            said = _moved(row)
        case "retry":
            said = f"{_attempt(row)} failed and is to be tried again{_error(row)}"
        case "claim":
            said = _claimed(row)
        case _:
            said = _steered(row)
    if row.batches:
        said = f"after {plural(row.batches, 'batch')} {said}"
    return said


def _moved(row: Row) -> str:
    if row.error_class is not None and not row.ends_attempt:
        return f"{row.event} of {row.source} led to {row.target}: {row.error}"
    if row.error_class is not None:
        return f"{_attempt(row)} failed; {row.event} led to {row.target}{_error(row)}"
    counts = []
    if row.records is not None:
        counts.append(plural(row.records, "record"))
    if row.rejected:
        counts.append(f"{row.rejected:,} rejected")
    if row.attempt is not None and row.attempt > 1:
        counts.append(f"attempt {row.attempt}")
    if row.took_ms is not None:
        counts.append(format_duration(row.took_ms))
    what = f" ({', '.join(counts)})" if counts else ""
    return f"{row.event} of {row.source} led to {row.target}{what}"


def _attempt(row: Row) -> str:
    after = "" if row.took_ms is None else f" after {format_duration(row.took_ms)}"
    return f"attempt {row.attempt} of {row.source}{after}"


def _error(row: Row) -> str:
    return f": {error_text(row.error_class, row.error)}"


def _claimed(row: Row) -> str:
    who, _, before = (row.note or "").partition(" from ")
    if row.event == "takeover":
        return f"{named(who)} took it over from {named(before)}, which was dead"
    return f"{named(who)} took it in hand"


def _steered(row: Row) -> str:
    reason = f": {row.note}" if row.note else ""
    heard = {
        ("interrupt", "wait"): _waits(row),
        ("interrupt", "submit"): f"a job of {row.target} was submitted elsewhere",
        ("request", "signal"): f"somebody sent it {row.note}",
        ("request", "emit"): f"somebody emitted {row.note}",
        ("request", "child"): f"its part {row.note}",
    }.get((row.kind, row.event))
    if heard is not None:
        return heard
    if row.kind in _HONOURED and row.error_class is not None:
        ended = _HONOURED[row.kind]
        return f"{_attempt(row)} failed, and it was {ended} as somebody had asked{_error(row)}"
    said = {
        "create": f"it was created, in {row.target}",
        "interrupt": f"its driver let it go in {row.target}",
        "request": f"somebody asked for a {row.event}",
        "cancel": f"it was cancelled in {row.source}",
        "pause": f"it was paused in {row.target}",
        "resume": f"somebody resumed it, in {row.target}{_adopted(row)}",
        "rewind": f"somebody put it back from {row.source} to {row.target}",
    }.get(row.kind, f"{row.event} in {row.target}")
    return said + reason


def _waits(row: Row) -> str:
    note = row.note or ""
    if note.startswith(_BEGINS):
        return f"it began {note.removeprefix(_BEGINS)}, and waits in {row.target} for that"
    return f"it began to wait in {row.target} {note}".rstrip()


def _adopted(row: Row) -> str:
    return ", with the machine as it was by then" if row.event == "adopt" else ""
