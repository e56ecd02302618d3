"""
Tasks that make batches: each is staged and committed before the next is made.

    commit_batches  what an author's source yields
    ENDED           the cursor behind its end
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from statepipe.errors import Fatal, Reject
from statepipe.io.marks import highest
from statepipe.model import Task
from statepipe.runtime.tasks import asynchronous
from statepipe.runtime.tasks.calling import key_of
from statepipe.runtime.tasks.making import batch_of, produced, reject_refused, taken
from statepipe.runtime.tasks.staging import Ask, Staging
from statepipe.runtime.tasks.watching import watched
from statepipe.store.codec import encode

#: The cursor of a last batch that only carries rejects: the source had already ended.
ENDED: Final = {"statepipe": "the source has ended"}


def commit_batches(got: Any, task: Task, call: Mapping[str, Any], ask: Ask) -> dict[str, Any]:  # noqa: ANN401 what an author returned
    """Commit what the source `got` yields, batch by batch; return how that ends the attempt."""
    if call["replays"]:
        raise Fatal(
            "a replay does not read its source again: it was made of rejected records, and all"
            " else is loaded. What it rejected once more is in its own quarantine"
        )
    number = call["next"]
    if number and call["cursor"] is None:
        raise Fatal(
            f"the source cannot go on after batch {number - 1}: it was committed without a cursor."
            " Yield Batch(records, cursor=…) and start at task.cursor;"
            " this instance can be rewound to begin the state again"
        )
    staging = Staging(call, ask)
    if number and call["cursor"] == ENDED:
        return produced(staging)
    cursor, mark = call["cursor"], call["mark"]
    steps = _steps(got)
    try:
        for item in steps:
            batch = batch_of(item)
            cursor = batch.cursor
            given = watched(batch.untouched, call["drift"], partial(ask, {"ask": "shape"}))
            mark = _mark(given.records, mark, call)
            staging.commit(
                number,
                given.records,
                cursor=None if cursor is None else encode(cursor),
                rejects=[*taken(task), *given.rejects],
                mark=mark,
                seen=given.seen,
            )
            number += 1
            task.idempotency_key = key_of(call, number)
            task.batch_size = staging.batch_size
    except Reject as error:
        raise reject_refused(error) from error
    finally:
        close = getattr(steps, "close", None)
        if close is not None:
            close()
    if task._rejects:  # noqa: SLF001 the runtime made it
        # Rejected after the last batch. The mark keeps a resume from rejecting them twice.
        staging.commit(number, [], cursor=encode(ENDED), rejects=taken(task))
    return produced(staging)


def _mark(records: Any, mark: list[Any] | None, call: Mapping[str, Any]) -> list[Any] | None:  # noqa: ANN401 dicts, or a table
    """Return how far a source with a watermark has come with a batch; see `Mark`."""
    if mark is None:
        return None
    since, start, reached = mark
    return [since, start, highest(records, call["incremental"]["column"], above=reached)]


def _steps(got: Any) -> Iterator[Any]:  # noqa: ANN401 what an author returned
    if hasattr(got, "__aiter__"):
        return asynchronous.iterate(got.__aiter__())
    if isinstance(got, Iterable) and not isinstance(got, str | bytes | Mapping):
        return iter(got)
    raise Fatal(
        f"the source returned a value of type {type(got).__name__};"
        " yield Batch(records, cursor=…) instead"
    )
