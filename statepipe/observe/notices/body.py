"""
What a notice says: one JSON object, the same keys for every event, in a numbered format.

    Occasion    what happened, as plain values
    body_of     the JSON text that the outbox keeps and a webhook is sent
    read        the same, read back
    message     the same for people: a few lines of text

The keys are documented in docs/operating.md, and a test compares. A new key may come at any
time; if one goes or changes its meaning, `FORMAT` rises.
"""

import datetime as dt
import json
import shlex
from typing import Any, Final, NamedTuple

from statepipe.observe import redact
from statepipe.units import format_duration

FORMAT: Final = 1

SUMMARY_CHARS_MAX: Final = 300
MESSAGE_CHARS_MAX: Final = 1_000


class Occasion(NamedTuple):
    """
    Something that people are to be told.

    Attributes:
        event: One of `statepipe.notify.EVENTS`; or "dropped", or "test".
        at_ms: When it happened.
        store: The id of the store, "" if there is none yet.
        env: The environment that its process was started with.
        machine, version: Whose instance it is about; None for none.
        instance: The instance's id.
        state: The state it happened in.
        target_state: The state the instance came to, None if it stayed.
        attempt: Which attempt it was, from 1.
        error_class, error: Why.
        silent_ms: For how long at least its driver has been gone.
        dropped: How many notices this one stands for.
    """

    event: str
    at_ms: int
    store: str
    env: str | None
    machine: str | None = None
    version: int | None = None
    instance: str | None = None
    state: str | None = None
    target_state: str | None = None
    attempt: int | None = None
    error_class: str | None = None
    error: str | None = None
    silent_ms: int | None = None
    dropped: int | None = None


def body_of(occasion: Occasion, *, key: str) -> str:
    """Return what is said of `occasion`, without secrets, as JSON in ASCII on one line."""
    error = None
    if occasion.error_class is not None:
        message = redact.beginning(occasion.error or "", chars_max=MESSAGE_CHARS_MAX)
        error = {"class": occasion.error_class, "message": message}
    return json.dumps(
        {
            "format": FORMAT,
            "key": key,
            "event": occasion.event,
            "at": _moment(occasion.at_ms),
            "machine": occasion.machine,
            "version": occasion.version,
            "instance": occasion.instance,
            "state": occasion.state,
            "target_state": occasion.target_state,
            "attempt": occasion.attempt,
            "error": error,
            "silent_ms": occasion.silent_ms,
            "dropped": occasion.dropped,
            "store": occasion.store,
            "env": occasion.env,
            "summary": _summary(occasion, error["message"] if error else ""),
            "next": _next(occasion),
        }
    )


def read(body: str) -> dict[str, Any]:
    """Return a body as a dict."""
    said: dict[str, Any] = json.loads(body)
    return said


def message(said: dict[str, Any]) -> str:
    """Return what a body says as text for people, its summary first."""
    facts = {
        "error": said["error"] and f"{said['error']['class']}: {said['error']['message']}",
        "at": said["at"],
        "next": said["next"],
        "notice": said["key"],
    }
    lines = [f"{name}: {value}" for name, value in facts.items() if value]
    return "\n".join([said["summary"], "", *lines])


def _summary(occasion: Occasion, error: str) -> str:
    env = f" ({occasion.env})" if occasion.env else ""
    who = f"{occasion.machine or 'statepipe'}{env}: "
    text = who + _sentence(occasion)
    if occasion.error_class is not None:
        text += f": {occasion.error_class}: {error}"
    # One line: it becomes the subject of a mail, and an argument of a command.
    text = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return redact.beginning(text, chars_max=SUMMARY_CHARS_MAX)


def _sentence(occasion: Occasion) -> str:
    name, state = occasion.instance, occasion.state
    match occasion.event:
        case "failed":
            said = f"{name} failed in {state} on attempt {occasion.attempt}"
        case "done":
            said = f"{name} is done"
        case "retries_exhausted":
            target, attempt = occasion.target_state, occasion.attempt
            said = f"{name} left {state} for {target} after {attempt} attempts that failed"
        case "drift":
            said = f"{name} met records in {state} that have changed their shape"
        case "skipped":
            said = f"{name} left {state} without some of its tasks"
        case "stalled":
            silent = format_duration(occasion.silent_ms or 0)
            said = f"{name} is stalled in {state}: its driver has been gone for {silent}"
        case "dropped":
            said = f"{occasion.dropped:,} more were dropped, beyond the rate of this target"
        case _:
            said = "this is a test, nothing has happened"
    return said


def _next(occasion: Occasion) -> str:
    env = f" --env {shlex.quote(occasion.env)}" if occasion.env else ""
    if occasion.instance is None:
        return f"statepipe notify ls{env}"
    verb = {"done": "history", "stalled": "resume"}.get(occasion.event, "inspect")
    return f"statepipe {verb} {shlex.quote(occasion.instance)}{env}"


def _moment(at_ms: int) -> str:
    at = dt.datetime.fromtimestamp(at_ms / 1_000, tz=dt.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
