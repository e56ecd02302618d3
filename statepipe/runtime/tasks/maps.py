"""
Tasks that are called once per batch of their input; what each call returns is committed.

    map_batches     all that nobody has mapped yet
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from statepipe.batch import Batch
from statepipe.errors import Fatal, Reject
from statepipe.io.rejects import RejectEntry
from statepipe.model import Record, Task
from statepipe.runtime import failure
from statepipe.runtime.tasks.calling import awaited, key_of
from statepipe.runtime.tasks.making import NOWHERE, batch_of, entry, produced
from statepipe.runtime.tasks.staging import Ask, Input, Staging


def map_batches(
    function: Callable[..., Any], task: Task, call: Mapping[str, Any], ask: Ask
) -> dict[str, Any]:
    """Call `function` for each batch of the input; return how that ends the attempt."""
    if call.get("given") and call["given"]["is_torn"]:
        raise Fatal(
            "the task maps batches, and several that it needs have made some:"
            f" {', '.join(call['given']['batches'])}. Write it as a source, def name(task), and"
            " take them with task.batches(name)"
        )
    staging = Staging(call, ask)
    staging.share()
    for given in staging.inputs():
        task.idempotency_key = key_of(call, given.number)
        made, rejects = _map_batch(function, task, given)
        staging.commit(given.number, made, rejects=rejects, of=given, read=given.staged.records)
    staging.join()
    return produced(staging)


def _map_batch(
    function: Callable[..., Any], task: Task, given: Input
) -> tuple[Any, list[RejectEntry]]:
    """
    Call `function` until it takes the batch; return what it made, and what was rejected.

    Each `Reject` costs one record and another call. The records are decoded anew for it,
    because the call that raised may have changed them.
    """
    skipped: dict[int, str] = {}
    while True:
        records = given.records()
        places: Sequence[int] = range(len(records))
        if skipped:
            places = [place for place in places if place not in skipped]
            records = [records[place] for place in places]
        if len(records) == 0:  # of a table, too
            return [], _entries(given, skipped)
        task._rejects.clear()  # noqa: SLF001 the runtime made it
        handed = list(records) if isinstance(records, list) else records
        try:
            made = awaited(function(task, Batch(records)))
        except Reject as error:
            at = _find(error.record, handed)
            if at == NOWHERE:
                raise Fatal(
                    f"Reject({failure.message_of(error)!r}) names a record that is not in the"
                    " batch; raise it with the record as it was given, or use task.reject"
                ) from error
            skipped[places[at]] = error.reason
            continue
        rejects = list(task._rejects)  # noqa: SLF001  (the runtime made it)
        task._rejects.clear()  # noqa: SLF001  (the runtime made it)
        found = [(_find(record, handed), record, reason) for record, reason in rejects]
        placed = [
            (places[at] if at != NOWHERE else at, record, reason) for at, record, reason in found
        ]
        return ([] if made is None else batch_of(made).records), _entries(given, skipped, placed)


def _find(record: Any, handed: Any) -> int:  # noqa: ANN401 an author's record; dicts, or a table
    """Return where in the batch `record` is: that very dict, else an equal one."""
    if not isinstance(handed, list):
        return NOWHERE
    for at, each in enumerate(handed):
        if each is record:
            return at
    return handed.index(record) if record in handed else NOWHERE


def _entries(
    given: Input,
    skipped: Mapping[int, str],
    others: Sequence[tuple[int, Record, str]] = (),
) -> list[RejectEntry]:
    """Return the entries of all rejects of one input batch, each record as it was read."""
    if not skipped and not others:
        return []
    originals = given.records()
    listed = [(place, originals[place], reason) for place, reason in skipped.items()]
    for place, record, reason in others:
        listed.append((place, record if place == NOWHERE else originals[place], reason))
    return [entry(*each) for each in sorted(listed, key=lambda each: each[0])]
