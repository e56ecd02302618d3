"""
What is told: by attempts, on its way into the store; and of instances, after a commit.

    Line        one line or record that an attempt printed or logged
    Parcel      what one attempt has said since the last time
    Stored      which of its lines the store has already
    Fact        something that happened to an instance
"""

from typing import NamedTuple


class Line(NamedTuple):
    """One line that an attempt printed, or one record that it logged: redacted and cut."""

    at_ms: int
    source: str  # "stdout", "stderr", "log"; "note" is ours
    level: str | None  # of a record: "debug", "info", "warning", "error", "critical"
    text: str


class Stored(NamedTuple):
    """Which of an attempt's last lines are in the store, and what is no longer there."""

    last: tuple[tuple[int, int], ...] = ()  # number of the row, characters; the oldest first
    note: int | None = None  # the row that says what was left out
    skipped_lines: int = 0
    skipped_bytes: int = 0


class Parcel(NamedTuple):
    """What an attempt has said since the last time: for the store, refused if it was fenced."""

    instance: int  # the row's number
    epoch: int
    generation: int
    state: str
    attempt: int
    first: list[Line]
    last: list[Line]  # after so much that not all of it is kept
    skipped_lines: int  # between the two
    skipped_bytes: int
    stored: Stored


class Fact(NamedTuple):
    """Something that happened to an instance, told after its commit: a journal row, and more."""

    kind: str  # as in the journal; also "fenced", which is in no journal
    event: str
    at_ms: int
    machine: str
    instance: str
    source: str  # the state it was in, "" if it was created
    target: str  # the state it is in now
    status: str
    seq: int
    epoch: int
    generation: int
    attempt: int | None = None  # which one this ends, from 1
    took_ms: int | None = None  # of that attempt
    records: int | None = None
    bytes: int | None = None
    rejected: int | None = None
    wake_at_ms: int | None = None  # when it is tried again
    error_class: str | None = None
    error: str | None = None
    traceback: str | None = None
    note: str | None = None
