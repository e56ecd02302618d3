"""
What a task has made, as it is staged and told.

    batch_of        what it yielded or returned, as a batch
    taken, entry    what it rejected
    reject_refused  a Reject where that is no way to reject
    produced        how an attempt ends that made batches
"""

from typing import Any, Final

from statepipe.batch import Batch
from statepipe.errors import Fatal, Reject
from statepipe.io.arrow import as_table
from statepipe.io.rejects import RejectEntry, rejected
from statepipe.io.rows import is_table
from statepipe.model import OK, Task
from statepipe.runtime import failure
from statepipe.runtime.tasks.staging import Staging

#: Position of a rejected record that is not one of the input batch.
NOWHERE: Final = -1


def batch_of(item: Any) -> Batch:  # noqa: ANN401 what an author yielded
    """Return what a task made where a batch is due; Fatal if it is none."""
    batch = item if isinstance(item, Batch) else Batch(item)
    if is_table(batch.untouched):  # it may be a stream, which can be read once
        return Batch(as_table(batch.records), cursor=batch.cursor)
    if batch is item or isinstance(item, list):
        return batch
    raise Fatal(
        f"the task made a value of type {type(item).__name__} where a batch is due;"
        " make Batch(records, cursor=…), a list of dicts, or a table"
    )


def taken(task: Task) -> list[RejectEntry]:
    """Return the entries of what the task has rejected so far, and forget it."""
    entries = [entry(NOWHERE, *each) for each in task._rejects]  # noqa: SLF001 the runtime made it
    task._rejects.clear()  # noqa: SLF001  (the runtime made it)
    return entries


def entry(position: int, record: object, reason: object) -> RejectEntry:
    """Return the entry of one rejected record: where it lay in the batch, and why."""
    message = failure.clean(str(reason), chars_max=failure.MESSAGE_CHARS_MAX)
    return rejected(record, position=position, rule="rejected", path="", message=message)


def reject_refused(error: Reject) -> Fatal:
    """Return the error for a Reject where there is no batch to go on with."""
    return Fatal(
        f"Reject({failure.message_of(error)!r}) ends a source or a call, which cannot go on"
        " without the record; use task.reject(record, reason) there"
    )


def produced(staging: Staging) -> dict[str, Any]:
    """Return how an attempt ended that made batches."""
    return {
        "event": OK,
        "value": None,
        "produced": True,
        "records": staging.records,
        "rejected": staging.rejected,
    }
