"""
Trying again: why a pause is as long as it is, and why an error got no other attempt.

    governing   the policy that a journal row's attempt was governed by
    pause       the policy's values that made a pause
    not_again   what of the policy, or of the error, ended the attempts

The journal keeps an error's own class, not its bases; those of our errors and of builtin
ones are known here. Where only the bases of an author's class could tell, that is said.
"""

import random
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from statepipe.policy import ANY_ERROR, Policy
from statepipe.runtime.failure import known_names
from statepipe.runtime.reasons.reason import Reason, because
from statepipe.store.questions.evidence import Evidence, Row
from statepipe.units import format_duration, plural

_FIELDS = frozenset(field.name for field in fields(Policy))


def governing(known: Evidence, row: Row) -> Policy | None:
    """Return the policy of the attempt that `row` ends, None if it ends none."""
    body = known.policies.get(row.policy or "")
    return None if body is None else _read(body)


def pause(row: Row, policy: Policy, *, wake_at_ms: int) -> Reason:
    """Return why the pause after the failed attempt of `row` ends at `wake_at_ms`."""
    assert row.attempt is not None, "an attempt is what failed"
    took_ms = max(0, wake_at_ms - row.at_ms)
    longest_ms = replace(policy, jitter="none").pause_ms(
        attempt=row.attempt,
        rng=random.Random(0),  # noqa: S311  (without jitter nothing is drawn)
    )
    if took_ms > longest_ms:
        return because(
            "retry_after",
            f"the pause of {format_duration(took_ms)} is what the other side asked for",
            pause_ms=took_ms,
        )
    drawn = {
        "none": "",
        "full": f'; jitter = "full" draws from 0 to {format_duration(longest_ms)}',
        "equal": f'; jitter = "equal" draws from half of {format_duration(longest_ms)} to all',
    }[policy.jitter]
    return because(
        "pause",
        f"the pause is {format_duration(took_ms)}: interval = {format_duration(policy.interval_ms)}"
        f", times backoff_rate = {policy.backoff_rate:g} for each attempt after the first"
        f", at most max_delay = {format_duration(policy.max_delay_ms)}{drawn}",
        pause_ms=took_ms,
        interval_ms=policy.interval_ms,
        backoff_rate=policy.backoff_rate,
        max_delay_ms=policy.max_delay_ms,
        jitter=policy.jitter,
    )


def not_again(row: Row, policy: Policy) -> list[Reason]:
    """
    Return what ended the attempts: the error's class, the policy, or both.

    Args:
        row: The move that an error or a timeout brought.
        policy: What governed its attempt.
    """
    error = row.error_class or ""
    special = _by_class(error, policy)
    if special is not None:
        return [special]
    said = []
    used_up = row.attempt is not None and row.attempt >= policy.max_attempts
    if used_up:
        said.append(_used_up(policy.max_attempts))
    listed = _listed(error, policy)
    if listed is False or (listed is None and not used_up):
        said.append(_not_listed(error, policy, certain=listed is False))
    elif not used_up:
        said.append(_out_of_time(policy, row.stayed_ms) or _refused(error))
    return said


def _by_class(error: str, policy: Policy) -> Reason | None:
    """Return why an error of this class is never tried again, whatever the policy's list."""
    if error == "DeadlineExceeded":
        return because("deadline", "the machine's deadline had passed; after it nothing is tried")
    if error == "JobTimeout":
        return because("job_timeout", "the job had had its time; after it no poll is tried")
    if error == "WorkerLost":
        return because(
            "lost",
            "its drivers died too often in a row without any progress"
            f" (max_lost = {policy.max_lost}); it may be the task that takes them down",
            max_lost=policy.max_lost,
        )
    if "Fatal" in (known_names(error) or [error]):
        return because("fatal", "Fatal is never tried again")
    return None


def _listed(error: str, policy: Policy) -> bool | None:
    """Return whether `policy` retries errors of this class; None if only its bases could tell."""
    if ANY_ERROR in policy.errors or error in policy.errors:
        return True
    names = known_names(error)
    return None if names is None else policy.retries(names)


def _used_up(max_attempts: int) -> Reason:
    text = (
        "the policy allows one attempt (max_attempts = 1)"
        if max_attempts == 1
        else f"all {plural(max_attempts, 'attempt')} were used up (max_attempts = {max_attempts})"
    )
    return because("exhausted", text, max_attempts=max_attempts)


def _not_listed(error: str, policy: Policy, *, certain: bool) -> Reason:
    listed = ", ".join(policy.errors) or "none"
    bases = "" if certain else ", nor is a base of it"
    return because(
        "not_listed",
        f"{error} is not among the errors that the policy tries again (errors = {listed}){bases}",
        error_class=error,
        errors=list(policy.errors),
    )


def _out_of_time(policy: Policy, stayed_ms: int | None) -> Reason | None:
    if policy.max_elapsed_ms is None or stayed_ms is None or stayed_ms < policy.max_elapsed_ms:
        return None
    return because(
        "elapsed",
        f"it had been in the state for {format_duration(stayed_ms)}, and no attempt begins after"
        f" max_elapsed = {format_duration(policy.max_elapsed_ms)}",
        stayed_ms=stayed_ms,
        max_elapsed_ms=policy.max_elapsed_ms,
    )


def _refused(error: str) -> Reason:
    return because(
        "refused",
        f"{error} is no error to try again here: what the task had returned was refused,"
        " or its own base class is Fatal",
        error_class=error,
    )


def _read(body: Mapping[str, Any]) -> Policy:
    """Return a policy as it was stored; what a newer release added to it does not matter here."""
    known = {key: value for key, value in body.items() if key in _FIELDS}
    return Policy(**{**known, "errors": tuple(known["errors"])})
