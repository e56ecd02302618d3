"""
The driver's side of one attempt: the call it is given, the answers it gets, how it ended.

    call_of     what `perform` needs to know
    answer_of   what a question about data is answered with; None is an answer, too
    input_of    one batch of its input
    commit_of   the batch a question asks to commit, mark_of how far its source has come
    number_of   the batch a question is about
    ended_of    what the future says, as an event; traceback_of, as people debug it
"""

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from statepipe.drift import Drift, Seen
from statepipe.errors import TaskCancelled, TaskTimeout
from statepipe.model import ERROR, TIMEOUT, Loaded, Rejects, Staged
from statepipe.observe import redact
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.endings import Ended, Failure
from statepipe.runtime.driving.permission import permission
from statepipe.runtime.driving.sizing import size_of
from statepipe.runtime.failure import message_of, names_of
from statepipe.runtime.picture import Mark
from statepipe.store.codec import decode
from statepipe.store.file.connection import Store
from statepipe.store.lookups import groups, lookup
from statepipe.store.stage import rows as staged
from statepipe.store.walk import shapes, watermarks

CANCELLED_ATTEMPT = Ended("cancelled", None, False, None, None, None)  # noqa: FBT003  (in the order of the fields)


class GivenBackError(Exception):
    """A batch of another instance is not there: they stay until their parent is done."""


def call_of(drive: Drive, store: Store) -> dict[str, Any]:
    """Return the call for the state the instance is in, going on after its last commit."""
    cursor = None
    records = rejected = 0
    if drive.batches:
        encoded = staged.last_cursor(store.connection, drive.n, drive.stay)
        cursor = None if encoded is None else decode(encoded)
        records, rejected = staged.handled(store.connection, drive.n, drive.stay)
    call = {
        **drive.part.call,
        "instance": drive.id,
        "attempt": drive.attempt + 1,
        "generation": drive.generation,
        "visit": drive.picture.visit(drive.state),
        "epoch": drive.epoch,
        "params": drive.params,
        "cursor": cursor,
        "results": drive.picture.results,
        "given": _given(drive),
        "mark": _mark(drive, store),
        "replays": drive.picture.replays,
        "next": drive.batches,
        "batch_size": size_of(drive),
        "records": records,
        "rejected": rejected,
    }
    if drive.part.work == "cancel":  # it is told where the instance was, and which cancel it is
        visit = drive.picture.visit(drive.failed_state or "")
        number = lookup.newest_seq(store.connection, drive.n, kind="cancel")
        call |= {"state": drive.failed_state, "visit": visit, "next": number, "cursor": None}
    return call


def _given(drive: Drive) -> dict[str, Any] | None:
    """Return what a task of a graph was given when it began, None for all others."""
    share = drive.picture.given
    if share is None:
        return None
    return {
        "item": share.item,
        "skipped": list(share.skipped),
        "needs": list(share.needs),
        "batches": [name for name in share.batches if name],
        "is_torn": share.input is None and bool(share.batches),
    }


def _mark(drive: Drive, store: Store) -> list[Any] | None:
    """
    Return the mark at which a source with a watermark starts, or goes on; None without one.

    It is fixed once the source has committed a batch. A partition has none, and neither has a
    copy of one: it reads its own slice whatever else is loaded, and says nothing of what lies
    before that.
    """
    if not drive.part.call.get("incremental") or groups.is_slice(store.connection, drive.n):
        return None
    known = drive.picture.marks.get(drive.state)
    if known is None:
        now = watermarks.current(store.connection, drive.program.name, drive.state)
        known = Mark(now.n, now.value, now.value)
    return list(known)


def input_of(drive: Drive, number: int, store: Store) -> dict[str, Any] | None:
    """
    Return input batch `number`, from 0, None if there are no more.

    It is {"number", "batch": a Staged as a dict, "planned"}; of a load `planned` is the
    digest that the plan has, and `batch` None if what was planned is no longer there.
    """
    connection = store.connection
    if drive.part.work != "load":
        source = drive.picture.input
        if source is None and drive.picture.given is not None:
            return _elsewhere(drive, drive.picture.given.input, number, store)
        found = source and staged.staged_batch(connection, drive.n, source, number)
        return {"number": number, "batch": found._asdict(), "planned": None} if found else None
    planned = staged.load_plan(connection, drive.n, drive.stay, first=number, limit=1)
    if not planned:
        return None
    found = staged.staged_batch(connection, drive.n, planned[0].source, number)
    return {
        "number": number,
        "batch": found._asdict() if found else None,
        "planned": planned[0].sha256,
    }


def _elsewhere(drive: Drive, name: str | None, number: int, store: Store) -> dict[str, Any] | None:
    """Return batch `number` of those that a task of a graph may read under a name."""
    share = drive.picture.given
    at = number
    for place in () if share is None or name is None else share.batches.get(name, ()):
        if at < place.batches:
            found = staged.staged_batch(store.connection, place.n, place.stay, at)
            if found is None:
                raise GivenBackError(f"batch {number} of {name!r}, which {drive.id!r} reads")
            batch = found._replace(number=number)._asdict()
            return {"number": number, "batch": batch, "planned": None}
        at -= place.batches
    return None


def answer_of(drive: Drive, request: Mapping[str, Any], store: Store) -> Any:  # noqa: ANN401  (plain data of any type)
    """Return the answer to a question that needs no commit."""
    if request["ask"] == "input":
        return input_of(drive, request["number"], store)
    if request["ask"] == "plan":
        plan = staged.load_plan(store.connection, drive.n, drive.stay, first=request["from"])
        return [
            {"number": each.number, "records": each.records, "sha256": each.sha256} for each in plan
        ]
    if request["ask"] == "given":
        return _elsewhere(drive, request["of"], request["number"], store)
    if request["ask"] == "shape":
        return shapes.accepted(store.connection, drive.program.name, drive.state)
    if request["ask"] == "permit":
        return permission(drive, request["resource"], store)
    assert request["ask"] == "beat", request
    return None


def number_of(request: Mapping[str, Any]) -> int | None:
    """Return the batch that a question is about, if batches must come in their order."""
    if request["ask"] == "batch":
        number: int = request["staged"]["number"]
        return number
    return request["number"] if request["ask"] in ("loaded", "turn") else None


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
            job=result.get("job"),
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


def _failed(event: str, failure: Failure) -> Ended:
    return Ended(event, None, produced=False, records=None, rejected=None, failure=failure)


def _rejects(facts: Mapping[str, Any] | None) -> Rejects | None:
    return None if facts is None else Rejects(**facts)


def _seen(facts: Mapping[str, Any] | None) -> Seen | None:
    if facts is None:
        return None
    return Seen(facts["shape"], tuple(Drift(*each) for each in facts["drifts"]))
