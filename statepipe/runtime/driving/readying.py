"""
Worker processes that get ready while an attempt has one alone.

A fresh one takes a fifth of a second until it can begin, nearly all of it for imports. If the
machine has a state whose input several share, that state would begin with a wait, in which a
second core has nothing to do.

    for_machine    what a worker imports for such a machine; nothing without such a state
    for_batch      what it imports besides, once a batch is a table
"""

from collections.abc import Mapping
from typing import Any, Final

from statepipe.runtime.driving.drive import Drive

_TASKS: Final = "statepipe.runtime.tasks.attempts"
_CONTRACT: Final = "jsonschema_rs"
_TABLES: Final = ("statepipe.io.columnar", "statepipe.io.arrowcells")


def for_machine(drive: Drive) -> tuple[str, ...]:
    """Return what a worker needs that will share a state of this machine."""
    works = _shared_works(drive)
    if "validate" in works:
        return _TASKS, _CONTRACT
    return (_TASKS,) if works else ()


def for_batch(drive: Drive, request: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what such a worker needs besides for the batch that an attempt asks to commit."""
    if request["ask"] != "batch" or request["staged"]["format"] != "arrow":
        return ()
    return _TABLES if _shared_works(drive) else ()


def _shared_works(drive: Drive) -> set[str]:
    return {
        part.work
        for part in drive.program.parts.values()
        if part.policy.executor == "process" and part.policy.parallel > 1
    }
