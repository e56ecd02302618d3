"""
The job that an instance has elsewhere, as people are told of it.

    Elsewhere   how it stands
    elsewhere   the last one of an instance
"""

from typing import Any, NamedTuple

from statepipe.sqlite import sqlite3
from statepipe.store.codec import decode
from statepipe.store.walk import jobs


class Elsewhere(NamedTuple):
    """
    One job.

    Attributes:
        state: The state that submitted it.
        handle: What `submit` returned.
        standing: "going on", "lost" (nobody waits for it, and it is to be stopped) or "over".
        submitted_at_ms: When it was submitted.
        polls: How often it was polled without failure.
        polled_at_ms: When it was polled last, or None.
        over_at_ms: When it was found to be over, or was stopped, or None.
        note: What went wrong when it was stopped, or None.
    """

    state: str
    handle: Any
    standing: str
    submitted_at_ms: int
    polls: int
    polled_at_ms: int | None
    over_at_ms: int | None
    note: str | None


def elsewhere(connection: sqlite3.Connection, n: int, *, status: str) -> Elsewhere | None:
    """Return the last job of instance number `n`, which has `status`; None if it had none."""
    job = jobs.newest(connection, n)
    if job is None:
        return None
    lost = job.stopping or (job.can_stop and status == "cancelled")
    return Elsewhere(
        state=job.state,
        handle=decode(job.handle),
        standing="over" if job.over_at_ms is not None else "lost" if lost else "going on",
        submitted_at_ms=job.submitted_at_ms,
        polls=job.polls,
        polled_at_ms=job.polled_at_ms,
        over_at_ms=job.over_at_ms,
        note=job.note,
    )
