"""
What proofs of a machine find.

    Finding     what is wrong, where, and how to mend it
    Role        what a task does with batches, which some proofs rest on
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]

#: What a task does with batches: makes them from nothing, takes them and makes others,
#: takes them and ends, has none, or nobody could tell (its function cannot be imported).
Role = Literal["source", "map", "sink", "call", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    One thing that is wrong with a machine.

    Attributes:
        severity: "error": it must not run. "warning": it may not do what is meant.
        state: The state it is about ("transforming.enrich" for a task of several), or None
            for the whole machine.
        message: What is wrong.
        fix: What to write instead.
    """

    severity: Severity
    state: str | None
    message: str
    fix: str


def error(state: str | None, message: str, fix: str) -> Finding:
    """Return a finding for which the machine must not run."""
    return Finding(severity="error", state=state, message=message, fix=fix)


def warning(state: str | None, message: str, fix: str) -> Finding:
    """Return a finding of what may not be meant."""
    return Finding(severity="warning", state=state, message=message, fix=fix)
