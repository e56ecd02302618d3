"""
Worker processes that get ready while an attempt has one alone.

A fresh one takes a fifth of a second until it can begin, nearly all of it for imports. If the
machine has a state whose input several share, that state would begin with a wait, in which a
second core has nothing to do.

    for_machine    what a worker needs for such a machine; nothing without such a state
    for_batch      what it needs besides, once a batch is a table
"""

from collections.abc import Mapping
from typing import Any, Final

from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.pools import Needs
from statepipe.runtime.executors.spare import TASKS
from statepipe.runtime.program import Part

_CONTRACT: Final = "jsonschema_rs"
_NOTHING: Final = Needs()
_TABLES: Final = ("statepipe.io.columnar", "statepipe.io.arrowcells")


def for_machine(drive: Drive) -> Needs:
    """Return what a worker needs that will share a state of this machine."""
    if not (shared := _shared(drive)):
        return _NOTHING
    judges = any(part.work == "validate" for part in shared)
    addresses = [part.call["load"]["to"] for part in shared if part.work == "load"]
    return Needs((TASKS, _CONTRACT) if judges else (TASKS,), addresses)


def for_batch(drive: Drive, request: Mapping[str, Any]) -> Needs:
    """Return what such a worker needs besides for the batch that an attempt asks to commit."""
    if request["ask"] != "batch" or request["staged"]["format"] != "arrow":
        return _NOTHING
    return Needs(_TABLES) if _shared(drive) else _NOTHING


def _shared(drive: Drive) -> list[Part]:
    return [
        part
        for part in drive.program.parts.values()
        if part.policy.executor == "process" and part.policy.parallel > 1
    ]
