"""
Rejected records that a person has repaired in a file, tied to their rejects again.

    repaired    lines of JSON, as `quarantine show -o jsonl` prints them -> record by reject

A line says by its `id` which reject it is of, and only its `record` may be edited. Everything
that does not fit is refused with its line, before anything is changed.
"""

import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn

from statepipe.errors import UsageError
from statepipe.io.jsontext import MalformedError, parse_object
from statepipe.io.plainjson import UnreadableError, mended
from statepipe.model import Record
from statepipe.store.lookups.quarantine import Rejected

#: What a line says of its reject and must say as it was.
_FIXED: Final = ("state", "batch", "position")


class _UnfitError(ValueError):
    """A line, or the file, does not fit the rejects; says which and why."""


def repaired(
    lines: Iterable[str], rejects: Iterable[Rejected], *, name: str, instance_id: str
) -> dict[str, Record]:
    """
    Return by reject the record that a file has for it, with the types that JSON lacks.

    Args:
        lines: The file; blank lines are skipped.
        rejects: What was rejected.
        name: What the file is called, for errors.
        instance_id: Whose rejects they are, for errors.

    Raises:
        UsageError: A line is no object, names no reject or one twice, has other than what
            was printed, or a value that cannot be of the type it had.
    """
    try:
        return _read(lines, {each.id: each for each in rejects}, name=name)
    except _UnfitError as error:
        raise UsageError(
            str(error),
            meaning="nothing was changed",
            next_step=f"statepipe quarantine show {shlex.quote(instance_id)} -o jsonl"
            "   # as it was; edit what"
            " is in `record`",
        ) from error


def _read(lines: Iterable[str], known: Mapping[str, Rejected], *, name: str) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        where = f"line {number} of {name}"
        try:
            line = parse_object(text)
        except MalformedError as error:
            _refuse(f"{where} cannot be read: {error}")
        reject = known.get(line["id"]) if isinstance(line.get("id"), str) else None
        if "id" not in line:
            _refuse(f"{where} has no id, so nobody can tell which reject it is")
        if reject is None:
            _refuse(f"{where}: the id {str(line['id'])[:80]!r} is of no reject of this instance")
        if reject.id in found:
            _refuse(f"{where}: the id {reject.id!r} is there twice")
        _refuse_edited(line, reject, where=where)
        try:
            found[reject.id] = mended(reject.record, line["record"])
        except UnreadableError as error:
            _refuse(f"{where}: {error}")
    if not found:
        _refuse(f"{name} has no record")
    return found


def _refuse_edited(line: Mapping[str, Any], reject: Rejected, *, where: str) -> None:
    if unknown := [key for key in line if key not in reject._fields]:
        _refuse(f"{where} has {unknown[0]!r} beside its record; fields go into the record")
    for key in _FIXED:
        if key in line and line[key] != getattr(reject, key):
            _refuse(f"{where}: {key} was edited; it was {getattr(reject, key)!r}")
    if type(line.get("record")) is not dict:
        _refuse(f"{where} has no record: an object with its fields")


def _refuse(message: str) -> NoReturn:
    raise _UnfitError(message)
