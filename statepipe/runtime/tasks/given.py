"""
What a task of a graph was given by others when it began.

    ALONE           that of a task that is none of a graph
    read_given      the batches of one that it needs
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from statepipe.batch import Batch
from statepipe.errors import Fatal
from statepipe.runtime.tasks.staging import Ask, Staging

ALONE: Final[Mapping[str, Any]] = {
    "needs": (),
    "item": None,
    "skipped": (),
    "batches": (),
    "is_torn": False,
}


def read_given(
    call: Mapping[str, Any], ask: Ask, share: Mapping[str, Any], task: str
) -> Iterator[Batch]:
    """Yield the batches of `task`, one of those that this one needs."""
    if task not in share["needs"]:
        needs = ", ".join(share["needs"]) or "nothing"
        raise Fatal(f"task.batches({task!r}): the task needs {needs}")
    staging = Staging(call, ask)
    number = 0
    while task in share["batches"] and (given := staging.given(task, number)) is not None:
        yield Batch(given.records())
        number += 1
