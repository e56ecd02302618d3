"""
The driver's side of one attempt: the call it is given, the answers it gets, how it ended.

    call_of     what `perform` needs to know
    answer_of   what a question about data is answered with; None is an answer, too
    commit_of   the batch a question asks to commit, mark_of how far its source has come
    ended_of    what the future says, as an event; traceback_of, as people debug it
    kill        end it, ask_to_stop because somebody wished so
"""

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Final

from statepipe.drift import Drift, Seen
from statepipe.errors import TaskCancelled, TaskTimeout
from statepipe.model import ERROR, TIMEOUT, Loaded, Rejects, Staged
from statepipe.observe import redact
from statepipe.runtime.drive import Drive
from statepipe.runtime.endings import Ended, Failure
from statepipe.runtime.failure import message_of, names_of
from statepipe.runtime.picture import Mark
from statepipe.runtime.pools import Pools
from statepipe.store import shapes, staged, watermarks
from statepipe.store.codec import decode
from statepipe.store.connection import Store

#: Stands for the future of an inline attempt while it runs: `submit` returns after its end.
UNDER_WAY: Final[Future[Mapping[str, Any]]] = Future()

CANCELLED_ATTEMPT = Ended("cancelled", None, False, None, None, None)  # noqa: FBT003


def call_of(drive: Drive, store: Store) -> dict[str, Any]:
    """Return the call for the state the instance is in, going on after its last commit."""
    cursor = None
    records = rejected = 0
    if drive.batches:
        encoded = staged.last_cursor(store.connection, drive.n, drive.stay)
        cursor = None if encoded is None else decode(encoded)
        records, rejected = staged.handled(store.connection, drive.n, drive.stay)
    return {
        **drive.part.call,
        "instance": drive.id,
        "attempt": drive.attempt + 1,
        "generation": drive.generation,
        "visit": drive.picture.visit(drive.state),
        "epoch": drive.epoch,
        "params": drive.params,
        "cursor": cursor,
        "results": drive.picture.results,
        "mark": list(_mark(drive, store)) if drive.part.call.get("incremental") else None,
        "next": drive.batches,
        "records": records,
        "rejected": rejected,
    }


def _mark(drive: Drive, store: Store) -> Mark:
    """Return where the source starts, or goes on: fixed once it has committed a batch."""
    known = drive.picture.marks.get(drive.state)
    if known is not None:
        return known
    now = watermarks.current(store.connection, drive.program.name, drive.state)
    return Mark(now.n, now.value, now.value)


def answer_of(drive: Drive, request: Mapping[str, Any], store: Store) -> Any:  # noqa: ANN401  (plain data of any type)
    """Return the answer to a question that needs no commit."""
    if request["ask"] == "input":
        source = drive.picture.input
        if drive.part.work == "load":
            return _planned_batch(drive, request["number"], store)
        found = source and staged.staged_batch(store.connection, drive.n, source, request["number"])
        return found._asdict() if found else None
    if request["ask"] == "plan":
        return [
            {
                "number": planned.number,
                "records": planned.records,
                "sha256": planned.sha256,
                "loaded": planned.loaded is not None,
            }
            for planned in staged.load_plan(
                store.connection, drive.n, drive.stay, first=request["from"]
            )
        ]
    if request["ask"] == "shape":
        return shapes.accepted(store.connection, drive.program.name, drive.state)
    assert request["ask"] == "beat", request
    return None


def commit_of(request: Mapping[str, Any]) -> Staged | Loaded | None:
    """Return the batch that a question asks to commit; None if it asks something else."""
    if request["ask"] == "batch":
        facts = dict(request["staged"])
        facts["rejects"] = _rejects(facts["rejects"])
        facts["seen"] = _seen(facts["seen"])
        return Staged(**facts)
    if request["ask"] == "loaded":
        return Loaded(request["number"], request["records"], _rejects(request["rejects"]))
    return None


def mark_of(request: Mapping[str, Any]) -> Mark | None:
    """Return how far a source with a watermark comes with the batch it asks to commit."""
    mark = request.get("mark")
    return None if mark is None else Mark(*mark)


def ended_of(future: Future[Mapping[str, Any]]) -> Ended:
    """Return how the attempt ended; CANCELLED_ATTEMPT if it was asked to stop and did."""
    error = future.exception()
    if error is not None:
        if isinstance(error, TaskCancelled):
            return CANCELLED_ATTEMPT
        event = TIMEOUT if isinstance(error, TaskTimeout) else ERROR
        return _failed(event, Failure(tuple(names_of(error)), message_of(error)))
    result = future.result()
    failed = result.get("failed")
    if failed is None:
        return Ended(
            result["event"],
            result["value"],
            result["produced"],
            result["records"] or None,
            result["rejected"] or None,
            None,
            result.get("note"),
        )
    names = tuple(failed["names"])
    if names[0] == TaskCancelled.__name__:
        return CANCELLED_ATTEMPT
    # Once more: a worker may not have known all secrets when it described the failure.
    failure = Failure(names, redact.redacted(failed["message"]), failed["retry_after_ms"])
    drifts = tuple(Drift(*each) for each in result.get("drifts", ()))
    return _failed(ERROR, failure)._replace(drifts=drifts)


def traceback_of(future: Future[Mapping[str, Any]]) -> str | None:
    """Return the traceback of an attempt that raised; None if it ended in another way."""
    if future.exception() is not None:
        return None
    failed = future.result().get("failed")
    return None if failed is None else redact.redacted(failed["traceback"])


def kill(drive: Drive, pools: Pools, error: BaseException, *, grace_ms: int | None = None) -> None:
    """End the attempt under way, by force after `grace_ms`, or else what its policy grants."""
    assert drive.future is not None
    policy = drive.part.policy
    grace_ms = policy.grace_ms if grace_ms is None else grace_ms
    pools.get(policy.executor).kill(drive.future, error, grace_ms=grace_ms)


def ask_to_stop(drive: Drive, pools: Pools) -> None:
    """End the attempt under way because of a wish; it is then no failure."""
    kill(drive, pools, TaskCancelled("the attempt was asked to stop"))


def _failed(event: str, failure: Failure) -> Ended:
    return Ended(event, None, produced=False, records=None, rejected=None, failure=failure)


def _rejects(facts: Mapping[str, Any] | None) -> Rejects | None:
    return None if facts is None else Rejects(**facts)


def _seen(facts: Mapping[str, Any] | None) -> Seen | None:
    if facts is None:
        return None
    return Seen(facts["shape"], tuple(Drift(*each) for each in facts["drifts"]))


def _planned_batch(drive: Drive, number: int, store: Store) -> dict[str, Any] | None:
    """Return a batch by its place in the plan, which names the stay that staged it."""
    source = staged.plan_source(store.connection, drive.n, drive.stay, number)
    found = source and staged.staged_batch(store.connection, drive.n, source, number)
    return found._asdict() if found else None
