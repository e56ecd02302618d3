"""
The kind of trigger that listens to a folder: files that arrive there.

    KIND    position: how often something was started

A file is known by its name, its size and its time: each once, however often anybody looks, and
a file that was replaced, appended to or touched is another one. Those that were decided upon
are the trigger's occasions, in the store. Whether a file stays as it is, is seen by looking
twice, by the boot clock; what its own time says, which may lie in the future, is no matter.
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Final

from statepipe.errors import Refused
from statepipe.io.files.places import There, there
from statepipe.machine.triggers.arrivals import Arriving
from statepipe.runtime.triggers.kinds import Asked, Due, Kind, Occasion
from statepipe.store.triggers.arrivals import known_keys

#: As the schema says.
_KEY_CHARS_MAX: Final = 1_000


def _begin(_: Asked) -> int:
    return 0  # what is there when it is first seen has arrived


def _look(asked: Asked, position: int) -> Due:
    arriving = _arriving(asked)
    next_ms = asked.now_ms + arriving.every_ms
    try:
        whole = _whole(arriving, asked)
    except OSError as error:
        return Due((), position, next_ms, error=_told(error))
    new = _unknown(asked, {key_of(each): each for each in whole})
    some = [_occasion(key, each) for key, each in list(new.items())[: asked.most]]
    is_all = len(some) == len(new)
    return Due(some, position + bool(some), next_ms if is_all else asked.now_ms)


def _between(asked: Asked, from_ms: int, until_ms: int | None) -> Iterator[Occasion]:
    try:
        present = _present(_arriving(asked))
    except OSError as error:
        raise Refused(
            _told(error),
            meaning="nothing was started",
            next_step="make it a folder that you may read, or correct `file`",
        ) from error
    for each in present:
        at_ms = each.modified_ns // 1_000_000
        if from_ms <= at_ms and (until_ms is None or at_ms <= until_ms):
            yield _occasion(key_of(each), each)


def _told(error: OSError) -> str:
    return f"{_text(str(error.filename))} cannot be looked into: {error.strerror}"


def key_of(file: There) -> str:
    """Return what a file is known by: its name as the glob has it, its size and its time."""
    key = f"{_text(file.name)} {file.size} {file.modified_ns}"
    if len(key) <= _KEY_CHARS_MAX:
        return key
    return f"{hashlib.sha256(key.encode()).hexdigest()} {key[-900:]}"


def _text(name: str) -> str:
    """Return a name as text: on a disk it need not be Unicode."""
    return name.encode("utf-8", "backslashreplace").decode()


def _whole(arriving: Arriving, asked: Asked) -> list[There]:
    """Return the files that are all there, by what the trigger says of that."""
    present = _present(arriving)
    if arriving.stable_ms is None:
        return present
    if asked.memory is None:
        return []
    before: Mapping[There, int] = asked.memory.get("since", {})
    since = {each: before.get(each, asked.boot_ms) for each in present}
    asked.memory["since"] = since
    return [each for each in present if asked.boot_ms - since[each] >= arriving.stable_ms]


def _present(arriving: Arriving) -> list[There]:
    marker, root = arriving.marker, arriving.root
    if marker is None:
        return there(arriving.file, root=root)
    # The markers first: then a file that has one is looked at when it was all there.
    marks = {each.name for each in there(f"{arriving.file}{marker}", root=root)}
    found = there(arriving.file, root=root)
    return [each for each in found if f"{each.name}{marker}" in marks and each.name not in marks]


def _unknown(asked: Asked, files: Mapping[str, There]) -> dict[str, There]:
    """Return those that no occasion is of; what was one once stays one."""
    memory = {} if asked.memory is None else asked.memory
    known: set[str] = memory.get("known", set()) & files.keys()
    machine, _, name = asked.name.partition(".")
    asked_for = files.keys() - known
    if asked_for:
        known |= known_keys(asked.connection, machine, name, asked_for)
    memory["known"] = known
    return {key: each for key, each in files.items() if key not in known}


def _occasion(key: str, file: There) -> Occasion:
    path = PurePath(file.path)
    facts: dict[str, Any] = {
        "file.path": file.path,
        "file.name": path.name,
        "file.stem": path.stem,
        "file.size": file.size,
    }
    try:
        facts["file.modified"] = datetime.fromtimestamp(file.modified_ns // 1_000_000_000, tz=UTC)
    except (ValueError, OverflowError):  # a disk may say any time
        return Occasion(key, facts)
    return Occasion(key, facts)


def _arriving(asked: Asked) -> Arriving:
    arriving = asked.trigger.on
    assert isinstance(arriving, Arriving)
    return arriving


KIND: Final = Kind(begin=_begin, look=_look, between=_between)
