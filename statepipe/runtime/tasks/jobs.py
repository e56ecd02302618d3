"""
The worker's side of a job that is done elsewhere: what a call of one of its functions brings.

    arguments   what the function is given
    brought     what it returned, as the outcome of its attempt

`call["does"]` says which function it is: "submit", "poll" or "cancel".
"""

from collections.abc import Mapping
from typing import Any

from statepipe.errors import Fatal
from statepipe.model import OK, Outcome, Task
from statepipe.store.codec import encode
from statepipe.store.walk.jobs import encoded

#: What a poll says that has found it still going on, and a submission.
LATER = "later"
SUBMITTED = "submitted"


def arguments(call: Mapping[str, Any], task: Task) -> tuple[Any, ...]:
    """Return what the function is called with; the submission has no handle yet."""
    return (task,) if call["does"] == "submit" else (task, call["handle"])


def brought(call: Mapping[str, Any], got: Any) -> dict[str, Any]:  # noqa: ANN401 what an author returned
    """Return the result of an attempt, with `job` in it if the job goes on."""
    outcome = {"event": OK, "value": None, "produced": False, "records": 0, "rejected": 0}
    if hasattr(got, "__next__") or hasattr(got, "__anext__"):
        raise Fatal(
            f"{call['does']} of a job makes no batches; a later state can read what it made"
        )
    if call["does"] == "cancel":
        return outcome
    if call["does"] == "submit":
        if got is None:
            raise Fatal("submit returned None where the handle of the job is due")
        return {**outcome, "job": SUBMITTED, "value": encoded(got)}
    if got is None:
        return {**outcome, "job": LATER}
    event, value = (got.event, got.value) if isinstance(got, Outcome) else (OK, got)
    return {**outcome, "event": event, "value": None if value is None else encode(value)}
